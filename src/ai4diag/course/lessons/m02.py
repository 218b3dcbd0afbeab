"""Checks of lesson 2: split by patient, copies of pictures, AUROC by hospital, licences, stages out of date."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz
from ai4diag.errors import DataError

XRAYS = "data/pneumoniamnist_reconstructed/pneumoniamnist_reconstructed.npz"
N_PICTURES = 24
STRANGERS = 0.95
"""Two pictures of different children that are drawn correlate with less."""
COPY = 0.985
"""Copies correlate with more, rounded grey values and all."""
Table = dict[str, dict[str, str]]


class Split(Exercise):
    """A split by patient."""

    id = "m02.split"
    title = "nobody in two parts"
    names = ("grouped_split",)
    hints = (
        "Deal out people, not cases: first a list of all patients, each once, then which of them are test.",
        "`people = sorted(set(patient))`, `np.random.default_rng(seed).permutation(people)[:n_test]` are the test "
        "patients; then one word for each case, by whose case it is.",
    )
    worked = (
        "patient = ['A', 'B', 'A', 'C', 'C', 'C', 'D'], test_share 0.25. Four people, one is test. The draw says C. "
        "The answer is ['train', 'train', 'train', 'test', 'test', 'test', 'train']: three of seven cases, one of "
        "four people."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return cases of 50 patients, in any order; some patients have very many."""
        names = [f"patient-{random.bytes(3).hex()}" for _ in range(50)]
        cases = [name for name in names for _ in range(int(random.choice([1, 2, 3, 30])))]
        return {
            "patient": [cases[place] for place in random.permutation(len(cases))],
            "share": float(random.choice([0.2, 0.3, 0.4])),
            "seeds": random.choice(10_000, 6, replace=False).tolist(),
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the split of each seed, and of the first one again."""
        split, seeds = names["grouped_split"], given["seeds"]
        return [list(split(given["patient"], given["share"], seed)) for seed in (*seeds, seeds[0])]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect whole patients, the asked share of them, and seeds that count."""
        first, *others, again = answer
        patient = given["patient"]
        words = set(first)
        expect.equal("there is one part for each case", len(first), len(patient))
        expect.that("the parts are called train and test", words == {"train", "test"}, sorted(words))
        parts: dict[str, set[str]] = {}
        for person, part in zip(patient, first, strict=False):
            parts.setdefault(person, set()).add(part)
        torn = sorted(person for person, found in parts.items() if len(found) > 1)
        say = f"{len(torn)} in both, such as {torn[0]}" if torn else "none"
        expect.that("no patient is in two parts", not torn, say, "none")
        wanted = given["share"] * len(parts)
        test = [len({who for who, part in zip(patient, split, strict=True) if part == "test"}) for split in answer]
        name = f"{given['share']:.0%} of the patients are test (of the patients, not of the cases), whatever the seed"
        worst = max(test, key=lambda n_test: abs(n_test - wanted))
        expect.that(name, abs(worst - wanted) <= 1, f"{worst} of {len(parts)} patients", f"{wanted:.0f}, or one off")
        expect.that("the same seed gives the same split", first == again)
        expect.that("other seeds give other splits", len({tuple(split) for split in (first, *others)}) > len(others))


class Copies(Exercise):
    """Copies among real chest X-rays."""

    id = "m02.copies"
    title = "find the copies"
    names = ("find_copies",)
    hints = (
        "A hash finds only equal bytes. Which number stays high when a picture becomes lighter or flatter?",
        "`np.corrcoef` of all pictures, each as one line (`.ravel()`), gives the likeness of every pair at once; "
        "name the pairs above 0.98, each once (`itertools.combinations`).",
    )
    worked = (
        "Three pictures of four pixels: a = 0 10 20 30, b = 5 10 15 20 (half the contrast, a little lighter), c = 30 "
        "0 20 10. a and b correlate with 1, a and c with -0.4, b and c with -0.4. The answer is [('a', 'b')], "
        "although a and b have no more than one pixel in common."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return real X-rays of different children, of which two were planted once more: as they are, and fainter."""
        path = root / XRAYS
        if not path.is_file():
            raise DataError(f"{path} does not exist.", "Run `ai4diag course catch-up m02`.")
        with np.load(path, allow_pickle=False) as arrays:
            pool = arrays["test_images"]
        chosen = pool[random.choice(len(pool), 2 * N_PICTURES, replace=False)].astype(int)
        chosen = _strangers(chosen)[:N_PICTURES]
        fainter = np.round(chosen[1] * random.uniform(0.6, 0.8) + random.uniform(10, 40)).astype(int)
        pictures = [*chosen, chosen[0], fainter]
        names = [f"xray-{random.bytes(3).hex()}" for _ in pictures]
        return {"pictures": {names[place]: pictures[place].tolist() for place in random.permutation(len(pictures))}}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the pairs."""
        found = names["find_copies"]({name: np.array(picture) for name, picture in given["pictures"].items()})
        return [list(pair) for pair in found]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect exactly the planted pairs."""
        pictures = {name: np.array(picture, float) for name, picture in given["pictures"].items()}
        equal, fainter = set(), set()
        for a, b in combinations(sorted(pictures), 2):
            if (pictures[a] == pictures[b]).all():
                equal.add((a, b))
            elif _likeness(pictures[a], pictures[b]) > COPY:
                fainter.add((a, b))
        pairs = [(min(a, b), max(a, b)) for a, b in answer]
        found = set(pairs)
        say = ", ".join(f"{a} = {b}" for a, b in sorted(found)) or "no pair"
        expect.that("the copy that is equal byte for byte is found", equal <= found, say, "its two ids")
        expect.that("the copy with another brightness is found", fainter <= found, say, "its two ids")
        wrong = sorted(found - equal - fainter)
        say = f"{len(wrong)} others, such as {' = '.join(wrong[0])}" if wrong else "none"
        expect.that("nobody else is named", not wrong, say, "none")
        expect.equal("each pair is named once", len(pairs), len(found))


class BySite(Exercise):
    """AUROC in each hospital."""

    id = "m02.site"
    title = "hospital by hospital"
    names = ("by_site",)
    hints = (
        "Go through the hospitals one by one, and forget all the others while you look at one.",
        (
            "`own = site == name`, then `roc_auc_score(truth[own], score[own])`; first ask whether the truth there has "
            "both 0 and 1."
        ),
    )
    worked = (
        "North: scores 0.8 0.7 0.6, truth 1 0 1. Of the two pairs of an ill and a well patient one is ranked right "
        "(0.8 above 0.7), one wrong: AUROC 0.5. South: scores 0.2 0.1, truth 0 0: nobody is ill, undefined. The "
        "answer is {'north': 0.5, 'south': nan}."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return four hospitals: the score knows the place in two; in the third all are ill, in the fourth all well."""
        site = np.repeat(["aalborg", "brno", "cork", "delft"], [180, 180, 12, 9])[random.permutation(381)]
        chance = np.select([site == "aalborg", site == "brno", site == "cork"], [0.85, 0.15, 1.0], 0.0)
        truth = (random.random(381) < chance).astype(int)
        for name in ("aalborg", "brno"):
            truth[np.flatnonzero(site == name)[:4]] = 0, 1, 0, 1
        middle = np.select([site == "aalborg", site == "brno"], [0.7, 0.3], 0.6)
        score = np.clip(random.normal(middle, 0.1), 0, 1).round(2)
        return {"score": score.tolist(), "truth": truth.tolist(), "site": site.tolist()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the AUROC of each hospital."""
        arrays = [np.array(given[name]) for name in ("score", "truth", "site")]
        return {str(name): float(value) for name, value in names["by_site"](*arrays).items()}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the share of pairs that are ranked right, hospital by hospital."""
        cases = list(zip(given["score"], given["truth"], given["site"], strict=True))
        pooled = _auroc([(score, truth) for score, truth, _ in cases])
        sites = sorted(set(given["site"]))
        expect.equal("every hospital is in the answer, and nothing else", sorted(answer), sites)
        for name in sites:
            value = _auroc([(score, truth) for score, truth, site in cases if site == name])
            if math.isnan(value):
                same = "ill" if name == "cork" else "well"
                statement = f"{name}, where all are {same}, is NaN (undefined)"
            else:
                statement = f"{name}: {value:.2f} from its own patients, although the pooled AUROC is {pooled:.2f}"
            expect.close(statement, answer.get(name), value)


class Licence(Exercise):
    """What a licence allows a company that sells a model."""

    id = "m02.licence"
    title = "sell, ask, or leave it"
    names = ("may_sell",)
    hints = (
        "Take the name apart at its hyphens and look at whole parts: NCBI is not NC.",
        "`parts = licence.split('-')`; `'NC' in parts` is about whole parts, `'NC' in licence` is not. First 'no'.",
    )
    worked = (
        "'CC-BY-NC-SA-4.0' has the parts CC, BY, NC, SA, 4.0. NC is among them: 'no', whatever else is there. "
        "'BSD-3-Clause' has neither NC, SA nor ND and does not begin with LicenseRef-: 'yes'."
    )
    KNOWN = (
        ("CC-BY-NC-4.0", "no", "non-commercial is no"),
        ("CC-BY-NC-SA-4.0", "no", "non-commercial is no, whatever else it says"),
        ("CC-BY-NC-ND-3.0", "no", "non-commercial is no in older versions as well"),
        ("", "no", "no licence is no permission"),
        ("CC-BY-SA-4.0", "ask", "share alike is a question"),
        ("CC-BY-ND-4.0", "ask", "no derivatives is a question"),
        ("LicenseRef-GDC-open-access", "ask", "own terms are a question"),
        ("LicenseRef-NCBI-terms", "ask", "own terms are a question, and NCBI is not NC"),
        ("CC-BY-4.0", "yes", "naming the authors is enough"),
        ("CC0-1.0", "yes", "nothing is asked for"),
        ("MIT", "yes", "a licence without hyphens"),
        ("ODC-By-1.0", "yes", "a data base licence that asks for names"),
        ("Apache-2.0", "yes", "a software licence"),
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return the names in a random order."""
        return {"licences": [self.KNOWN[place][0] for place in random.permutation(len(self.KNOWN))]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what is said of each."""
        return [[licence, names["may_sell"](licence)] for licence in given["licences"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the three rules, in their order."""
        found = dict(answer)
        for licence, wanted, why in self.KNOWN:
            expect.equal(f"{licence or 'an empty text'}: {why}", found.get(licence), wanted)


class Stale(Exercise):
    """Which stages must run again."""

    id = "m02.stale"
    title = "what must run again?"
    names = ("stale",)
    hints = (
        "A stage is as it was if every file that it read and every file that it wrote has the MD5 of the lock file.",
        (
            "`now.get(path) != md5` is true for a changed file and for one that is gone; `any(...)` over deps and outs "
            "of a stage."
        ),
    )
    worked = (
        "prepare read card (aa) and wrote cases (bb); train read cases (bb) and wrote model (cc). Now: card is a1, "
        "cases bb, model cc. prepare must run again, because the card is another one. train need not: what it reads "
        "and wrote is as it was. The answer is ['prepare']."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Return stages of four pipelines, one of each kind of change."""
        stages: dict[str, Table] = {}
        now: dict[str, str] = {"notes.txt": random.bytes(16).hex()}
        pipelines = [f"{word}-{random.integers(10, 99)}" for word in ("heart", "voice", "xray", "smear")]
        for name in pipelines:
            files = {path: random.bytes(16).hex() for path in (f"{name}/card", f"{name}/cases", f"{name}/model")}
            card, cases, model = files
            stages[f"prepare@{name}"] = {"deps": {card: files[card]}, "outs": {cases: files[cases]}}
            stages[f"train@{name}"] = {"deps": {cases: files[cases]}, "outs": {model: files[model]}}
            now |= files
        now[f"{pipelines[1]}/card"] = random.bytes(16).hex()
        now[f"{pipelines[2]}/cases"] = random.bytes(16).hex()
        del now[f"{pipelines[3]}/model"]
        order = random.permutation(len(stages))
        return {"stages": {list(stages)[place]: list(stages.values())[place] for place in order}, "now": now}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the function says."""
        return names["stale"](given["stages"], given["now"])

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the stages whose files differ, each kind by name."""
        names = {name.split("@")[1].split("-")[0]: name.split("@")[1] for name in given["stages"]}
        voice, xray, smear, heart = (names[word] for word in ("voice", "xray", "smear", "heart"))
        expect.that("a card that changed: its `prepare` must run", f"prepare@{voice}" in answer)
        expect.that("what `train` reads is as it was: it need not run", f"train@{voice}" not in answer)
        both = {f"prepare@{xray}", f"train@{xray}"} <= set(answer)
        expect.that("cases that changed: who wrote them and who reads them must run", both)
        expect.that("a model that is gone: its `train` must run", f"train@{smear}" in answer)
        expect.that("nothing changed: nothing must run", not any(heart in name for name in answer))
        wanted = sorted(name for name, stage in given["stages"].items() if not _as_it_was(stage, given["now"]))
        expect.equal("these stages and no others, sorted", answer, wanted)


def _as_it_was(stage: Table, now: Mapping[str, str]) -> bool:
    return {*stage["deps"].items(), *stage["outs"].items()} <= set(now.items())


def _strangers(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Leave out every picture that is much like an earlier one: the data hold real copies."""
    likeness = np.tril(np.corrcoef(pictures.reshape(len(pictures), -1)), k=-1)
    kept: np.ndarray[Any, Any] = pictures[likeness.max(axis=1) < STRANGERS]
    return kept


def _likeness(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    a, b = first - first.mean(), second - second.mean()
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def _auroc(cases: Sequence[tuple[float, int]]) -> float:
    """Return the share of pairs of an ill and a well patient that are ranked right; half a point for a tie."""
    ill = [score for score, truth in cases if truth == 1]
    well = [score for score, truth in cases if truth == 0]
    points = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ill for b in well]
    return sum(points) / len(points) if points else math.nan


EXERCISES = (
    Split(),
    Copies(),
    BySite(),
    Licence(),
    Stale(),
    Quiz(
        "m02",
        Question(
            (
                "30 people were recorded six times each, and the 180 recordings were shuffled into train and test. The "
                "AUROC is 0.94. What was measured?"
            ),
            (
                "How well the model does for a new person.",
                "Mostly how well it recognises people whom it has heard.",
                "Nothing, because 30 people are too few.",
            ),
            "b",
            "nearly every person of the test part was heard in training; a new patient was not",
        ),
        Question(
            "Two X-rays have different checksums. What follows?",
            (
                "They are of two different patients.",
                "They are two different pictures.",
                "Their files differ in at least one byte, and no more than that.",
            ),
            "c",
            "one grey value or one JPEG is enough for another checksum",
        ),
        Question(
            "The pooled AUROC over two hospitals is 0.88, in each of them it is 0.52. What does the model know?",
            ("The hospital.", "The disease.", "Both equally."),
            "a",
            "within a hospital, where the place is the same for all, nothing is left",
        ),
        Question(
            "A data set has the licence CC-BY-NC-4.0. May your company sell a model that was trained on it?",
            ("Yes, if the authors are named.", "Yes, if the data are not passed on.", "Yes, if it is a trial.", "No."),
            "d",
            "NC is non-commercial; naming the authors does not change that",
        ),
        Question(
            (
                "`prepare` stopped: one picture is in train and in test of an official split, and you want to compare "
                "with others. What now?"
            ),
            (
                "Delete the finding from findings.json.",
                "Train on another machine.",
                "Waive it with a reason, measure what it is worth, and let the report say so.",
            ),
            "c",
            "what is let pass stands in the report with its reason; nothing disappears",
        ),
    ),
)
