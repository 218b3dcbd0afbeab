"""Checks of lesson 10: share and reproduce."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz

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
    "raw data stay where they are": ("data/{d}/patients.csv",),
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
    ),
    "a private key stays": ("keys/ai4diag-private.pem",),
    "a table that somebody left in the pipeline's folder stays": ("pipelines/{p}/patients.csv",),
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
    "Input": "Thirty measurements of cell nuclei, lengths in micrometres.",
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
        return {"pages": pages, "own": readme.read_text("utf-8")[:100_000] if readme.is_file() else pages[0]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the open fields of each page."""
        return [sorted(names["open_fields"](page)) for page in [*given["pages"], given["own"]]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the fields that were spoilt, and no other."""
        names = ["a page that answers everything has no open field", *DEFECTS]
        for name, page, found in zip(names, given["pages"], answer, strict=False):
            expect.equal(name, found, sorted(field for field in FIELDS if _is_open(page, field)))
        expect.equal("the page of breast-mass has no open field", answer[len(names)], [])


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


VERDICTS = {
    "the same numbers hold": 0,
    "numbers within the tolerance hold": 0,
    "undefined before and after is the same": 0,
    "a value outside of the tolerance does not hold": 6,
    "an estimate that is not the headline counts as well": 6,
    "a limit of an interval counts as well": 6,
    "another number of cases does not hold, however close the values": 6,
    "an estimate that is missing does not hold": 6,
    "an estimate that nobody stated does not hold": 6,
    "undefined before and a number now does not hold": 6,
    "code that is in no commit: nothing can be said": 9,
    "code that is in no commit: nothing can be said, also where numbers differ": 9,
}


class Verdicts(Exercise):
    """What verify answers: 0, 6 or 9."""

    id = "m10.verdict"
    title = "holds, does not hold, cannot be verified"
    names = ("exit_code",)
    hints = (
        "First ask whether anything can be said at all. Then: are the same estimates there? Only then compare numbers.",
        "Compare value, low and high of every estimate with the tolerance, and n without any. None equals None alone.",
    )
    worked = (
        "stated = {'auroc': {'value': 0.90, 'low': 0.85, 'high': 0.94, 'n': 80}},\n"
        "found  = {'auroc': {'value': 0.905, 'low': 0.83, 'high': 0.94, 'n': 80}}, tolerance 0.01, known True:\n"
        "1. known: go on. 2. Both have auroc: go on. 3. n is 80 and 80: go on.\n"
        "4. value differs by 0.005: within 0.01. 5. low differs by 0.02: outside.\n"
        "Answer: 6."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return one case for each statement, in their order."""
        return {"cases": [_case(random, number) for number in range(len(VERDICTS))]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the learner's exit code of each case."""
        return [names["exit_code"](**case) for case in given["cases"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the exit code of each case."""
        for (name, code), found in zip(VERDICTS.items(), answer, strict=True):
            expect.equal(name, found, code)


def _case(random: np.random.Generator, number: int) -> dict[str, Any]:
    """Return what a case of `exit_code` is called with."""
    tolerance = float(random.choice([0.005, 0.01, 0.02]))
    values = random.uniform(0.6, 0.85, 3)
    stated: dict[str, dict[str, Any]] = {
        name: {"value": float(v), "low": float(v - 0.08), "high": float(v + 0.08), "n": int(random.integers(40, 300))}
        for name, v in zip(("auroc", "brier", "sensitivity"), values, strict=True)
    }
    found = {name: dict(item) for name, item in stated.items()}
    far, near = tolerance * float(random.uniform(1.5, 4)), tolerance * float(random.uniform(0.1, 0.8))
    if number == 1:
        found = {name: {**item, "value": item["value"] + near} for name, item in stated.items()}
    elif number in (2, 9):
        stated["brier"] |= {"value": None, "low": None, "high": None}
        found["brier"] |= stated["brier"] if number == 2 else {}
    elif number in (3, 11):
        found["auroc"]["value"] -= far
    elif number == 4:
        found["sensitivity"]["value"] += far
    elif number == 5:
        found["auroc"]["low"] -= far
    elif number == 6:
        found["auroc"]["n"] += 1
    elif number == 7:
        del found["brier"]
    elif number == 8:
        del stated["brier"]
    return {"stated": stated, "found": found, "tolerance": tolerance, "known": number < 10}


CAUSES = (
    "equal locks: nothing to explain",
    "another recipe is the cause, not what followed from it",
    "another dataset card is the cause",
    "another pipeline.py is the cause",
    "two causes are both named",
    "equal inputs and other outputs: the machine",
)


class Lock(Exercise):
    """Which input made two locks differ."""

    id = "m10.lock"
    title = "read the lock"
    names = ("causes",)
    hints = (
        "What a stage wrote and a later stage reads is an effect. Look for inputs that no stage has written.",
        "Collect the names of all outputs first. Of the inputs that differ, keep those whose name is not among them.",
    )
    worked = (
        "mine = {'train': {'inputs': {'cases': 'a1', 'train.seed': 7}, 'outputs': {'model': 'c3'}},\n"
        "        'evaluate': {'inputs': {'model': 'c3'}, 'outputs': {'estimates': 'd4'}}}\n"
        "theirs has train.seed 8, model 'c9' and estimates 'd9'.\n"
        "1. Outputs of any stage: model, estimates.\n"
        "2. Inputs that differ: train.seed (7, 8) and model ('c3', 'c9').\n"
        "3. model is an output of train: an effect. train.seed is left.\n"
        "Answer: ['train.seed']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return pairs of locks, one for each statement."""
        return {"pairs": [_pair(random, number) for number in range(len(CAUSES))]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the causes that the learner finds."""
        return [sorted(names["causes"](pair["mine"], pair["theirs"])) for pair in given["pairs"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the inputs that were changed."""
        for name, pair, found in zip(CAUSES, given["pairs"], answer, strict=True):
            expect.equal(name, found, _causes(pair["mine"], pair["theirs"]))


def _causes(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    made = {name for stage in mine.values() for name in stage["outputs"]}
    pairs = [
        (part, name, was, theirs[s][part][name])
        for s in mine
        for part in mine[s]
        for name, was in mine[s][part].items()
    ]
    other = {(part, name) for part, name, was, now in pairs if was != now}
    found = sorted({name for part, name in other if part == "inputs" and name not in made})
    return found or (["machine"] if other else [])


def _pair(random: np.random.Generator, number: int) -> dict[str, Any]:
    """Return two locks of one pipeline; number says what differs."""
    settings = (("train.epochs", 300), ("model.l2", 1), ("train.seed", 7), ("train.learning_rate", 0.05))
    setting, at = settings[int(random.integers(4))]

    def fresh() -> str:
        return f"{random.integers(2**60):015x}"

    sums = {name: fresh() for name in ("card", "hooks", "page", "prepared", "model", "predictions", "estimates")}

    def lock(sums: Mapping[str, str], value: Any) -> dict[str, Any]:
        prepare = {"datasets/wdbc.yaml": sums["card"], "pipeline.py": sums["hooks"]}
        train = {"out/prepared": sums["prepared"], "pipeline.py": sums["hooks"], setting: value}
        evaluate = {"out/predictions.parquet": sums["predictions"], "README.md": sums["page"]}
        written = {"out/model": sums["model"], "out/predictions.parquet": sums["predictions"]}
        return {
            "prepare": {"inputs": prepare, "outputs": {"out/prepared": sums["prepared"]}},
            "train": {"inputs": train, "outputs": written},
            "evaluate": {"inputs": evaluate, "outputs": {"out/estimates.json": sums["estimates"]}},
        }

    after = ["model", "predictions", "estimates"]
    changed = [
        [],
        after,
        ["card", "prepared", *after],
        ["hooks", "prepared", *after],
        ["card", "prepared", *after],
        after,
    ]
    renewed = changed[number]
    other = lock({**sums, **{name: fresh() for name in renewed}}, at * 2 if number in (1, 4) else at)
    return {"mine": lock(sums, at), "theirs": other}


EXERCISES = (
    Publish(),
    Card(),
    Reproduce(),
    Verdicts(),
    Lock(),
    Quiz(
        "m10",
        Question(
            "Your partner clones your repository. What is not in it?",
            ("the recipe", "the estimates that you state", "the predictions of your patients", "the dataset card"),
            "c",
            "Predictions name cases; they stay with the run's record on your machine.",
        ),
        Question(
            "`ai4diag verify` ends with 9. What do you tell your partner?",
            ("I cannot say whether they hold; I lack this", "your numbers are wrong", "they hold, with a warning"),
            "a",
            "9 is no verdict on the numbers: code or data are not there, so nothing was compared.",
        ),
        Question(
            "A colleague writes a better AUROC into estimates.json and commits it. What finds that?",
            (
                "reading the report",
                "`ai4diag verify NAME --here`",
                "the checksum of the file",
                "a re-run of the commit",
            ),
            "d",
            "What is stated is then consistent with itself; only making the number again contradicts it.",
        ),
        Question(
            "On your partner's other processor the last bits of two predictions differ. The estimates are within 0.01.",
            ("exit code 6: the bits must be equal", "exit code 9: other hardware", "exit code 0: the numbers hold"),
            "c",
            "The tolerance of the recipe decides about estimates; bits are told and decide nothing.",
        ),
        Question(
            "Why read a partner's pipeline.py before you verify their run?",
            ("it may be slow", "verify runs it, with your rights, on your machine", "it must have a docstring"),
            "b",
            "A re-run executes the partner's code. An evidence pack is checked without running any of it.",
        ),
    ),
)
