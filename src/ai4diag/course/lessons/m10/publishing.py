"""What is published, and a partner's numbers made again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.mixing import mix, unmix

NAMES = ("voice-screen", "chest-films", "wound-area", "sleep-apnoea", "retina-check")
LEAVES = {
    "the recipe, its code and its page are published": tuple(
        f"pipelines/{{p}}/{name}" for name in ("pipeline.yaml", "pipeline.py", "README.md")
    ),
    "the dataset card is published": ("datasets/{d}.yaml",),
    "the estimates are published, so that somebody can compare": ("pipelines/{p}/out/estimates.json",),
    "the ledger of looks at the test part is published": ("pipelines/{p}/looks.csv",),
    "the lock and the tables of the workspace are published": ("dvc.lock", "dvc.yaml", "params.yaml"),
}
STAYS = {
    "raw data stay where they are, and what lies beside them": ("data/{d}/patients.csv", "data/{d}/README.md"),
    "predictions and prepared cases stay: they name cases": (
        "pipelines/{p}/out/predictions.parquet",
        "pipelines/{p}/out/prepared/index.parquet",
    ),
    "what can be made again stays: model, report, variants": (
        "pipelines/{p}/out/model/model.safetensors",
        "pipelines/{p}/out/report.html",
        "pipelines/{p}/out/quick/estimates.json",
    ),
    "run records stay: they hold predictions": (
        "mlruns/records/4358e15e/predictions.parquet",
        "mlruns/records/4358e15e/estimates.json",
        "mlruns/records/4358e15e/recipe.yaml",
    ),
    "a private key stays": ("keys/ai4diag-private.pem",),
    "a table that somebody left in the pipeline's folder stays": ("pipelines/{p}/patients.csv",),
    "a table beside the dataset cards stays": ("datasets/patients.csv",),
}


class Publish(Exercise):
    """Which files of a workspace go into git."""

    id = "m10.publish"
    title = "what is published"
    names = ("published",)
    hints = (
        "Name what leaves, not what stays: a file that you did not think of must then stay behind.",
        "Split a path at '/'. Of `pipelines` five files leave; one of them lies in `out`, and not in `out/quick`.",
    )
    worked = (
        "Of ['dvc.lock', 'data/wdbc/wdbc.csv', 'pipelines/x/out/estimates.json', 'pipelines/x/notes.csv']:\n"
        "1. dvc.lock is one of the three files at the top: it leaves.\n"
        "2. data/... is nowhere on the list: it stays.\n"
        "3. pipelines/x/out/estimates.json: of `out`, this one file leaves.\n"
        "4. pipelines/x/notes.csv is not on the list: it stays, although git would take it.\n"
        "Answer: ['dvc.lock', 'pipelines/x/out/estimates.json']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return the paths of an invented workspace, shuffled."""
        words = {"p": str(random.choice(NAMES)), "d": f"set{random.integers(10, 99)}"}
        paths = [path.format(**words) for group in (*LEAVES.values(), *STAYS.values()) for path in group]
        return {"words": words, "paths": [str(path) for path in random.permutation(paths)]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return which paths the learner publishes."""
        return list(names["published"](given["paths"]))

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect each group whole, or not at all."""
        found = set(answer)
        for name, group in LEAVES.items():
            missing = [path for path in _filled(group, given) if path not in found]
            expect.that(name, not missing, f"missing: {missing}" if missing else "", "all of them")
        for name, group in STAYS.items():
            extra = [path for path in _filled(group, given) if path in found]
            expect.that(name, not extra, f"published: {extra}" if extra else "", "none of them")


def _filled(group: tuple[str, ...], given: dict[str, Any]) -> list[str]:
    return [path.format(**given["words"]) for path in group]


FIELDS = ("Question", "Input", "Output", "Trained on", "Limits", "Not for")
DEFECTS = {
    "a field that is missing is open": None,
    "a field with nothing behind it is open": "",
    "TODO is no answer": "TODO",
    "three dots are no answer": "...",
    "the template's *Not written yet* is no answer": "*Not written yet: who asks, and about whom.*",
}
TEXTS = {
    "Question": "How likely is it that the mass is malignant?",
    "Input": "Thirty measurements of cell nuclei (radius, texture, ...), lengths in micrometres.",
    "Output": "A probability between 0 and 1.",
    "Trained on": "569 aspirates of one hospital, 1990.",
    "Limits": "- One hospital, one digitiser.",
    "Not for": "screening, and not for men.",
}


class Card(Exercise):
    """Which fields of a pipeline's page are open."""

    id = "m10.card"
    title = "no empty field"
    names = ("open_fields",)
    hints = (
        "A field can be open in several ways: it is not there, nothing stands behind it, or only a placeholder does.",
        "`text_of(page, field)` gives '' for the first two. `text.startswith((...))` takes several beginnings at once.",
    )
    worked = (
        "The page '## Intended use\\n**Question.** Is it benign?\\n**Input.** TODO\\n' has\n"
        "1. Question: 'Is it benign?', which is an answer;\n"
        "2. Input: 'TODO', which is none: open;\n"
        "3. Output, Trained on, Limits, Not for: not there, so text_of gives '': open.\n"
        "Answer: ['Input', 'Output', 'Trained on', 'Limits', 'Not for']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return pages: a whole one, one for each defect, and that of breast-mass."""
        pages = [_page({})]
        for defect in DEFECTS.values():
            fields = random.choice(FIELDS, size=2, replace=False)
            pages.append(_page({str(field): defect for field in fields}))
        readme = root / "pipelines" / "breast-mass" / "README.md"
        own = readme.read_text("utf-8")[:100_000] if readme.is_file() else pages[0]
        return mix(random, [*pages, own])

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the open fields of each page."""
        return [sorted(names["open_fields"](page)) for page in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the fields that were spoilt, and no other."""
        names = ["a page that answers everything has no open field", *DEFECTS]
        *pages, _ = unmix(given, given["cases"])
        *found, own = unmix(given, answer)
        for name, page, fields in zip(names, pages, found, strict=True):
            expect.equal(name, fields, sorted(field for field in FIELDS if _is_open(page, field)))
        expect.equal("the page of breast-mass has no open field", own, [])


def _page(spoilt: Mapping[str, str | None]) -> str:
    """Return a page with some fields spoilt: None leaves a field out."""
    texts = {**TEXTS, **spoilt}
    blocks = {
        **{field: f"**{field}.** {texts[field]}" for field in ("Question", "Input", "Output")},
        "Trained on": f"## Trained on\n\n{texts['Trained on']}",
        "Limits": f"## Limits\n\n{texts['Limits']}",
        "Not for": f"- **Not for** {texts['Not for']}",
    }
    kept = [block.rstrip() for field, block in blocks.items() if texts[field] is not None]
    return "\n\n".join(["# a-pipeline", "## Intended use", *kept]) + "\n"


def _is_open(page: str, field: str) -> bool:
    """Whether a field of a drawn page is open; reads it line by line."""
    lines = page.splitlines()
    for number, line in enumerate(lines):
        if line == f"## {field}":
            following = next((text for text in lines[number + 1 :] if text), "")
            text = "" if following.startswith(("## ", "- **Not for")) else following
        elif line.removeprefix("- ").startswith(f"**{field}"):
            text = line.rpartition("**")[2].strip()
        else:
            continue
        return text in [defect for defect in DEFECTS.values() if defect is not None]
    return True


class Reproduce(Exercise):
    """The learner pulls a repository and makes its numbers again."""

    id = "m10.reproduce"
    title = "make a partner's numbers again"
    names = ("code", "verdict", "partner")
    hints = (
        "Clone the bundle into {partner}, go there, and let `ai4diag verify breast-mass --json` write verdict.json.",
        "After a line with `!`, `_exit_code` holds its exit code. verdict.json is a list of one verdict.",
    )
    worked = (
        "For a repository in the folder `theirs`, in a terminal:\n\n"
        "    git clone theirs mine && cd mine\n    ai4diag verify heart-disease --json > verdict.json\n    echo $?\n\n"
        "The last line prints the exit code: 0 means that every estimate came out again. "
        "`json.loads(...)[0]['verdict']` then says 'holds'."
    )

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return exit code, verdict and the commit that was pulled."""
        wanted = ("subject", "verdict", "commit", "compared", "identical", "tolerance", "machine")
        verdict = {key: names["verdict"][key] for key in wanted}
        return {"code": names["code"], "verdict": verdict, "pulled": _pulled(Path(names["partner"]))}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect a verdict on the commit that was pulled."""
        verdict, commit = answer["verdict"], str(answer["verdict"]["commit"])
        expect.equal("the verdict is on the pipeline breast-mass", verdict["subject"], "breast-mass")
        expect.equal("the numbers hold", verdict["verdict"], "holds")
        expect.equal("the exit code says so too", answer["code"], 0)
        expect.that("something was run again", bool(verdict["machine"]), "", "a machine in the verdict; not --here")
        expect.that("estimates were compared", verdict["compared"] >= 10, verdict["compared"], "10 or more")
        expect.that("the tolerance is that of the recipe", verdict["tolerance"] <= 0.01, verdict["tolerance"], 0.01)
        expect.that("a whole commit is named", bool(re.fullmatch("[0-9a-f]{40}", commit)), commit, "40 characters")
        expect.equal("it is the commit that was pulled", commit, answer["pulled"])


def _pulled(partner: Path) -> str:
    """Return the commit of the branch in the partner's repository."""
    path = partner / ".git" / "refs" / "heads" / "main"
    return path.read_text("ascii", "replace").strip() if path.is_file() else f"none: there is no {path}"
