"""Checks of lesson 8: detection."""

from __future__ import annotations

from ai4diag.course.lessons.m08.boxes import Convert, Iou, Nms, Pixels
from ai4diag.course.lessons.m08.counts import Froc, Missing
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    Convert(),
    Pixels(),
    Iou(),
    Nms(),
    Froc(),
    Missing(),
    Quiz(
        "m08",
        Question(
            "In this library, what is the box [3, 5, 4, 6]?",
            (
                "x from 3 to 4, y from 5 to 6",
                "four pixels: the last row and column belong to it",
                "exactly one pixel: row 3, column 5",
            ),
            "c",
            "Rows come first, and edges are continuous: pixel i covers i to i + 1, so the size is max - min.",
        ),
        Question(
            "The mAP of a detector is 0.42. One class of three is never found. What do you do first?",
            (
                "Look at each class by itself, with its count of boxes",
                "Raise the threshold until the mean rises",
                "Leave the class out of the mean",
                "Report the mean; that is what it is for",
            ),
            "a",
            "A mean over classes hides a class at 0; who needs that class is served by nothing.",
        ),
        Question(
            "Sensitivity at 1 false positive per image is 0.9. On 20 images this means",
            (
                "each image has exactly one false box",
                "at most 20 false boxes in all, and 90 % of the cells found",
                "90 % of the images have a false box",
                "90 % of the boxes shown are right",
            ),
            "b",
            "One threshold is lowered over all images together until 1 x 20 boxes are false; they may lie anywhere.",
        ),
        Question(
            "Labels of real cells are missing, at random, in the test part only. A good detector then seems to have",
            (
                "a lower sensitivity and the same PPV",
                "higher values of both",
                "the same values: missing labels cancel out",
                "a lower PPV, and about the same sensitivity",
            ),
            "d",
            "Correct boxes on unlabelled cells count as false alarms; cells without labels cannot be missed.",
        ),
        Question(
            "Two cells lie on each other and overlap by IoU 0.6. Suppression with a limit of 0.5",
            (
                "keeps both, because they are two cells",
                "keeps one: the method cannot tell doubles from neighbours",
                "draws one box around both",
            ),
            "b",
            "It knows overlap and score only. Its limit is a choice between doubles and lost cells.",
        ),
    ),
)
