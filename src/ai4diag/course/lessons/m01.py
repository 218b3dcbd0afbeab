"""Checks of lesson 1: run, report, gate, run list, one setting changed, version of the data."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.config.base import read_yaml
from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz
from ai4diag.pipelines.workspace import Workspace

PREPARED = "pipelines/breast-mass/out/prepared"


class ReadReport(Exercise):
    """Four numbers are read off a report."""

    id = "m01.report"
    title = "read it off"
    names = ("reading", "first")
    hints = (
        "All four stand under 'In plain words' of the report, but for the missed ones: these are cases, not per cent.",
        "`first['auroc'].low` is the lower limit; 'Truth' names the malignant cases; in the confusion matrix look for "
        "cases that are malignant and called benign.",
    )
    worked = (
        "A report says: AUROC 0.91, 95 % interval 0.87 to 0.94; truth 30 well, 20 ill; of 100 ill cases the model "
        "finds about 90 (tested on 20). Found are 0.90 x 20 = 18 cases, missed 20 - 18 = 2. So "
        "`reading = {'lower': 0.87, 'malignant': 20, 'missed': 2, 'models': 1}`."
    )

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the reading, and what the run's record says."""
        run = names["first"]
        test = run.predictions.query("part == 'test'")
        return {
            "reading": dict(names["reading"]),
            "low": run.headline.low,
            "truth": test["truth"].tolist(),
            "sensitivity": run["sensitivity"].value,
            "look": run.record.facts["look"],
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the four numbers."""
        reading, ill = answer["reading"], sum(answer["truth"])
        expect.close("'lower' is the lower limit, not the value", reading.get("lower"), answer["low"], 6e-4)
        expect.equal("'malignant' counts the ill of the test part, not all cases", reading.get("malignant"), ill)
        missed = ill - round(answer["sensitivity"] * ill)
        expect.equal("'missed' counts malignant cases, and is not per cent", reading.get("missed"), missed)
        expect.equal("'models' counts those tested on these cases so far", reading.get("models"), answer["look"])


class Gate(Exercise):
    """A release gate asks the lower limit."""

    id = "m01.gate"
    title = "the release gate"
    names = ("meets_gate",)
    hints = (
        "Which number do the data still support if this was a lucky study? Compare that one with `wanted`.",
        "One comparison is enough: `low >= wanted`. Compared with NaN it is False, as it should be.",
    )
    worked = (
        "Wanted is 0.90. An estimate of 0.93 with an interval from 0.88 to 0.97 does not meet it: 0.88 is below 0.90. "
        "An estimate of 0.91 with an interval from 0.90 to 0.92 does: 0.90 is what was asked for."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return estimates on both sides of a gate, one on it, one without an interval."""
        wanted = round(float(random.uniform(0.6, 0.9)), 3)
        step = round(float(random.uniform(0.01, 0.05)), 3)
        cases = [
            ("above", wanted + 3 * step, wanted + step),
            ("straddles", wanted + step, wanted - step),
            ("below", wanted - step, wanted - 2 * step),
            ("on it", wanted + step, wanted),
            ("undefined", wanted + step, math.nan),
        ]
        return {"wanted": wanted, "cases": [list(case) for case in cases]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the rule says of each."""
        rule = names["meets_gate"]
        return {kind: rule(value, low, given["wanted"]) for kind, value, low in given["cases"]}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the lower limit to decide."""
        expect.equal("a lower limit above the gate meets it", answer["above"], True)
        expect.equal("a value above the gate is not enough when its lower limit is below", answer["straddles"], False)
        expect.equal("a value below the gate does not meet it", answer["below"], False)
        expect.equal("a lower limit that is exactly what was asked for meets it", answer["on it"], True)
        expect.equal("without an interval (low is NaN) the gate is never met", answer["undefined"], False)


class FindRun(Exercise):
    """The newest finished run of a variant, in a list of runs."""

    id = "m01.find"
    title = "find it again"
    names = ("find_run", "rows", "first")
    hints = (
        "First keep the rows that fit (pipeline, variant, status), then take the latest of them. It has no order.",
        "`max(fit, key=lambda row: row['started'])` is the latest row of a list `fit` that is not empty.",
    )
    worked = (
        "Three rows of breast-mass, full: a (FINISHED, started 10:00), b (KILLED, 11:00), c (FINISHED, 09:00). b does "
        "not fit, its status is KILLED. Of a and c, a is later: the answer is a. With variant quick nothing fits: None."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return rows of which the newest is of another pipeline or was killed; the one asked for is in the middle."""
        fits = [("breast-mass", "full", "FINISHED")] * 3
        others = [
            ("breast-mass", "full", "KILLED"),
            ("breast-mass", "quick", "FINISHED"),
            ("heart-disease", "full", "FINISHED"),
            ("breast-mass", "full", "RUNNING"),
        ]
        late = random.permutation(4) + 16
        rows = [
            {
                "run_id": random.bytes(16).hex(),
                "pipeline": pipeline,
                "variant": variant,
                "status": status,
                "started": f"2026-11-{int(random.integers(10, 28)) if hour < 16 else 29}T{hour:02}:30:00+00:00",
            }
            for (pipeline, variant, status), hour in zip(fits + others, [8, 9, 10, *late], strict=True)
        ]
        old, middle, new = sorted(rows[:3], key=lambda row: row["started"])
        return {"rows": [rows[3], old, rows[4], new, rows[5], middle, rows[6]]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the function finds in the drawn rows, in none, and in the learner's own."""
        find = names["find_run"]
        return {
            "full": find(given["rows"], "breast-mass", "full"),
            "none": find(given["rows"], "heart-disease", "quick"),
            "empty": find([], "breast-mass", "full"),
            "own": find(names["rows"], "breast-mass", "full"),
            "first": names["first"].record.run_id,
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the newest finished one."""
        full = [row for row in given["rows"] if row["pipeline"] == "breast-mass" and row["variant"] == "full"]
        done = sorted((row["started"], row["run_id"]) for row in full if row["status"] == "FINISHED")
        by_id = {row["run_id"]: row for row in given["rows"]}
        found = by_id.get(answer["full"], {}) if isinstance(answer["full"], str) else {}
        wanted = ("breast-mass", "full")
        said = (found.get("pipeline"), found.get("variant"))
        expect.that("it finds a run of this pipeline and variant", said == wanted, said, wanted)
        expect.equal("the run is finished: not killed, not running", found.get("status"), "FINISHED")
        expect.equal("it is the newest of them, whatever the order of the rows", answer["full"], done[-1][1])
        expect.that("nothing fits: None", answer["none"] is None, answer["none"], None)
        expect.that("an empty list: None", answer["empty"] is None, answer["empty"], None)
        expect.equal("in your own list it finds your run `first`", answer["own"], answer["first"])


class Change(Exercise):
    """Two runs that differ in one setting."""

    id = "m01.change"
    title = "one setting, another result"
    names = ("first", "second")
    hints = (
        "`--set KEY=VALUE` changes one setting for this run alone; `ai4diag runs show` lists the keys under `recipe`.",
        "`!ai4diag run breast-mass --set train.epochs=3`, then `second = lab.run('breast-mass --set train.epochs=3')`.",
    )
    worked = (
        "`!ai4diag run heart-disease --set train.seed=8` makes a run whose recipe differs from the shipped one in "
        "`train.seed` alone. `lab.run('heart-disease --set train.seed=8')` fetches it; "
        "`.record.facts['recipe']['train']['seed']` is 8, and `.record.facts['trained']['data_sha256']` is as it was."
    )

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the two runs say of themselves."""
        return [_facts(names[name]) for name in self.names]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect two runs of one pipeline, one setting apart, on the same data, with different headlines."""
        first, second = answer
        expect.that("`second` is another run than `first`", first["id"] != second["id"], second["id"][:8])
        pipelines = [first["pipeline"], second["pipeline"]]
        expect.equal("both are of breast-mass", pipelines, ["breast-mass"] * 2)
        settings = [dict(_flat(run["recipe"])) for run in answer]
        keys = {*settings[0], *settings[1]}
        changed = sorted(key for key in keys if settings[0].get(key) != settings[1].get(key))
        expect.that("exactly one setting differs", len(changed) == 1, ", ".join(changed) or "none", "one setting")
        same = first["data"] == second["data"]
        expect.that(
            "both rest on the same prepared data, so that both were tested on the same patients",
            same,
            f"{first['data'][:8]} and {second['data'][:8]}",
            "equal hashes: leave `data` of the recipe as it is",
        )
        differ = first["value"] != second["value"]
        expect.that("the headline differs", differ, second["value"], f"another value than {first['value']:.6f}")


class Version(Exercise):
    """The version of the data, from the run, the file and the lock file."""

    id = "m01.version"
    title = "the same data, proved"
    names = ("fingerprint", "recorded", "locked", "first")
    hints = (
        "A hash is made of the bytes in the file, not of its name. The run's record has what it noted under 'trained'.",
        "`hashlib.sha256(Path(path).read_bytes()).hexdigest()`; `first.record.facts['trained']['data_sha256']`; in "
        "dvc.lock go to `prepare@breast-mass:`, then `outs:`, then `md5:`.",
    )
    worked = (
        "A file holds the three bytes `abc`. `hashlib.sha256(b'abc').hexdigest()` begins with ba7816bf. With `abd` it "
        "begins with a52d159f: one byte, another hash. In a lock file with `outs: - path: out/prepared, md5: 1f3a.dir` "
        "the locked version is `1f3a.dir`."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return two contents of a file, one character apart."""
        text = random.bytes(12).hex()
        return {"text": text, "changed": text[:-1] + ("0" if text[-1] != "0" else "1")}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return fingerprints of files with these contents, the learner's names, and the files that these are from."""
        root = Workspace.find(Path.cwd()).root
        with tempfile.TemporaryDirectory() as folder:
            contents = {"a.txt": given["text"], "copy.txt": given["text"], "b.txt": given["changed"]}
            found = {}
            for name, text in contents.items():
                path = Path(folder) / name
                path.write_text(text, encoding="utf-8")
                found[name] = names["fingerprint"](path)
        return {
            "found": found,
            "recorded": names["recorded"],
            "locked": names["locked"],
            "noted": names["first"].record.facts["trained"]["data_sha256"],
            "prepared": (root / PREPARED / "prepared.json").read_text(encoding="utf-8"),
            "outputs": read_yaml(root / "dvc.lock")["stages"]["prepare@breast-mass"]["outs"],
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect SHA-256 of contents, and the two versions."""
        found = answer["found"]
        right = hashlib.sha256(given["text"].encode()).hexdigest()
        expect.equal("`fingerprint` is the SHA-256 of the file's bytes, as 64 characters", found["a.txt"], right)
        expect.equal("a copy under another name has the same one", found["copy.txt"], found["a.txt"])
        expect.that("one character changed gives another one", found["b.txt"] != found["a.txt"], found["b.txt"])
        expect.equal("`recorded` is what the run noted", answer["recorded"], answer["noted"])
        lies_here = hashlib.sha256(answer["prepared"].encode()).hexdigest()
        expect.equal("`recorded` is the hash of the prepared data that lie here", answer["recorded"], lies_here)
        locked = next(out["md5"] for out in answer["outputs"] if out["path"] == PREPARED)
        expect.equal("`locked` is what dvc.lock says of the folder `prepared`", answer["locked"], locked)


def _facts(run: Any) -> dict[str, Any]:
    facts = run.record.facts
    return {
        "id": run.record.run_id,
        "pipeline": run.record.pipeline,
        "recipe": dict(facts["recipe"]),
        "data": facts["trained"]["data_sha256"],
        "value": run.headline.value,
    }


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a recipe as `train.epochs` and value."""
    for key, value in recipe.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


EXERCISES = (
    ReadReport(),
    Gate(),
    FindRun(),
    Change(),
    Version(),
    Quiz(
        "m01",
        Question(
            "You call `ai4diag run breast-mass` a second time and change nothing. What happens?",
            (
                "Everything is trained again and gets a new run id.",
                "Nothing is run, because nothing is out of date.",
                "The model is trained further, from where it stopped.",
            ),
            "b",
            "a stage runs again only when something that it reads has changed",
        ),
        Question(
            "An AUROC of 0.93 has the 95 % interval 0.86 to 0.97, and the release gate asks for 0.90. What now?",
            (
                "The gate is met, 0.93 is above 0.90.",
                "The gate is met, because 0.90 lies within the interval.",
                "The gate is not met, because the lower limit is below 0.90.",
            ),
            "c",
            "a gate asks the lower limit, which a lucky study alone does not lift",
        ),
        Question(
            "Which of these names for good the data that a run rests on?",
            (
                "The hash that the run noted.",
                "The file's name and date.",
                "The commit of the code alone.",
            ),
            "a",
            "one changed byte gives another hash; names and dates stay, and data are not in git",
        ),
        Question(
            "Two runs differ in `data.split.seed`. The second has a higher AUROC. What do you know?",
            (
                "The second model is better.",
                "Little: the two were tested on different patients.",
                "The second recipe has learned for longer.",
            ),
            "b",
            "only on the same patients is a difference one of the models",
        ),
        Question(
            "The report says: 'Of 100 malignant cases, the model finds about 97 (tested on 64)'. What is 64?",
            (
                "The malignant cases that were found.",
                "All cases of the test part.",
                "The per cent of cases that are malignant.",
                "The malignant cases of the test part, on which the 97 rests.",
            ),
            "d",
            "a share rests on the cases that it is a share of, here the malignant ones",
        ),
    ),
)
