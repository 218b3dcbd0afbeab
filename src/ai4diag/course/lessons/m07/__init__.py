"""Checks of lesson 7: sizes, patches, windows, grids, Dice and HD95."""

from __future__ import annotations

from ai4diag.course.lessons.m07.patches import Padded, Patch, Windows
from ai4diag.course.lessons.m07.scores import Dice, Grid, Hd95
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    Padded(),
    Patch(),
    Windows(),
    Grid(),
    Dice(),
    Hd95(),
    Quiz(
        "m07",
        Question(
            "From which cases does `ai4diag plan` take spacing, patch and stages?",
            (
                "from all cases, so that they fit all",
                "from the training cases",
                "from the test cases, which matter most",
            ),
            "b",
            "The plan is part of the model; what is tested on must not have decided it.",
        ),
        Question(
            "Every training patch is cut around the structure (`foreground: 1`). What do you expect in a whole volume?",
            (
                "nothing changes, windows are patches too",
                "the structure is missed at the edges of windows",
                "structures are found where there are none",
            ),
            "c",
            "The network never saw a place without the structure.",
        ),
        Question(
            "Windows begin at range(0, 105 - 40 + 1, 20). What is wrong?",
            (
                "voxels 100 to 104 get no answer",
                "windows overlap too much",
                "the first window reaches beyond the volume",
                "nothing",
            ),
            "a",
            "The starts are 0, 20, 40, 60; the last window ends at voxel 99.",
        ),
        Question(
            "A model learned from patches of 32 x 48 x 32. A customer with a large GPU wants to predict whole volumes.",
            (
                "good: more context can only help",
                "it makes no difference, convolutions are the same everywhere",
                "measure first: normalisation sees another amount of margin, and this model became worse by it",
            ),
            "c",
            "Instance normalisation takes mean and spread over what is seen; prediction must look like training.",
        ),
        Question(
            "HD95 of a service is 3.0 'with spacing (1, 1, 1)'; the voxels are 0.5 x 0.5 x 3 mm. What do you know?",
            (
                "the error is 3 mm",
                "the error is 1.5 mm",
                "the error is 9 mm",
                "between 1.5 and 9 mm, depending on where the faults lie: it must be computed again",
            ),
            "d",
            "Three voxels are 1.5 mm in the plane and 9 mm across slices; no factor mends it afterwards.",
        ),
    ),
)
