"""Data sets that need no download: inside scikit-learn, or generated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai4diag.data.smear import Smear

SMEAR_SEED = 2024
SMEAR_PATIENTS = 60
SMEAR_IMAGES_PER_PATIENT = 4
PHANTOM_SEED = 2025
PHANTOMS = 48
ECG_SEED = 2026
ECG_PATIENTS = 300


def make_breast_cancer(folder: Path) -> list[str]:
    """Write `wdbc.csv`: the 569 cases that scikit-learn carries, with its column names and a column `diagnosis`.

    scikit-learn counts malignant as 0 and benign as 1; here the diagnosis is written in words.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    lines = [",".join(["case", *(str(name) for name in data.feature_names), "diagnosis"])]
    for number, (row, target) in enumerate(zip(data.data.tolist(), data.target.tolist(), strict=True), start=1):
        cells = [f"wdbc-{number:03d}", *(repr(value) for value in row), str(data.target_names[target])]
        lines.append(",".join(cells))
    (folder / "wdbc.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["wdbc.csv"]


def make_smears(folder: Path, patients: int = SMEAR_PATIENTS, images_each: int = SMEAR_IMAGES_PER_PATIENT) -> list[str]:
    """Write synthetic smears as PNG with Pascal VOC files, and `cases.csv`: case_id, patient_id, site, stain."""
    import numpy as np
    from PIL import Image

    from ai4diag.data.smear import make_patient, make_smear

    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    paths, lines = [], ["case_id,patient_id,site,stain"]
    for number in range(patients):
        patient = make_patient(number, SMEAR_SEED)
        for image_number in range(images_each):
            case = f"smear-{number:03d}-{image_number}"
            smear = make_smear(patient, np.random.default_rng([SMEAR_SEED, number, image_number]))
            paths += [f"images/{case}.png", f"annotations/{case}.xml"]
            Image.fromarray(smear.image.transpose(1, 2, 0)).save(folder / paths[-2], compress_level=3)
            (folder / paths[-1]).write_text(_voc(case, smear), encoding="utf-8")
            lines.append(f"{case},patient-{number:03d},{patient.site},{patient.stain}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*paths, "cases.csv"]


def make_phantoms(folder: Path, scans: int = PHANTOMS) -> list[str]:
    """Write synthetic chests as NIfTI, and tables as LUNA16 has them: middles in LPS millimetres, and diameters.

    `annotations.csv` holds what is to be found, `annotations_excluded.csv` what counts neither way, `cases.csv` case_id
    with patient_id and site.
    """
    from ai4diag.data.phantom import make_phantom
    from ai4diag.data.volume import Volume, write_nifti

    (folder / "scans").mkdir(parents=True, exist_ok=True)
    header = "seriesuid,coordX,coordY,coordZ,diameter_mm"
    tables = {"annotations.csv": [header], "annotations_excluded.csv": [header]}
    paths, cases = [], ["case_id,patient_id,site"]
    for number in range(scans):
        name, phantom = f"phantom-{number:03d}", make_phantom(number, PHANTOM_SEED)
        paths.append(f"scans/{name}.nii.gz")
        write_nifti(folder / paths[-1], phantom.array, Volume(phantom.array[None], phantom.affine))
        cases.append(f"{name},patient-{number:03d},{phantom.site}")
        for table, spheres in zip(tables.values(), (phantom.nodules, phantom.small), strict=True):
            for sphere in spheres:
                x, y, z = sphere.centre_mm.tolist()
                table.append(f"{name},{-x:.4f},{-y:.4f},{z:.4f},{sphere.diameter_mm:.4f}")
    for path, lines in {**tables, "cases.csv": cases}.items():
        (folder / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*paths, *tables, "cases.csv"]


def make_ecgs(folder: Path, patients: int = ECG_PATIENTS) -> list[str]:
    """Write drawn electrocardiograms laid out as PTB-XL: `ptbxl_database.csv`, `scp_statements.csv`, `records100/`.

    A patient has one record, every fourth a second one; a third of the hearts are healthy, one in six has two diseases.
    """
    import numpy as np

    from ai4diag.data.drawn_ecg import STATEMENTS, draw_ecg, write_drawn

    ill = [code for code in STATEMENTS if code != "NORM"]
    lines = ["ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_lr"]
    paths: list[str] = []
    for patient in range(patients):
        rng = np.random.default_rng([ECG_SEED, patient])
        count = int(rng.choice(3, p=[1 / 3, 1 / 2, 1 / 6]))
        codes = [ill[number] for number in sorted(rng.choice(len(ill), count, replace=False))] or ["NORM"]
        age, sex = int(rng.integers(20, 90)), int(rng.integers(2))
        for _ in range(1 + (patient % 4 == 0)):
            number = len(lines)
            name, where = f"{number:05d}_lr", "records100/00000"
            ecg = draw_ecg(codes, rng)
            paths += [f"{where}/{file}" for file in write_drawn(folder / where, name, ecg)]
            said = ", ".join(f"'{code}': 100.0" for code in ecg.codes)
            fold = 1 + patient % 10
            lines.append(f'{number},{10000 + patient}.0,{age}.0,{sex},"{{{said}}}",{fold},{where}/{name}')
    groups = [",diagnostic,diagnostic_class", "SR,,", *(f"{code},1.0,{name}" for code, name in STATEMENTS.items())]
    for path, table in (("ptbxl_database.csv", lines), ("scp_statements.csv", groups)):
        (folder / path).write_text("\n".join(table) + "\n", encoding="utf-8")
    return [*paths, "ptbxl_database.csv", "scp_statements.csv"]


def _voc(case: str, smear: Smear) -> str:
    """Return a smear's truth as Pascal VOC: x before y, tenths of a pixel."""
    from ai4diag.data.smear import CLASSES

    rows, columns = smear.image.shape[1:]
    lines = ["<annotation>", f"  <filename>{case}.png</filename>"]
    lines.append(f"  <size><width>{columns}</width><height>{rows}</height><depth>3</depth></size>")
    for box, label, difficult in zip(smear.boxes, smear.labels, smear.difficult, strict=True):
        edges = zip(("ymin", "xmin", "ymax", "xmax"), box, strict=True)
        corners = "".join(f"<{key}>{value:.1f}</{key}>" for key, value in edges)
        name = f"<name>{CLASSES[label]}</name><difficult>{int(difficult)}</difficult>"
        lines.append(f"  <object>{name}<bndbox>{corners}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])


MAKERS: dict[str, Callable[[Path], list[str]]] = {
    "breast_cancer": make_breast_cancer,
    "smear": make_smears,
    "phantom": make_phantoms,
    "ecg": make_ecgs,
}
"""What `embedded` of a card names, and what writes its files and returns their paths."""
