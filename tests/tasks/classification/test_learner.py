"""The learner: it learns each target, says the same after saving, sees views, and takes new files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks import task
from ai4diag.tasks.classification.learner import _seen, _views
from ai4diag.training.loop import fit
from tests.tasks.classification.cases import CLASSES, recipe, write

TASK = task("classification")


def trained(prepared, settings):
    learner = TASK.learner(prepared, settings, {})
    history = fit(learner, prepared, prepared.folds()[0], settings.train, lambda name, fields: None)
    return learner, history


@pytest.mark.parametrize(
    ("target", "main"),
    [("binary", "auroc"), ("multiclass", "auroc_macro"), ("multilabel", "auroc_macro"), ("ordinal", "kappa_quadratic")],
)
def test_every_target_is_learned_saved_and_read_again(tmp_path, target, main):
    prepared = write(tmp_path / "cases", target, count=90)
    learner, history = trained(prepared, recipe(model={"balanced": True, "label_smoothing": 0.05}, epochs=8))
    assert history[-1]["loss"] < history[0]["loss"]
    figures = history[-1]["validation"]
    assert figures["score"] == figures[main]
    assert figures[main] > 0.8
    rows = prepared.folds()[0].test
    table = learner.predict(prepared, rows)
    classes = CLASSES[target]
    expected = ["score"] if target == "binary" else [f"score_{name}" for name in classes]
    assert list(table) == expected
    if target in ("multiclass", "ordinal"):
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    learner.save(tmp_path / "model")
    pd.testing.assert_frame_equal(TASK.load(tmp_path / "model").predict(prepared, rows), table)


def test_volumes_are_learned(tmp_path):
    prepared = write(tmp_path, size=(6, 5, 4))
    learner, _ = trained(prepared, recipe(augment=["flip", "shift", "noise"]))
    rows = prepared.folds()[0].test
    truth = prepared.index["truth"].to_numpy()[rows]
    assert roc_auc_score(truth, learner.predict(prepared, rows)["score"]) > 0.8


def test_shuffled_labels_teach_nothing(tmp_path):
    """The control: with truth torn from the images, held-out AUROC is that of chance, over several small trainings."""
    areas = []
    for seed in range(6):
        prepared = write(tmp_path / str(seed), count=240, size=(6, 6), shuffled=True, seed=seed)
        learner, _ = trained(prepared, recipe(epochs=3, batch_size=32, seed=seed))
        fold = prepared.folds()[0]
        rows = np.concatenate([fold.test, fold.validation])
        areas.append(roc_auc_score(prepared.index["truth"].to_numpy()[rows], learner.predict(prepared, rows)["score"]))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


def test_same_seed_same_bits_with_augmentation(tmp_path):
    prepared = write(tmp_path)
    settings = recipe(
        model={"untouched": 0.3, "members": 2}, augment={"rotate": 10, "gamma": 0.2, "noise": 0.05}, epochs=2, ema=0.9
    )
    (one, history), (two, again) = trained(prepared, settings), trained(prepared, settings)
    assert history == again
    rows = prepared.folds()[0].test
    pd.testing.assert_frame_equal(one.predict(prepared, rows), two.predict(prepared, rows))
    other, _ = trained(prepared, settings.model_copy(update={"train": settings.train.model_copy(update={"seed": 4})}))
    assert not one.predict(prepared, rows).equals(other.predict(prepared, rows))


def test_statistics_come_from_training_rows_alone(tmp_path):
    prepared = write(tmp_path, channels=3)
    learner = TASK.learner(prepared, recipe(), {})
    rows = np.arange(20)
    learner.place(prepared, rows, torch.device("cpu"))
    own = np.asarray(prepared.images[:20], np.float64)
    np.testing.assert_allclose(learner.mean, own.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(learner.spread, own.std(axis=(0, 2, 3)), rtol=1e-5)


def test_untouched_images_stay_as_they_are(tmp_path):
    prepared = write(tmp_path)
    rows = torch.arange(40)
    images = torch.from_numpy(np.array(prepared.images[:40]))
    changes = {"brightness": {"amount": 0.5, "chance": 1.0}}
    for share, expected in ((1.0, 40), (0.0, 0), (0.5, None)):
        learner = TASK.learner(prepared, recipe(model={"untouched": share}, augment=changes), {})
        learner.place(prepared, np.arange(60), torch.device("cpu"))
        found = learner._changed(rows, torch.Generator().manual_seed(1))
        same = int((found == images.float()).flatten(1).all(dim=1).sum())
        assert same == expected if expected is not None else 8 < same < 32


def test_views_mirror_and_shift_and_are_averaged(tmp_path):
    assert _views([], 3) == [(0, 0, 0, 0)]
    assert len(_views(["flip", "shift"], 3)) == 14
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert torch.equal(_seen(image, (1, 0, 0)), image.flip(-1))
    shifted = _seen(image, (0, 1, 0))
    assert torch.equal(shifted[:, :, 1:], image[:, :, :-1])
    assert torch.equal(shifted[:, :, 0], image[:, :, 0])
    back = _seen(image, (0, 0, -1))
    assert torch.equal(back[..., :-1], image[..., 1:])
    prepared = write(tmp_path)
    learner, _ = trained(prepared, recipe(epochs=1, model={"views": ["flip"]}))
    rows = np.arange(10)
    each = [learner._scores(prepared, rows, [view])[:, 0] for view in ((0, 0, 0), (1, 0, 0))]
    np.testing.assert_allclose(learner.predict(prepared, rows)["score"], np.mean(each, axis=0), rtol=1e-6)
    assert not np.allclose(each[0], each[1])


def test_members_are_averaged(tmp_path):
    prepared = write(tmp_path)
    learner, _ = trained(prepared, recipe(epochs=1, model={"members": 2}))
    rows = np.arange(10)
    images = learner._normalise(torch.from_numpy(np.array(prepared.images[:10])).float())
    with torch.inference_mode():
        each = torch.sigmoid(torch.stack([member(images)[:, 0] for member in learner.network.member]))
    np.testing.assert_allclose(learner.predict(prepared, rows)["score"], each.mean(dim=0), rtol=1e-5)


def test_cases_of_another_kind_are_refused(tmp_path):
    learner, _ = trained(write(tmp_path / "one"), recipe(epochs=1))
    for other in ({"target": "multiclass"}, {"size": (9, 12)}, {"channels": 3}):
        prepared = write(tmp_path / str(other), **other)
        with pytest.raises(DataError, match="the model has"):
            learner.predict(prepared, np.arange(3))


def test_a_change_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'rotate'"):
        TASK.learner(write(tmp_path), recipe(augment=["rotat"]), {})


def test_damaged_weights_are_noticed(tmp_path):
    prepared = write(tmp_path / "cases")
    learner, _ = trained(prepared, recipe(epochs=1))
    learner.save(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        TASK.load(tmp_path / "model")


def test_new_pictures_and_arrays_are_answered_as_prepared_ones(tmp_path):
    prepared = write(tmp_path / "cases", "multiclass")
    learner, _ = trained(prepared, recipe(epochs=2))
    for row in range(2):
        Image.fromarray(prepared.images[row, 0]).save(tmp_path / f"scan{row}.png")
    np.savez(tmp_path / "more.npz", scans=prepared.images[2:5, 0], notes=np.arange(3))
    inputs = [tmp_path / "scan0.png", tmp_path / "scan1.png", tmp_path / "more.npz"]
    (tmp_path / "packed").mkdir()
    new = TASK.gather(inputs, learner, tmp_path / "packed")
    assert new.index["case_id"].tolist() == ["scan0", "scan1", *(f"more-scans-{number:05d}" for number in (1, 2, 3))]
    table = learner.predict(new, np.arange(5))
    pd.testing.assert_frame_equal(table, learner.predict(prepared, np.arange(5)))
    (path,) = TASK.deliver(table, new, tmp_path)
    written = pd.read_csv(path)
    assert list(written) == ["case_id", "score_upper", "score_lower", "score_neither", "answer"]
    best = table.to_numpy().argmax(axis=1)
    assert written["answer"].tolist() == [CLASSES["multiclass"][number] for number in best]


def test_new_files_that_do_not_fit_are_named(tmp_path):
    prepared = write(tmp_path / "cases")
    learner, _ = trained(prepared, recipe(epochs=1))
    (tmp_path / "packed").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    np.savez(tmp_path / "small.npz", scans=np.zeros((2, 5, 5), np.uint8))
    np.savez(tmp_path / "none.npz", scans=np.zeros((0, 10, 12), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    for name, message in (
        ("notes.txt", r"notes\.txt: the model reads a picture"),
        ("small.npz", r"small\.npz holds scans uint8 \(2, 5, 5\); the model reads uint8 \(cases, 10, 12\)"),
        ("none.npz", r"none\.npz: no images"),
        ("broken.png", r"broken\.png"),
    ):
        with pytest.raises(DataError, match=message):
            TASK.gather([tmp_path / name], learner, tmp_path / "packed")


def test_a_model_of_changed_images_refuses_new_files(tmp_path):
    prepared = write(tmp_path / "cases")
    learner = TASK.learner(prepared, recipe(epochs=1), {"preprocess": lambda image: 255 - image})
    learner.place(prepared, np.arange(4), torch.device("cpu"))
    learner.save(tmp_path / "model")
    Image.fromarray(prepared.images[0, 0]).save(tmp_path / "scan.png")
    with pytest.raises(DataError, match="changes images in `preprocess`"):
        TASK.gather([tmp_path / "scan.png"], TASK.load(tmp_path / "model"), tmp_path)


def test_a_picture_of_another_size_is_resampled(tmp_path):
    prepared = write(tmp_path / "cases")
    learner, _ = trained(prepared, recipe(epochs=1))
    large = np.repeat(np.repeat(prepared.images[0, 0], 3, axis=0), 3, axis=1)
    Image.fromarray(large).save(tmp_path / "large.png")
    (tmp_path / "packed").mkdir()
    new = TASK.gather([tmp_path / "large.png"], learner, tmp_path / "packed")
    np.testing.assert_array_equal(new.images[0], prepared.images[0])


def test_a_batch_in_parts_sees_what_the_whole_batch_sees(tmp_path):
    prepared = write(tmp_path)
    learner = TASK.learner(prepared, recipe(model={"untouched": 0.3}, augment=["rotate", "gamma", "noise"]), {})
    learner.place(prepared, np.arange(60), torch.device("cpu"))
    rows = torch.tensor([5, 0, 33, 12, 7, 41])

    def seen(share):
        return learner._changed(rows, torch.Generator().manual_seed(2), share)

    parts = torch.cat([seen(slice(0, 2)), seen(slice(2, 5)), seen(slice(5, 6))])
    torch.testing.assert_close(parts, seen(slice(None)))


def test_labels_to_balance_by_are_classes_or_the_rarest_finding(tmp_path):
    for target in ("ordinal", "multilabel"):
        prepared = write(tmp_path / target, target)
        learner = TASK.learner(prepared, recipe(), {})
        learner.place(prepared, np.arange(60), torch.device("cpu"))
        found = learner.balance_labels(np.arange(60))
        if target == "ordinal":
            assert found.tolist() == prepared.index["truth"].tolist()
            continue
        shows = prepared.index[["truth_upper", "truth_lower"]].to_numpy()
        rare = int(shows.sum(axis=0).argmin())
        expected = [rare if line[rare] else 1 - rare if line[1 - rare] else 2 for line in shows]
        assert found.tolist() == expected


def test_training_goes_on_in_parts_and_with_balanced_epochs(tmp_path):
    prepared = write(tmp_path)
    for change in ({"accumulate": 2}, {"balance": "class"}):
        _, history = trained(prepared, recipe(**change))
        assert history[-1]["loss"] < history[0]["loss"]
