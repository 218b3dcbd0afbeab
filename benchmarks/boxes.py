"""Boxes: suppression of 1,000, average precision of 1,000 images with 50 boxes each, FROC of 20 images.

Peers are given their own data structures beforehand; timed is the scoring. pycocotools and faster-coco-eval score the
same ten IoU thresholds, one range of areas, and at most 100 detections, as
ours; their defaults take four times as long.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ai4diag.evaluation.boxes import nms
from ai4diag.evaluation.detection import COCO_IOUS, DetectionCases, average_precision, match
from ai4diag.evaluation.froc import FALSE_PER_IMAGE, Froc
from benchmarks import ROUNDS, Row, agree, repeat, side_by_side, versions

IMAGES, BOXES, CLASSES, SIZE = 1000, 50, 5, 512
Lists = dict[str, list[np.ndarray[Any, Any]]]


def run() -> list[Row]:
    """Measure on one thread."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    return [suppression(2), suppression(3), *precision(), free_response()]


def suppression(dimensions: int) -> Row:
    """Compare non-maximum suppression at IoU 0.5."""
    from monai.data.box_utils import non_max_suppression

    generator = np.random.default_rng(dimensions)
    boxes, scores = random_boxes(generator, 1000, dimensions, 200), generator.permutation(1000) / 1000
    torches = torch.from_numpy(boxes), torch.from_numpy(scores)

    def ours() -> Any:
        return nms(boxes, scores, 0.5)

    def peer() -> Any:
        return non_max_suppression(*torches, 0.5)

    agree(ours(), peer(), 0)
    mine, theirs = side_by_side(repeat(ours, 10), peer)
    name = f"suppression of 1,000 boxes, {dimensions}D"
    return Row(name, "MONAI non_max_suppression", mine.times(0.1), theirs, 50.0, versions("monai", "numba"))


def precision() -> list[Row]:
    """Compare COCO's mean average precision."""
    lists = images(np.random.default_rng(0))
    cases = DetectionCases.from_lists(
        lists["truth"], lists["truth_labels"], None, lists["boxes"], lists["labels"], lists["scores"], CLASSES
    )

    def ours() -> float:
        return float(average_precision(match(cases, COCO_IOUS), np.ones(IMAGES)).mean())

    peers: list[tuple[str, Callable[[], float], float, int, str]] = [
        ("faster-coco-eval", faster_coco(lists), 10.0, ROUNDS, "faster-coco-eval"),
        ("pycocotools", pycocotools(lists), 60.0, 3, "pycocotools"),
        ("MONAI COCOMetric", monai_coco(lists), 50.0, 3, "monai"),
    ]
    rows = []
    for name, peer, goal, rounds, package in peers:
        mine, theirs = ours(), peer()
        agree(mine, theirs, 1e-9 if package != "monai" else 2e-4)
        seconds = side_by_side(ours, peer, rounds)
        what = f"COCO mAP, {IMAGES:,} images x {BOXES} boxes"
        note = f"Overlaps in float32 there: {theirs:.5f}, here {mine:.5f}." if package == "monai" else ""
        rows.append(Row(what, name, *seconds, goal, versions(package, "numba"), note))
    return rows


def pycocotools(lists: Lists) -> Callable[[], float]:
    """Return what scores with pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return _coco(lists, COCO, COCOeval)


def faster_coco(lists: Lists) -> Callable[[], float]:
    """Return what scores with faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    return _coco(lists, COCO, COCOeval_faster)


def _coco(lists: Lists, reader: Any, scorer: Any) -> Callable[[], float]:
    annotations, results = [], []
    for image in range(IMAGES):
        for box, label in zip(xywh(lists["truth"][image]), lists["truth_labels"][image], strict=True):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": int(label), "bbox": box.tolist(),
                 "area": float(box[2] * box[3]), "iscrowd": 0}
            )  # fmt: skip
        found = zip(xywh(lists["boxes"][image]), lists["labels"][image], lists["scores"][image], strict=True)
        results += [
            {"image_id": image, "category_id": int(label), "bbox": box.tolist(), "score": float(score)}
            for box, label, score in found
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = reader()
        coco.dataset = {
            "images": [{"id": image} for image in range(IMAGES)],
            "annotations": annotations,
            "categories": [{"id": label, "name": str(label)} for label in range(CLASSES)],
        }
        coco.createIndex()
        loaded = coco.loadRes(results)

    def work() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            made = scorer(coco, loaded, "bbox")
            made.params.maxDets = [100]
            made.params.areaRng, made.params.areaRngLbl = [[0, 1e10]], ["all"]
            made.evaluate()
            made.accumulate()
        return float(np.asarray(made.eval["precision"]).reshape(10, 101, CLASSES).mean())

    return work


def monai_coco(lists: Lists) -> Callable[[], float]:
    """Return what scores with MONAI's copy of nnDetection's scorer."""
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou

    names = [str(label) for label in range(CLASSES)]
    metric = COCOMetric(names, iou_list=(), iou_range=(0.5, 0.95, 0.05), max_detection=(100,), verbose=False)

    def work() -> float:
        matched = matching_batch(
            box_iou, COCO_IOUS, lists["boxes"], lists["labels"], lists["scores"], lists["truth"], lists["truth_labels"]
        )
        return float(metric(matched)[0]["mAP_IoU_0.50_0.95_0.05_MaxDet_100"])

    return work


def free_response() -> Row:
    """Compare the mean sensitivity at seven numbers of false detections per image."""
    from monai.metrics import compute_froc_curve_data, compute_froc_score
    from monai.metrics.froc import compute_fp_tp_probs_nd

    lists, masks = lesions(np.random.default_rng(0), 20, 200)
    cases = DetectionCases.from_lists(
        lists["truth"], lists["truth_labels"], None, lists["boxes"], lists["labels"], lists["scores"], 1
    )

    def ours() -> float:
        return float(Froc(cases).sensitivities().mean())

    def peer() -> float:
        false, true, total = [], [], 0
        for boxes, scores, mask in zip(lists["boxes"], lists["scores"], masks, strict=True):
            centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
            wrong, right, lesions_here = compute_fp_tp_probs_nd(scores, centres, mask)
            false.append(wrong)
            true.append(right)
            total += lesions_here
        curve = compute_froc_curve_data(np.concatenate(false), np.concatenate(true), total, len(masks))
        return float(compute_froc_score(*curve, eval_thresholds=tuple(FALSE_PER_IMAGE)))

    agree(ours(), peer(), 1e-9)
    note = "Lesions and detections such that a hit by centre (MONAI) and one by IoU 0.1 (ours) are the same."
    seconds = side_by_side(ours, peer)
    return Row("FROC, 20 images x 200 detections", "MONAI", *seconds, 5.0, versions("monai", "numpy"), note)


def random_boxes(generator: np.random.Generator, n: int, dimensions: int, size: int) -> np.ndarray[Any, Any]:
    """Return boxes of a quarter of the size at most."""
    low = generator.uniform(0, 0.75 * size, (n, dimensions))
    return np.hstack([low, low + generator.uniform(0.02 * size, 0.25 * size, (n, dimensions))])


def images(generator: np.random.Generator) -> Lists:
    """Return truth, and as many detections: nine tenths of the truth boxes shifted, the rest anywhere."""
    made: Lists = {name: [] for name in ("truth", "truth_labels", "boxes", "labels", "scores")}
    for _ in range(IMAGES):
        truth = np.round(random_boxes(generator, BOXES, 2, SIZE))
        labels = generator.integers(0, CLASSES, BOXES)
        found = truth + np.round(generator.normal(0, 4, truth.shape))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        wrong = generator.random(BOXES) < 0.1
        found[wrong] = np.round(random_boxes(generator, int(wrong.sum()), 2, SIZE))
        for name, values in zip(made, (truth, labels, found, labels, generator.random(BOXES)), strict=True):
            made[name].append(values)
    return made


def lesions(generator: np.random.Generator, n: int, detections: int) -> tuple[Lists, list[np.ndarray[Any, Any]]]:
    """Return images of 512 x 512 with five lesions on a grid, one of them missed, and the masks of the lesions."""
    made: Lists = {name: [] for name in ("truth", "truth_labels", "boxes", "labels", "scores")}
    masks = []
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1).reshape(-1, 2) * 32.0
    for _ in range(n):
        cells = generator.permutation(len(grid))
        truth = np.hstack([grid[cells[:5]], grid[cells[:5]] + 24])
        mask = np.zeros((SIZE, SIZE), np.int64)
        for number, (top, left, bottom, right) in enumerate(truth.astype(int), start=1):
            mask[top:bottom, left:right] = number
        at = np.concatenate([generator.integers(0, 4, 40), generator.integers(5, len(grid), detections - 40)])
        corner = grid[cells[at]] + generator.integers(0, 4, (detections, 2))
        scores = generator.permutation(2**16)[:detections] / 2**16 + 1e-3
        columns = (truth, np.zeros(5, int), np.hstack([corner, corner + 20]), np.zeros(detections, int), scores)
        for name, values in zip(made, columns, strict=True):
            made[name].append(values)
        masks.append(mask)
    made["scores"] = [np.float32(scores).astype(np.float64) for scores in made["scores"]]
    return made, masks


def xywh(boxes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return boxes as COCO writes them."""
    return np.column_stack([boxes[:, 1], boxes[:, 0], boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]])
