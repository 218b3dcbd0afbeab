"""Small medical data sets for the tests of the data layer, written to a folder with a card that fits them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ai4diag.config.card import Card, load_card
from ai4diag.config.detection import DetectionRecipe
from ai4diag.config.tabular import TabularRecipe

BASICS: dict[str, Any] = {
    "title": "Toy",
    "description": "For tests.",
    "origin": {"page": "https://example.org"},
    "citation": "none",
    "licence": {"id": "CC0-1.0", "commercial": True, "attribution": "none"},
    "terms": "none",
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(folder: Path, raw: Path, name: str = "toy", **values: Any) -> Card:
    """Write a card for all files under `raw` and read it back; JSON is YAML."""
    files = [
        {"path": path.relative_to(raw).as_posix(), "sha256": sha256(path)}
        for path in sorted(raw.rglob("*"))
        if path.is_file()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"name": name, **BASICS, "files": files, **values}), encoding="utf-8")
    return load_card(path)


TOY_TABLE: dict[str, Any] = {
    "task": "tabular",
    "classes": ["healthy", "ill"],
    "case": {"column": "case"},
    "patient": {"column": "case", "pattern": "(p[0-9]+)-[0-9]+"},
    "table": {
        "files": [{"path": "north.csv", "site": "north"}, {"path": "south.csv", "site": "south"}],
        "missing": ["", "?"],
        "label": {"column": "outcome", "values": {"healthy": [0], "ill": [1]}},
        "columns": [
            {"name": "case", "kind": "text"},
            {"name": "age", "unit": "years", "range": [18, 100], "attribute": True, "bands": [50, 70]},
            {"name": "sex", "kind": "category", "levels": {"female": "f", "male": "m"}, "attribute": True},
            {"name": "chol", "unit": "mg/dL", "range": [80, 700], "zero_is_missing": True},
            {"name": "outcome", "kind": "text"},
        ],
    },
}


def toy_rows(patients: int = 40, visits: int = 2, seed: int = 3) -> list[list[str]]:
    """Return rows of case, age, sex, chol, outcome: `patients` with `visits` rows each, a third of them ill."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        ill = int(patient % 3 == 0)
        for visit in range(1, visits + 1):
            age, chol = rng.integers(20, 90), rng.normal(190 + 30 * ill, 30)
            rows.append([f"p{patient:02d}-{visit}", str(age), "mf"[patient % 2], f"{chol:.1f}", str(ill)])
    return rows


HEADER = ["case", "age", "sex", "chol", "outcome"]


def write_csv(path: Path, rows: list[list[str]], header: list[str] | None = None, separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header or HEADER, *rows]
    path.write_text("".join(separator.join(cells) + "\n" for cells in lines), encoding="utf-8")


def toy_table(folder: Path, rows: list[list[str]] | None = None, **values: Any) -> tuple[Path, Card]:
    """Write the toy table, half of the patients at each site; return the raw folder and its card."""
    rows = toy_rows() if rows is None else rows
    raw = folder / "raw"
    half = len(rows) // 2
    write_csv(raw / "north.csv", rows[:half])
    write_csv(raw / "south.csv", rows[half:])
    return raw, write_card(folder / "cards", raw, **{**TOY_TABLE, **values})


def tabular_recipe(drop: list[str] | None = None, **split: Any) -> TabularRecipe:
    return TabularRecipe.model_validate(
        {
            "task": "tabular",
            "data": {"dataset": "toy", "split": split, "drop": drop or []},
            "model": {"network": "logistic_regression"},
            "evaluate": {"primary": "auroc"},
        }
    )


def detection_recipe(image_size: tuple[int, int] | None = None, **split: Any) -> DetectionRecipe:
    return DetectionRecipe.model_validate(
        {
            "task": "detection",
            "data": {"dataset": "toy", "split": split, "image_size": image_size},
            "model": {"network": "anchor_free"},
            "evaluate": {"primary": "map_50"},
        }
    )


TOY_IMAGES: dict[str, Any] = {
    "task": "detection",
    "classes": ["RBC", "WBC"],
    "images": {"folder": "images", "annotations": "annotations", "site": "lab"},
}


def voc(objects: list[tuple[str, float, float, float, float]], columns: int = 48, rows: int = 32) -> str:
    """Return a Pascal VOC file; an object is name, xmin, ymin, xmax, ymax."""
    items = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    size = f"<size><width>{columns}</width><height>{rows}</height><depth>3</depth></size>"
    return f"<annotation>{size}{items}</annotation>"


BOTH = [("RBC", 2, 3, 12, 15), ("WBC", 20, 5, 40, 25)]


def toy_image_files(raw: Path, count: int = 12) -> None:
    """Write noise images of 32 rows x 48 columns, with one red and one white cell each."""
    for name in ("images", "annotations"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for number in range(count):
        pixels = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(raw / "images" / f"img{number:02d}.png")
        (raw / "annotations" / f"img{number:02d}.xml").write_text(voc(BOTH), encoding="utf-8")


def toy_images(folder: Path, count: int = 12, **values: Any) -> tuple[Path, Card]:
    raw = folder / "raw"
    if not raw.exists():
        toy_image_files(raw, count)
    return raw, write_card(folder / "cards", raw, **{**TOY_IMAGES, **values})
