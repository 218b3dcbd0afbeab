"""Checks of lesson 6: image classification."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.course.quiz import Question, Quiz
from ai4diag.files import read_json

Floats = npt.NDArray[np.float64]
LIMIT = 0.5
"""Mean likeness from which a map explains nothing."""


class Normalise(Exercise):
    """The learner brings pictures to the scale of the training pictures."""

    id = "m06.normalise"
    title = "bring pictures to the scale of the training part"
    names = ("normalise",)
    hints = (
        "A mean and a spread are learned, like weights: from the training pictures only, then used for every picture.",
        "`return (images - train.mean()) / train.std()`; the new pictures are only in the numerator.",
    )
    worked = (
        "Training pictures with the pixels 10, 20, 30, 40: mean 25, standard deviation 11.18.\n"
        "A new picture with the pixels 40 and 40 becomes (40 - 25) / 11.18 = 1.34, twice.\n"
        "With a mean of its own it would become 0, twice: that it is a bright picture would be lost."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw darker training pictures and brighter new ones."""
        train = random.integers(0, 160, (5, 6, 4))
        return {"train": train.tolist(), "images": random.integers(90, 256, (3, 6, 4)).tolist()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the training pictures, the new ones, and the first new one alone, normalised."""
        train, images = (np.array(given[name], np.uint8) for name in ("train", "images"))
        asked = (train, images, images[:1])
        return [np.asarray(names["normalise"](train.copy(), those.copy()), np.float64) for those in asked]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect mean and spread of the training pictures."""
        train, images = (np.array(given[name], np.float64) for name in ("train", "images"))
        found = [np.array(item, np.float64) for item in answer]
        if not expect.equal("the result has the shape of `images`", list(found[1].shape), list(images.shape)):
            return
        expect.close("the training pictures themselves get a mean of 0", float(found[0].mean()), 0.0)
        expect.close("the training pictures themselves get a spread of 1", float(found[0].std()), 1.0)
        right = (images - train.mean()) / train.std()
        expect.close(
            "new pictures keep their distance from the training pictures: their mean is not made 0",
            float(found[1].mean()),
            float(right.mean()),
        )
        expect.that("every pixel of the new pictures has the right value", np.allclose(found[1], right, atol=1e-6))
        expect.that(
            "a picture alone gets the same values as among others",
            found[2].shape == images[:1].shape and np.allclose(found[2], found[1][:1], atol=1e-9),
        )


class Curve(Exercise):
    """The learner reads the history of a training."""

    id = "m06.curve"
    title = "read the curve of a training"
    names = ("read_curve",)
    hints = (
        "Most epochs are not validated: their `validation` is empty. Keep only those in which there is a score.",
        'Begin with `looked = [epoch for epoch in epochs if epoch["validation"]]`, then `max(looked, key=...)`: it '
        "returns the first of equal ones.",
    )
    worked = (
        "Three epochs: the first without validation, then scores of 0.90 and 0.88.\n"
        "Looked at: epochs 2 and 3. Best: epoch 2. The last that was looked at is epoch 3, and it is not the best,\n"
        'so the model no longer gets better: {"best": 2, "looks": 2, "still_better": False}.'
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw histories: rising, falling at the end, with a tie, and never validated."""
        rising = np.sort(random.uniform(0.6, 0.98, 4))
        falling = np.concatenate([rising[1:], rising[:1]])
        tie = np.array([rising[0], rising[3], rising[1], rising[3]])
        return {"histories": [_history(random, scores) for scores in (rising, falling, tie, rising[:0])]}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the learner reads from each history."""
        return [names["read_curve"](epochs) for epochs in given["histories"]]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the first best epoch among those that were validated."""
        rising, falling, tie, never = answer
        truth = [_read(epochs) for epochs in given["histories"]]
        keys = ["best", "looks", "still_better"]
        if not expect.equal("the answer has the keys that were asked for", sorted(rising), keys):
            return
        expect.equal("only epochs that were validated are counted as looks", rising["looks"], truth[0]["looks"])
        expect.equal("a training that still rises: its last look is its best", rising, truth[0])
        expect.equal("a training that falls at the end: the best epoch lies before", falling, truth[1])
        expect.equal("of equally good epochs the first is the best", tie["best"], truth[2]["best"])
        expect.equal("a training that was never validated has no best epoch (None, 0, False)", never, truth[3])


class FineTune(Exercise):
    """The learner writes the settings of a fine-tuning."""

    id = "m06.finetune"
    title = "settings for fine-tuning"
    names = ("changes",)
    hints = (
        "Three settings: where the weights begin (`model.weights`), how many epochs, and a gentler learning rate.",
        '`changes = ["model.weights=pipelines/...", "train.epochs=4", "train.learning_rate=0.0005"]`, and a fourth for '
        "`train.warmup_epochs`. The path counts from the folder of the repository.",
    )
    worked = (
        "For another pipeline: a ResNet whose weights lie in `weights/abdomen.safetensors`, trained at 0.01, goes on\n"
        'with ["model.weights=weights/abdomen.safetensors", "train.epochs=5", "train.learning_rate=0.001"].\n'
        "Everything that is not named stays as the recipe has it; a name that the recipe does not know is an error."
    )

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the settings."""
        return names["changes"]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect a recipe that begins with weights of the same network and learns more slowly for fewer epochs."""
        from ai4diag.errors import Ai4diagError
        from ai4diag.pipelines.workspace import Workspace

        if not expect.that("`changes` is a list of texts", isinstance(answer, list) and all(map(_is_text, answer))):
            return
        workspace = Workspace(root)
        before: Any = workspace.pipeline("chest-xray", quick=True)
        try:
            recipe: Any = workspace.pipeline("chest-xray", quick=True, overrides=answer).recipe
        except Ai4diagError as error:
            expect.that("the recipe knows every setting", False, error.message, "settings of the recipe")
            return
        model: Any = recipe.model
        weights = model.weights or ""
        usual_model: Any = before.recipe.model
        expect.that("training begins with weights of an earlier run", bool(weights), weights or "none", "a file")
        expect.that(
            "that file is there, counted from the folder of the repository", (root / weights).is_file(), weights
        )
        expect.that(
            "the network is the one that the weights are of",
            all(getattr(model, name, None) == getattr(usual_model, name) for name in ("network", "width")),
            f"{model.network}, width {getattr(model, 'width', 'none')}",
            f"{usual_model.network}, width {usual_model.width}",
        )
        rate, usual = recipe.train.learning_rate, before.recipe.train.learning_rate
        expect.that(
            "the learning rate is at most a third of the recipe's: large steps would undo what was learned",
            rate <= usual / 3,
            rate,
            f"at most {usual / 3:.4g}",
        )
        expect.that(
            "there are 2 to 4 epochs: one to stop in, and one to go on with",
            2 <= recipe.train.epochs <= 4,
            recipe.train.epochs,
            "2, 3 or 4",
        )
        expect.that(
            "warming up takes no longer than half of the training",
            recipe.train.warmup_epochs <= recipe.train.epochs / 2,
            recipe.train.warmup_epochs,
            f"at most {recipe.train.epochs / 2:g}",
        )


class Resume(Exercise):
    """The learner interrupts a training and takes it up again."""

    id = "m06.resume"
    title = "interrupt and resume"
    names = ("first_step", "stopped", "saved", "resumed")
    hints = (
        "A rest of cases that does not fill a batch is a step too. And a training is resumed by the very same command.",
        "Steps of an epoch: `math.ceil(cases / batch_size)`. `resumed = lab.execute(...)` with the same `changes` as "
        "before; other settings are another run.",
    )
    worked = (
        "100 cases in batches of 32 are 4 steps: 32 + 32 + 32 and a rest of 4; the training loop makes them 4 of 25.\n"
        "A checkpoint after epoch 2 was written after step 8, so the first step after it is step 9.\n"
        "A training that began anew would begin with step 1, in a run of its own."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw trainings: with a rest, without one, and before the first epoch."""
        batch = int(random.integers(8, 64))
        full = batch * int(random.integers(3, 9))
        rest = full + int(random.integers(1, batch))
        return {
            "cases": [
                [int(random.integers(1, 9)), rest, batch],
                [int(random.integers(1, 9)), full, batch],
                [0, rest, 8],
            ]
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the steps, and what the stopped run, its checkpoint and the resumed run say of themselves."""
        record = names["resumed"].record
        root = Path(record.folder).parents[2]
        return {
            "steps": [names["first_step"](*case) for case in given["cases"]],
            "stopped": names["stopped"].run_id,
            "status": names["stopped"].status,
            "saved": names["saved"]["epoch"],
            "resumed": record.run_id,
            "planned": record.facts["recipe"]["train"]["epochs"],
            "weights": record.facts["recipe"]["model"]["weights"],
            "epochs": [epoch["epoch"] for epoch in _history_of(root, record.run_id)],
        }

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect one run that counted on."""
        steps = [epoch * math.ceil(cases / batch) + 1 for epoch, cases, batch in given["cases"]]
        expect.equal("first step after a checkpoint, where a rest of cases is a step too", answer["steps"][0], steps[0])
        expect.equal("first step after a checkpoint, where batches are all full", answer["steps"][1], steps[1])
        expect.equal("without a finished epoch it is step 1", answer["steps"][2], 1)
        expect.equal("the interrupted run was marked as killed", answer["status"], "KILLED")
        saved, planned = answer["saved"], answer["planned"]
        expect.that(
            "the checkpoint was written in the middle of the training",
            isinstance(saved, int) and 1 <= saved < planned,
            f"after epoch {saved}",
            f"after one of the epochs 1 to {planned - 1}",
        )
        expect.equal("the resumed run is the run that was interrupted", answer["resumed"], answer["stopped"])
        expect.equal("its history counts every epoch once", answer["epochs"], list(range(1, planned + 1)))
        expect.that("it is the fine-tuning: it began with given weights", bool(answer["weights"]), answer["weights"])


class Occlusion(Exercise):
    """The learner asks which patch of a picture an answer rests on."""

    id = "m06.occlusion"
    title = "where does the answer come from? cover it and see"
    names = ("occlusion",)
    hints = (
        "For every patch: copy the picture, fill the patch, ask for the score; how far is it below that of the whole?",
        "`covered = image.copy(); covered[row : row + size, column : column + size] = fill`, and "
        "`score(image[None])[0] - score(covered[None])[0]` is the value of this patch.",
    )
    worked = (
        "A picture of 2 x 4 pixels, patches of 2 x 2, hence a map of 1 x 2. The score of the whole picture is 3.\n"
        "With the left patch covered it is 1, with the right one 4. The map is [[2, -1]]: the left patch spoke for\n"
        "pneumonia, the right one against it."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw a picture and a model that looks at all but one patch."""
        size = int(random.integers(2, 4))
        weights = random.normal(0, 0.02, (3 * size, 5 * size))
        weights[:size, -size:] = 0
        image = random.uniform(20, 235, weights.shape).round()
        return {
            "weights": weights.tolist(),
            "image": image.tolist(),
            "size": size,
            "fill": float(random.integers(60, 200)),
        }

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the map, and the picture as the learner's function left it."""
        weights, image = np.array(given["weights"]), np.array(given["image"])

        def score(images: Any) -> Floats:
            scores: Floats = np.tanh((np.asarray(images, np.float64) * weights).sum(axis=(1, 2)) / 40)
            return scores

        found = names["occlusion"](score, image, given["size"], given["fill"])
        return {"map": np.asarray(found, np.float64), "image": image}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the fall of the score for each patch."""
        weights, image = np.array(given["weights"]), np.array(given["image"])
        size, fill = given["size"], given["fill"]
        rows, columns = image.shape[0] // size, image.shape[1] // size
        right = np.zeros((rows, columns))
        for row in range(rows):
            for column in range(columns):
                inside = np.zeros(image.shape, bool)
                inside[row * size : (row + 1) * size, column * size : (column + 1) * size] = True
                covered = np.where(inside, fill, image)
                right[row, column] = math.tanh((image * weights).sum() / 40) - math.tanh((covered * weights).sum() / 40)
        found = np.array(answer["map"], np.float64)
        if not expect.equal(
            "the map has one value for each patch: (rows, columns)", list(found.shape), [rows, columns]
        ):
            return
        expect.that(
            "the picture that was given is unchanged: patches are covered on a copy",
            np.array_equal(np.array(answer["image"]), image),
        )
        expect.close("a patch that the model ignores has the value 0", float(found[0, -1]), 0.0, 1e-9)
        expect.that(
            "a patch that speaks for pneumonia has a positive value: the score falls when it is covered",
            float((found * right).sum()) > 0,
        )
        expect.that(
            "every patch has the right value: it alone is covered, with `fill`", np.allclose(found, right, atol=1e-6)
        )


class Sanity(Exercise):
    """The learner tests whether maps depend on what a network has learned."""

    id = "m06.sanity"
    title = "does the map depend on what was learned?"
    names = ("explains", "maps", "verdict")
    hints = (
        "Compare ranks of absolute values, picture by picture, then take the mean. Alike on random weights: it fails.",
        "`scipy.stats.spearmanr(np.abs(a).ravel(), np.abs(b).ravel())[0]` for each pair, `np.mean` of them, `< limit`.",
    )
    worked = (
        "One picture, maps of four patches: trained [4, -3, 2, 1], random [1, 2, -3, 4].\n"
        "Absolute values 4, 3, 2, 1 and 1, 2, 3, 4: their ranks run against each other, likeness -1, below 0.5: the\n"
        "map changed with the weights, so it may explain. Random [8, 6, 4, 2] would have likeness 1: whatever that\n"
        "map shows, it did not come from training."
    )

    def draw(self, random: np.random.Generator, root: Path) -> dict[str, Any]:
        """Draw maps: other ones, the same, the same with another sign, the same in other units, and flat ones."""
        trained = random.normal(size=(6, 12, 12))
        other = random.normal(size=trained.shape)
        bright = np.geomspace(1, 1e4, 6)[:, None, None]
        cases = {
            "other": (trained, other),
            "same": (trained, trained),
            "sign": (trained, -trained),
            "units": (trained, np.abs(trained) ** 15),
            "bright": (trained * bright, other * bright),
            "flat": (trained, np.full(trained.shape, 0.3)),
        }
        return {name: [first.tolist(), second.tolist()] for name, (first, second) in cases.items()}

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return what the learner says of the drawn maps, and the maps of the real network."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of flat maps
            said = {name: names["explains"](*map(np.array, pair)) for name, pair in given.items()}
        maps = {
            method: {which: np.asarray(pair[which], np.float64).round(9) for which in ("trained", "random")}
            for method, pair in names["maps"].items()
        }
        return {"said": said, "maps": maps, "verdict": names["verdict"]}

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect that only maps that change with the weights are taken for explanations."""
        said = answer["said"]
        expect.equal("maps that change with the weights may explain", said["other"], True)
        expect.equal("maps that look the same on random weights explain nothing", said["same"], False)
        expect.equal("the same map with the other sign explains nothing either", said["sign"], False)
        expect.equal("nor does the same map in other units: ranks are compared, not values", said["units"], False)
        expect.equal("bright pictures do not make maps alike: compare picture by picture", said["bright"], True)
        expect.equal("a likeness that is undefined (a flat map) explains nothing", said["flat"], False)
        maps = {name: {k: np.array(v, np.float64) for k, v in pair.items()} for name, pair in answer["maps"].items()}
        if not expect.that(
            "there are maps of occlusion and of edges", {"occlusion", "edges"} <= set(maps), sorted(maps)
        ):
            return
        pairs = [(pair["trained"], pair["random"]) for pair in maps.values()]
        expect.that(
            "each is of three pictures or more, as many on random weights as on trained ones",
            all(len(first) >= 3 and first.shape == second.shape for first, second in pairs),
            [len(first) for first, _ in pairs],
        )
        occluded = maps["occlusion"]
        expect.that(
            "the maps of occlusion come from two networks: trained and random weights",
            not np.allclose(occluded["trained"], occluded["random"]),
        )
        right = {name: bool(likeness(pair["trained"], pair["random"]) < LIMIT) for name, pair in maps.items()}
        expect.equal("the verdict follows from the maps, method by method", answer["verdict"], right)
        expect.equal("edges of the picture explain nothing of the network", answer["verdict"]["edges"], False)


def likeness(trained: Floats, random: Floats) -> float:
    """Return the mean rank correlation of absolute values, picture by picture; NaN where a map is flat."""
    pairs = zip(np.abs(trained), np.abs(random), strict=True)
    values = [_correlation(_ranks(first.ravel()), _ranks(second.ravel())) for first, second in pairs]
    return float(np.mean(values))


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    middle: Floats = (2 * last - count + 1) / 2
    return middle[which]


def _correlation(first: Floats, second: Floats) -> float:
    if first.std() == 0 or second.std() == 0:
        return math.nan
    return float(np.mean((first - first.mean()) * (second - second.mean())) / (first.std() * second.std()))


def _history(random: np.random.Generator, scores: Floats) -> list[dict[str, Any]]:
    """Return the epochs of a training with these scores, in every second or third epoch."""
    every = int(random.integers(2, 4))
    epochs = []
    for number in range(1, every * max(len(scores), 1) + 1):
        score = {"score": float(scores[number // every - 1])} if number % every == 0 and len(scores) else {}
        epochs.append({"epoch": number, "loss": float(1 / number), "validation": score})
    return epochs


def _read(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    best, last, looks = None, None, 0
    for epoch in epochs:
        if "score" in epoch["validation"]:
            looks, last = looks + 1, epoch
            if best is None or epoch["validation"]["score"] > best["validation"]["score"]:
                best = epoch
    if best is None or last is None:
        return {"best": None, "looks": 0, "still_better": False}
    return {"best": best["epoch"], "looks": looks, "still_better": best["epoch"] == last["epoch"]}


def _history_of(root: Path, run: str) -> list[dict[str, Any]]:
    """Return the epochs of the kept model of a run whose output is still there."""
    for path in sorted((root / "pipelines" / "chest-xray" / "out").glob("*/run.json")):
        if read_json(path)["run_id"] == run:
            return list(read_json(path.with_name("history.json"))[-1]["epochs"])
    raise FileNotFoundError(f"the output of run {run[:8]} is not there any more")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


EXERCISES = (
    Normalise(),
    Curve(),
    FineTune(),
    Resume(),
    Occlusion(),
    Sanity(),
    Quiz(
        "m06",
        Question(
            "A training was killed in epoch 5. You run the same command again. What do you expect?",
            (
                "A new run that begins at epoch 1",
                "The same run, which goes on after its latest checkpoint",
                "The same run, which repeats epochs 1 to 5 in its curves",
                "An error, until the old output is deleted",
            ),
            "b",
            "A checkpoint of the same recipe and data is taken up, and the run in MLflow is continued.",
        ),
        Question(
            "Mean and spread with which pictures are normalised come from",
            (
                "each picture itself",
                "all pictures, so that they are most exact",
                "the test part, because that is what counts",
                "the training part only",
            ),
            "d",
            "They are learned, like weights; else test pictures speak in training, or their brightness is lost.",
        ),
        Question(
            "A map shows bright ribs and a clear heart shadow, on trained and on random weights alike. It",
            (
                "explains nothing about what the network has learned",
                "proves that the network looks at anatomy",
                "shows that random weights were trained well enough",
            ),
            "a",
            "What does not depend on the weights cannot come from training, however sensible it looks.",
        ),
        Question(
            "An occlusion map passes the test with random weights. Then it",
            (
                "is a correct explanation of this picture",
                "shows that the model is safe to use",
                "has passed one necessary test, and may still mislead",
                "needs no further look by a radiologist",
            ),
            "c",
            "The test can only refute. The patch size, the filling and other networks can still change the picture.",
        ),
        Question(
            "You fine-tune weights that another company trained on public chest X-rays. What must you ask first?",
            (
                "Whether its learning rate was higher than yours",
                "Whether our test pictures were among its training pictures, and what its licence allows",
                "Whether it has as many parameters as ours",
            ),
            "b",
            "Weights carry their training data with them: test pictures that they have seen flatter every figure.",
        ),
    ),
)
