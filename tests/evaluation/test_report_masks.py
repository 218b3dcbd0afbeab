"""Label maps in the report: pictures that stand upright, outlines along voxels, and every case in a table."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext, render
from ai4diag.evaluation.report.planes import volume_picture
from ai4diag.masks import encode
from tests.evaluation.test_mask_scores import CLASSES, both, table
from tests.evaluation.test_report import Page

SIDES = (6, 5, 4)


def case(mask, answer=None, spacing=(1.0, 2.0, 3.0)):
    answer = mask if answer is None else answer
    return {
        "case_id": "scan-1",
        "truth_runs": encode(mask),
        "runs": encode(answer),
        "shape": list(mask.shape),
        "spacing_mm": list(spacing),
        "dice": [1.0],
    }


def images(svg):
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r"data:image/png;base64,([^\"]+)", str(svg))
    ]


@pytest.fixture
def marked():
    """A mask of one voxel, and a volume that is bright at the patient's right, at the front and at the head."""
    mask = np.zeros(SIDES, np.uint8)
    mask[3, 2, 1] = 1
    volume = np.zeros(SIDES, np.uint8)
    volume[-1, :, :] += 50
    volume[:, -1, :] += 80
    volume[:, :, -1] += 120
    return mask, volume


def test_pictures_stand_upright(marked):
    mask, volume = marked
    below, front, left = images(volume_picture(case(mask), ["x"], volume, "k").svg)
    assert (below.shape, front.shape, left.shape) == ((5, 6), (4, 6), (4, 5))  # rows, columns
    assert below[0].tolist() == [130, 80, 80, 80, 80, 80]  # the front is at the top, the patient's right on the left
    assert below[1:, 0].tolist() == [50] * 4
    assert front[0].tolist() == [170, 120, 120, 120, 120, 120]  # the head at the top
    assert left[:, 0].tolist() == [200, 80, 80, 80]  # the face on the left
    assert left[1:, 1:].max() == 0


def test_pictures_have_the_size_of_the_patient(marked):
    mask, volume = marked
    svg = str(volume_picture(case(mask), ["x"], volume, "k").svg)
    sizes = re.findall(r'<image width="([\d.]+)" height="([\d.]+)"', svg)
    assert [tuple(map(float, size)) for size in sizes] == [(6, 10), (6, 12), (10, 12)]


def test_outlines_go_around_the_voxels(marked):
    mask, volume = marked
    svg = str(volume_picture(case(mask), ["x"], volume, "k").svg)
    paths = re.findall(r'<path class="truth"[^>]* d="([^"]+)"', svg)
    # voxel 3, 2, 1 from below: column 6 - 1 - 3 = 2, row 5 - 1 - 2 = 2 of 2 mm
    assert sorted(re.findall(r"M[^M]+", paths[0])) == sorted(["M2 4H3", "M2 6H3", "M2 4V6", "M3 4V6"])
    assert len(paths) == 3
    assert svg.count('class="predicted"') == 3


def test_an_empty_answer_has_no_outline(marked):
    mask, volume = marked
    svg = str(volume_picture(case(mask, np.zeros(SIDES, np.uint8)), ["x"], volume, "k").svg)
    assert svg.count('class="truth"') == 3
    assert 'class="predicted"' not in svg


def test_a_single_layer_is_one_picture():
    mask = np.zeros((6, 5, 1), np.uint8)
    mask[2:4, 1:3] = 1
    picture = volume_picture(case(mask), ["x"], np.zeros((6, 5, 1), np.uint8), "k")
    assert [image.shape for image in images(picture.svg)] == [(5, 6)]


def test_without_the_image_there_is_a_caption():
    picture = volume_picture(case(np.ones(SIDES, np.uint8)), ["x"], None, "k")
    assert picture.svg is None
    assert picture.caption == "Dice: x 1.000."


def page_of(volume):
    plan = Evaluate.model_validate({"primary": "dice", "interval": {"resamples": 100}})
    evaluation = evaluate(table(), task="segmentation", classes=CLASSES, plan=plan)
    context = ReportContext(
        title="Where is it?",
        pipeline="toy",
        task="segmentation",
        target="masks",
        primary="dice",
        classes=CLASSES,
        recipe={
            "data": {"split": {"by": "patient_id", "contrast": None}},
            "train": {"parts": ["train"]},
            "evaluate": plan.model_dump(mode="json"),
        },
        dataset=DatasetFacts("toy", "Toy"),
        parts=(PartLine("test", "lab", 12, 6, (700, 800)),),
        volume=volume,
    )
    return evaluation, render(evaluation, context)


def test_the_page_shows_what_was_estimated():
    evaluation, html = page_of(lambda case_id: np.zeros(both().shape, np.uint8))
    page = Page(html)
    assert not page.problems
    assert f"{evaluation.estimates[0].value:.3f}" in html
    rows = [row for row in page.rows() if row and row[0].startswith("scan-")]
    assert len({row[0] for row in rows}) == 12
    assert "outline of the answer" in html
    assert html.count('<svg class="overlay"') == 8
    assert "called back" in html
    assert "no threshold" in html
    assert "front voxels" in html
    assert html == page_of(lambda case_id: np.zeros(both().shape, np.uint8))[1]


def test_the_page_does_without_images():
    html = page_of(None)[1]
    assert "The image is not at hand." in html
    assert not Page(html).problems
