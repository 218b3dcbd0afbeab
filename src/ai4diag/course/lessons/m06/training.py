"""Exercises on preparing pictures, training, fine-tuning and resuming."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.course.exercise import Exercise, Expectations
from ai4diag.files import read_json

Floats = npt.NDArray[np.float64]
MOST_EPOCHS = 4
"""Of the fine-tuning, so that nobody waits."""
MOST_CHANGES, LONGEST_CHANGE = 20, 120
"""Settings that are read, and characters of each: YAML of a stranger can be short to write and long to read."""
WEIGHTS = Path("pipelines/chest-xray/out/quick/model/model.safetensors")
"""What fine-tuning begins with."""


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
        "Four settings: where the weights begin (`model.weights`), how many epochs, a gentler learning rate, and a "
        "warm-up that fits into so few epochs.",
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
        short = len(answer) <= MOST_CHANGES and all(len(text) <= LONGEST_CHANGE for text in answer)
        if not expect.that(f"there are at most {MOST_CHANGES} settings, none longer than a line", short):
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
        expect.that(
            "training begins with the weights of the finished run, counted from the folder of the repository",
            Path(weights) == WEIGHTS,
            weights or "none",
            str(WEIGHTS),
        )
        expect.that("that file is there", (root / WEIGHTS).is_file(), "", str(WEIGHTS))
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
            2 <= recipe.train.epochs <= MOST_EPOCHS,
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
        few = isinstance(planned, int) and 2 <= planned <= MOST_EPOCHS
        if not expect.that("the fine-tuning has 2 to 4 epochs", few, planned, "2, 3 or 4"):
            return
        expect.that(
            "the checkpoint was written in the middle of the training",
            isinstance(saved, int) and 1 <= saved < planned,
            f"after epoch {saved}",
            f"after one of the epochs 1 to {planned - 1}",
        )
        expect.equal("the resumed run is the run that was interrupted", answer["resumed"], answer["stopped"])
        expect.equal("its history counts every epoch once", answer["epochs"], list(range(1, planned + 1)))
        expect.that("it is the fine-tuning: it began with given weights", bool(answer["weights"]), answer["weights"])


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
