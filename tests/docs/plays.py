"""How each page's commands are executed: what is there before, and what is run where the page's own words cannot be.

A command that is not named here runs as it stands. Replacements keep the verb and shorten the training, name a file
that exists, or a run that was made; each says why. What another test or CI runs itself is named with its place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ai4diag.course.kit import original
from tests.conftest import ROOT
from tests.docs.pages import files


@dataclass(frozen=True)
class Elsewhere:
    """A command that this test does not run, because something else does.

    Attributes:
        place: the file that runs it.
        words: what stands there.
    """

    place: str
    words: str


@dataclass(frozen=True)
class Play:
    """How the commands of a page are executed.

    Attributes:
        setup: makes the files that the page speaks of, in the workspace.
        before: commands that have been run by then.
        instead: part of a command as it stands -> what is run in its place.
        codes: command as it stands -> its exit code, where that is not 0.
        elsewhere: command as it stands -> who runs it.
        serves: commands that serve a page until Ctrl-C.
    """

    setup: Callable[[Path], None] = lambda root: None
    before: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    serves: frozenset[str] = frozenset()


def foreign(root: Path) -> None:
    """The files that the page on foreign predictions shows, and label maps of two volumes with answers to them."""
    for name, content in files(ROOT / "docs" / "how-to" / "evaluate-external-predictions.md").items():
        (root / name).write_text(content)
    labels = sorted((root / "data" / "msd_hippocampus" / "labels").rglob("*.nii.gz"))[:2]
    for number, path in enumerate(labels, 1):
        for folder in ("labels", "predicted"):
            (root / folder).mkdir(exist_ok=True)
            shutil.copy(path, root / folder / f"p{number:02}_t2.nii.gz")
    (root / "masks.yaml").write_text(
        "task: segmentation\ntruth: labels\nclasses: [anterior, posterior]\npatient_pattern: ^(p\\d+)_\n"
        "evaluate: {primary: dice, interval: {resamples: 200}}\n"
    )


def inputs(root: Path) -> None:
    """New patients of each kind: lines of a table, volumes, pictures."""
    table = (root / "data" / "wdbc" / "wdbc.csv").read_text().splitlines()[:6]
    (root / "new-patients.csv").write_text("\n".join(table) + "\n")
    volumes = sorted((root / "data" / "msd_hippocampus" / "images").rglob("*.nii.gz"))[:2]
    for name, path in zip(("scan-1", "scan-2"), volumes, strict=True):
        shutil.copy(path, root / f"{name}.nii.gz")
    shutil.copy(volumes[0], root / "scan.nii.gz")
    (root / "xrays").mkdir()
    with np.load(root / "data" / "pneumoniamnist_reconstructed" / "pneumoniamnist_reconstructed.npz") as arrays:
        for number, picture in enumerate(arrays["test_images"][:3]):
            Image.fromarray(picture).save(root / "xrays" / f"x{number}.png")


def both(root: Path) -> None:
    """All of these."""
    inputs(root)
    foreign(root)


def collected(root: Path) -> None:
    """A class of one lesson, and a learner who solved it."""
    for path in (root / "notebooks").glob("m*.ipynb"):
        if not path.name.startswith("m01_"):
            path.unlink()
    name, text = original(root, "m01", "solution")
    for folder in ("collected/ada", "collected"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(text)


def handed_in(root: Path) -> None:
    """What a learner handed in."""
    name, text = original(root, "m03", "solution")
    (root / "handed-in").mkdir()
    (root / "handed-in" / name).write_text(text)


def a_class(root: Path) -> None:
    """The folder of a class in which somebody tried an exercise once."""
    (root / "class").mkdir()
    line = {"who": "red-fox", "exercise": "m04.dice", "met": 2, "total": 6, "hint": 1, "time": "2026-11-20T09:41:07Z"}
    (root / "class" / "red-fox.jsonl").write_text(json.dumps(line) + "\n")


def table_of_mine(root: Path) -> None:
    """A table that somebody brings along."""
    (root / "data" / "my_data").mkdir(parents=True)
    (root / "data" / "my_data" / "patients.csv").write_text("id,age\n1,50\n")


SHORT_SEEDS = {  # pictures train for minutes
    "run chest-xray --seeds 3": "run breast-mass --quick --seeds 3",
    "predict chest-xray --seeds 3 xrays/*.png": "predict breast-mass --quick --seeds 3 new-patients.csv",
}
QUICK_HIPPOCAMPUS = {"predict hippocampus": "predict hippocampus --quick"}  # all of it trains for half an hour
PUBLIC = "~/.config/ai4diag/keys/ai4diag-public.pem"
MY_KEY = {"--public-key ai4diag-public.pem": f"--public-key {PUBLIC}"}
REPRODUCED = "breast-mass heart-disease parkinsons-voice breast-cancer-survival smear-demo"
INSTALL = {
    "make install": Elsewhere(".ci/run", "make install"),
    "source .venv/bin/activate": Elsewhere(".ci/run", 'export PATH="$PWD/.venv/bin'),
    "make demo": Elsewhere(".ci/run", REPRODUCED),
    "make test": Elsewhere(".ci/run", "make test"),
}
KEYS = "ai4diag keys make"
SERVER = "tests/tracking/test_server.py"
PLAYS = {
    "README.md": Play(
        setup=both,
        before=("ai4diag prepare hippocampus",),
        instead={
            **QUICK_HIPPOCAMPUS,
            "run chest-xray --seeds 3": "run breast-mass --quick --seeds 3",
            "train blood-cells": "train my-model",
            "breast-mass-64c4003c.zip": "*.zip",
        },
        codes={"ai4diag course check notebooks/m01_first_result.ipynb": 10},  # nobody has solved it yet
        elsewhere={
            **INSTALL,
            "python -m benchmarks loop": Elsewhere("tests/test_benchmarks.py", "test_one_topic_for_real"),
        },
        serves=frozenset({"ai4diag lab"}),
    ),
    "CONTRIBUTING.md": Play(elsewhere=INSTALL),
    "docs/tutorials/first-run.md": Play(
        instead={"compare 1a2b 3c4d": "compare $RUN $OTHER"}, elsewhere=INSTALL, serves=frozenset({"ai4diag ui"})
    ),
    "docs/how-to/add-a-dataset.md": Play(setup=table_of_mine),
    "docs/how-to/award-badges.md": Play(setup=collected),
    "docs/how-to/check-notebooks.md": Play(  # a lesson that needs no finished run, and that nobody has solved yet
        setup=handed_in,
        instead={"m04_metrics": "m03_pictures_and_dicom"},
        codes={"ai4diag course check notebooks/m04_metrics.ipynb": 10},
    ),
    "docs/how-to/course-pack.md": Play(
        elsewhere={
            "ai4diag course pack --out stick/ai4diag-course": Elsewhere("tests/course/test_pack.py", "make_pack("),
            "ai4diag course pack --out stick/first-lesson --lesson m01": Elsewhere(
                "tests/course/test_pack.py", '["m01"]'
            ),
        }
    ),
    "docs/how-to/evaluate-external-predictions.md": Play(setup=foreign),
    "docs/how-to/evidence-pack.md": Play(
        instead={
            **MY_KEY,
            "breast-mass-bd9bc32b.zip": "mlruns/packs/*.zip",
            "ai4diag evaluate --predictions": "python -m zipfile -e mlruns/packs/*.zip open && "
            "cd $(dirname $(find open -name plan.json)) && ai4diag evaluate --predictions",
        },
    ),
    "docs/how-to/leak-findings.md": Play(
        before=("ai4diag new heart-failure --task tabular --dataset heart_failure",),
        codes={"ai4diag prepare heart-failure": 4, "ai4diag prepare blood-cells --set 'data.waive=[]'": 4},
    ),
    "docs/how-to/predict.md": Play(
        setup=inputs,
        instead={
            **QUICK_HIPPOCAMPUS,
            **SHORT_SEEDS,
            "predict chest-xray xrays": "predict chest-xray --quick xrays",
            "path/to/bundle": "pipelines/breast-mass/out/bundle",
        },
    ),
    "docs/how-to/promote-a-model.md": Play(before=(KEYS,)),
    "docs/how-to/resume-and-reproduce.md": Play(instead={"run blood-cells": "run heart-disease"}),  # 36 minutes
    "docs/how-to/run-medmnist.md": Play(
        instead={  # the mirror of the tests has one set of MedMNIST
            "--dataset bloodmnist": "--dataset pneumoniamnist_reconstructed",
            "run blood-kinds": "run blood-kinds --quick --set train.epochs=1",
        }
    ),
    "docs/how-to/segment-volumes.md": Play(setup=inputs, instead=QUICK_HIPPOCAMPUS),
    "docs/how-to/several-gpus.md": Play(  # one machine stands for two
        instead={
            "--nnodes 2 --nproc-per-node 4": "--nnodes 1 --nproc-per-node 2",
            "HOST:29500": "localhost:0",
            "train NAME": "train breast-mass",
        }
    ),
    "docs/how-to/track-with-mlflow.md": Play(
        instead={"show 3f2a": "show $RUN", "compare 3f2a 91bc": "compare $RUN $OTHER"},
        elsewhere={
            "mlflow server --host 127.0.0.1 --port 5000 --workers 2 --backend-store-uri "
            "postgresql://mlflow@localhost/mlflow --artifacts-destination /srv/mlflow/artifacts": Elsewhere(
                SERVER, "server"
            ),
            "export MLFLOW_TRACKING_URI=https://tracking.example.org": Elsewhere(SERVER, "MLFLOW_TRACKING_URI"),
            "ai4diag ui": Elsewhere(SERVER, "ui("),
        },
        serves=frozenset({"ai4diag ui breast-mass"}),
    ),
    "docs/how-to/use-jupyterlab.md": Play(
        serves=frozenset(
            {"ai4diag lab", "ai4diag lab --port 9000", "ai4diag lab --no-browser", "ai4diag lab --folder ."},
        )
    ),
    "docs/how-to/verify.md": Play(instead={"564106f6": "$RUN"}),
    "docs/how-to/watch-progress.md": Play(setup=a_class, instead={"/srv/class": "class"}),
    "docs/how-to/work-offline.md": Play(
        instead={
            "AI4DIAG_MIRROR=/media/usb/ai4diag-data": 'AI4DIAG_MIRROR="$AI4DIAG_MIRROR"',
            'pip download --dest wheels --constraint constraints.txt ".[dev]"': "pip download --no-deps --quiet "
            "--dest wheels --constraint constraints.txt",  # with all packages it is half a gigabyte
        }
    ),
    "docs/reference/bundle.md": Play(setup=inputs, before=(KEYS,), instead=MY_KEY),
}
