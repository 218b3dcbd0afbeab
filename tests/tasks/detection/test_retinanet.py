"""RetinaNet: where cells lie, what they learn, and that four smears can be learned by heart."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from ai4diag.data.smear import CLASSES, make_patient, make_smear
from ai4diag.errors import ConfigError
from ai4diag.evaluation.detection import DetectionCases, mean_average_precision
from ai4diag.tasks.detection.answers import answer
from ai4diag.tasks.detection.boxes import Truth
from ai4diag.tasks.detection.retinanet import RetinaNetwork, decode_boxes, match

ROWS, COLUMNS = 64, 96
GRIDS = [(16, 24), (8, 12), (4, 6), (2, 3)]
"""Of an image of 64 rows and 96 columns, at strides of 4, 8, 16 and 32 pixels."""
CELLS = sum(rows * columns for rows, columns in GRIDS)


def network(classes=2, channels=1, dimensions=2, **settings):
    torch.manual_seed(0)
    return RetinaNetwork(classes, channels, dimensions, "resnet10", width=8, pyramid=8, **settings)


def truth(*images, dimensions=2):
    """Pad lists of (box, label, ignore) to one truth."""
    most = max(1, *(len(image) for image in images))
    boxes = torch.zeros(len(images), most, 2 * dimensions)
    labels = torch.zeros(len(images), most, dtype=torch.int64)
    real, ignore = torch.zeros(len(images), most, dtype=torch.bool), torch.zeros(len(images), most, dtype=torch.bool)
    for number, image in enumerate(images):
        for place, (box, label, skip) in enumerate(image):
            boxes[number, place], labels[number, place] = torch.tensor(box, dtype=torch.float32), int(label)
            real[number, place], ignore[number, place] = True, bool(skip)
    return Truth(boxes, labels, real, ignore)


def quiet_maps(batch=1, classes=2, shapes=1, grids=GRIDS):
    """Return outputs in which nothing is found (every score 1 %) and every box is its anchor."""
    dimensions = len(grids[0])
    logits = [torch.full((batch, shapes * classes, *grid), -math.log(99)) for grid in grids]
    return logits, [torch.zeros(batch, shapes * 2 * dimensions, *grid) for grid in grids]


def test_boxes_of_a_network_that_corrects_nothing_are_the_anchors():
    net = network(classes=3)
    torch.nn.init.zeros_(net.box_head.bbox_reg.weight)
    scores, boxes = net.decode(net(torch.randn(2, 1, ROWS, COLUMNS)))
    expected = [
        [(place + 0.5) * stride + sign * half for sign in (-1, 1) for place in (row, column)]
        for stride, half, (rows, columns) in zip((4, 8, 16, 32), (8, 16, 32, 64), GRIDS, strict=True)
        for row in range(rows)
        for column in range(columns)
    ]
    assert scores.shape == (2, CELLS, 3)
    torch.testing.assert_close(boxes, torch.tensor(expected).expand(2, -1, -1))
    torch.testing.assert_close(scores, torch.full_like(scores, 0.01), atol=0.01, rtol=0)


def test_a_hot_place_is_decoded_where_it_is_row_first():
    """Row 3, column 5 at stride 8 has its centre at (28, 44); anchors (rows x columns) are 16x16 and 32x8 there."""
    net = network(anchor_shapes=[[8, 8], [16, 4]])
    logits, codes = quiet_maps(shapes=2)
    logits[1][0, 2 + 1, 3, 5] = 4.0  # second anchor, second class
    codes[1][0, 4 : 4 + 4, 3, 5] = torch.tensor([0.25, 0.5, 0.0, math.log(2)])
    scores, boxes = net.decode((*logits, *codes))
    cell, label = divmod(int(scores[0].argmax()), 2)
    assert label == 1
    centre_row, centre_column = 28 + 0.25 * 32, 44 + 0.5 * 8
    expected = [centre_row - 16, centre_column - 8, centre_row + 16, centre_column + 8]
    torch.testing.assert_close(boxes[0, cell], torch.tensor(expected))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_boxes_are_decoded_as_monai_decodes_them(dimensions):
    from monai.apps.detection.utils.box_coder import BoxCoder

    anchors = random_boxes(50, dimensions, seed=1)
    codes = torch.randn(50, 2 * dimensions, generator=torch.Generator().manual_seed(2)) * 3
    coder = BoxCoder([1.0] * 2 * dimensions)
    torch.testing.assert_close(decode_boxes(codes, anchors), coder.decode_single(codes, anchors), atol=1e-2, rtol=1e-4)
    boxes = random_boxes(50, dimensions, seed=3)
    torch.testing.assert_close(decode_boxes(coder.encode_single(boxes, anchors), anchors), boxes, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_anchors_are_matched_as_monai_matches_them(dimensions):
    from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher

    grids = [tuple(96 // stride for _ in range(dimensions)) for stride in (4, 8, 16, 32)]
    logits, codes = quiet_maps(grids=grids)
    levels = network(dimensions=dimensions).anchors((*logits, *codes))
    images = [random_boxes(number, dimensions, seed=number).tolist() for number in (0, 1, 7, 25)]
    batch = truth(*([(box, 0, False) for box in boxes] for boxes in images), dimensions=dimensions)
    learns, which = match(levels, batch, 9)
    matcher = ATSSMatcher(num_candidates=9)
    learned = 0
    for number, boxes in enumerate(images):
        told = torch.tensor(boxes).reshape(-1, 2 * dimensions)
        _, expected = matcher(told, torch.cat(levels), [len(level) for level in levels], 1)
        unlearned = set(range(len(boxes))) - set(expected.tolist())  # ours gives these a cell, MONAI's does not
        ours = torch.where(learns[number], which[number], -1)
        same = torch.tensor([box not in unlearned for box in ours.tolist()])
        assert torch.equal(ours[same], expected[same])
        assert int((~same).sum()) <= len(unlearned)
        learned += int((expected[same] >= 0).sum())
    assert learned > 50


def random_boxes(number, dimensions, seed):
    """Boxes of 10 to 50 pixels in an image of 96 pixels."""
    generator = torch.Generator().manual_seed(seed)
    sides = 10 + 40 * torch.rand(number, dimensions, generator=generator)
    low = (96 - sides) * torch.rand(number, dimensions, generator=generator)
    return torch.cat([low, low + sides], 1)


def test_an_object_between_all_centres_is_learned_all_the_same():
    """Centres of anchors are 4 pixels apart: none is in a box of 2 pixels around (24, 40)."""
    net = network()
    logits, codes = quiet_maps()
    learns, which = match(net.anchors((*logits, *codes)), truth([([23, 39, 25, 41], 1, False)]), 9)
    assert learns.any()
    assert not which[learns].any()


def test_an_image_without_objects_costs_its_focal_loss_alone():
    """0.75 p^2 (-log(1 - p)) for every score of p = 0.01."""
    net = network()
    logits, codes = quiet_maps()
    losses = net.loss((*logits, *codes), truth([]))
    expected = 2 * CELLS * 0.75 * 0.01**2 * -math.log(0.99)
    assert float(losses["loss_score"]) == pytest.approx(expected, rel=1e-4)
    assert float(losses["loss_box"]) == 0
    assert float(losses["loss"]) == float(losses["loss_score"])


def test_an_object_costs_the_focal_loss_of_its_places_and_is_shared_by_them():
    """0.25 (1 - p)^2 (-log p) for every place that learns it."""
    net = network()
    logits, codes = quiet_maps()
    told = truth([([8, 50, 30, 90], 1, False)])
    places = int(match(net.anchors((*logits, *codes)), told, 9)[0].sum())
    assert places > 1
    found = places * 0.25 * 0.99**2 * -math.log(0.01)
    empty = (2 * CELLS - places) * 0.75 * 0.01**2 * -math.log(0.99)
    losses = net.loss((*logits, *codes), told)
    assert float(losses["loss_score"]) == pytest.approx((found + empty) / places, rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(float(losses["loss_score"] + 2 * losses["loss_box"]))


def test_a_number_that_is_not_finite_reaches_the_loss():
    """There the training loop finds it, and says what to do."""
    images = torch.zeros(1, 1, ROWS, COLUMNS)
    images[0, 0, 0, 0] = math.nan
    net = network().eval()
    assert math.isnan(net.loss(net(images), truth([([8, 50, 30, 90], 1, False)]))["loss"].item())


def test_padding_changes_no_loss():
    net = network()
    logits, codes = quiet_maps()
    boxes = [([8, 50, 30, 90], 1, False), ([40, 10, 60, 34], 0, False)]
    alone = net.loss((*logits, *codes), truth(boxes))
    padded = Truth(*(torch.cat([part, torch.zeros_like(part)], 1) for part in dataclasses.astuple(truth(boxes))))
    assert net.loss((*logits, *codes), padded) == alone


def test_a_perfect_answer_costs_next_to_nothing():
    """The box is an anchor of stride 8; every anchor that learns it gives that box and is sure."""
    net = network()
    logits, codes = quiet_maps()
    box = [12.0, 28.0, 44.0, 60.0]
    told = truth([(box, 1, False)])
    levels = net.anchors((*logits, *codes))
    learns, _ = match(levels, told, 9)
    start = 0
    for level, (anchors, grid) in enumerate(zip(levels, GRIDS, strict=True)):
        here = learns[0, start : start + len(anchors)].reshape(grid)
        start += len(anchors)
        logits[level] -= 10
        logits[level][0, 1][here] = 10
        centres = (anchors[:, :2] + anchors[:, 2:]).reshape(*grid, 2) / 2
        side = 16 * 2**level
        codes[level][0, :2] = ((torch.tensor([28.0, 44.0]) - centres) / side).permute(2, 0, 1)
        codes[level][0, 2:] = math.log(32 / side)
    losses = net.loss((*logits, *codes), told)
    assert float(losses["loss_box"]) == pytest.approx(0, abs=1e-5)
    assert float(losses["loss_score"]) < 1e-6


def test_a_region_to_ignore_teaches_nothing():
    """Places inside it have no gradient; with the same region wanted, or none at all, they have one."""
    net = network()
    region = [16.0, 32.0, 48.0, 80.0]

    def slopes(*boxes):
        logits, codes = quiet_maps()
        leaves = [part.requires_grad_() for part in (*logits, *codes)]
        net.loss(tuple(leaves), truth(list(boxes)))["loss"].backward()
        return leaves[0].grad[0], sum(float(leaf.grad.abs().sum()) for leaf in leaves[len(GRIDS) :])

    inside = torch.zeros(GRIDS[0], dtype=torch.bool)
    inside[4:12, 8:20] = True  # stride 4: rows 16 to 48, columns 32 to 80
    ignored, of_boxes = slopes((region, 1, True))
    assert not ignored[:, inside].any()
    assert ignored[:, ~inside].all()
    assert of_boxes == 0
    empty, _ = slopes()
    assert empty.all()
    wanted, of_boxes = slopes((region, 1, False))
    assert wanted.all()
    assert of_boxes > 0


def test_three_dimensions():
    """Odd sizes of grid, another number on every axis; every weight is used."""
    net = network(classes=2, channels=1, dimensions=3)
    images = torch.randn(2, 1, 32, 64, 32)
    outputs = net(images)
    scores, boxes = net.decode(outputs)
    cells = 8 * 16 * 8 + 4 * 8 * 4 + 2 * 4 * 2 + 1 * 2 * 1
    assert scores.shape == (2, cells, 2)
    assert boxes.shape == (2, cells, 6)
    told = truth([([4, 30, 6, 20, 52, 24], 1, False)], [], dimensions=3)
    losses = net.loss(outputs, told)
    losses["loss"].backward()
    assert all(math.isfinite(loss.item()) for loss in losses.values())
    assert losses["loss_box"].item() > 0
    assert all(weight.grad is not None for weight in net.parameters())


def test_half_precision_moves_no_anchor():
    """bfloat16 counts in steps of 2 from 256 on: anchors must not be made in the precision of the network."""
    net = network()
    exact = net.anchors(net(torch.zeros(1, 1, 32, 640)))
    rounded = net.anchors(tuple(part.bfloat16() for part in net(torch.zeros(1, 1, 32, 640))))
    for one, other in zip(exact, rounded, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shapes", [[[16, 16, 16]], [[16]], [[16, 1]]])
def test_anchors_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ConfigError, match="expected 2 sides"):
        network(anchor_shapes=shapes)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small are slower on two threads, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def smears():
    """Four small smears `(4, 3, 96, 96)`, normalised, and their truth."""
    made = []
    for number in range(4):
        patient = dataclasses.replace(make_patient(number, seed=3), red_count=7.0)
        made.append(make_smear(patient, np.random.default_rng([3, number]), size=96))
    images = torch.from_numpy(np.stack([smear.image for smear in made])).float()
    told = [list(zip(smear.boxes.tolist(), smear.labels, smear.difficult, strict=True)) for smear in made]
    return (images - images.mean()) / images.std(), truth(*told)


def test_four_smears_are_learned_by_heart(smears):
    """Rows come first: the answers fit the truth, and fit it no more when rows and columns are exchanged."""
    images, told = smears
    torch.manual_seed(0)
    net = RetinaNetwork(len(CLASSES), 3, backbone="resnet10", width=16, pyramid=32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    course = []
    for _ in range(STEPS):
        losses = net.loss(net(images), told)
        optimizer.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        course.append(losses["loss"].item())
    assert np.mean(course[-5:]) < 0.4 * np.mean(course[:5])
    scores, boxes = (part.detach().numpy() for part in net.decode(net(images)))
    answers = [answer([(scores[number], boxes[number])], (96, 96)) for number in range(4)]
    assert precision(told, answers, [0, 1, 2, 3]) > 0.5
    assert precision(told, answers, [1, 0, 3, 2]) < 0.1


STEPS = 60


def precision(told, answers, axes):
    """Mean average precision at overlap 0.5 against truth whose edges are put in the order `axes`."""
    kept = [real.numpy() for real in told.real]
    cases = DetectionCases.from_lists(
        [boxes.numpy()[real][:, axes] for boxes, real in zip(told.boxes, kept, strict=True)],
        [labels.numpy()[real] for labels, real in zip(told.labels, kept, strict=True)],
        [ignore.numpy()[real] for ignore, real in zip(told.ignore, kept, strict=True)],
        [one.boxes for one in answers],
        [one.labels for one in answers],
        [one.scores for one in answers],
        n_classes=len(CLASSES),
    )
    return mean_average_precision(cases)["map_50"]
