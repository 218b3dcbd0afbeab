"""Checks of lesson 3: windows, spacing, orientation, identifiers in headers and in pixels."""

from __future__ import annotations

from ai4diag.course.lessons.m03.identifiers import Clean, Pixels
from ai4diag.course.lessons.m03.pictures import Overlay, Resample, Window
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    Window(),
    Resample(),
    Overlay(),
    Clean(),
    Pixels(),
    Quiz(
        "m03",
        Question(
            "A CT file stores 1,060 in a voxel; slope 1, intercept -1024. What is it, in a window 40 / 80?",
            (
                "white: 1,060 is far above 80",
                "36 HU, a little darker than middle grey",
                "black: it is below 1,024 + 40",
            ),
            "b",
            "1,060 - 1,024 = 36 HU, just below the centre, 40 HU.",
        ),
        Question(
            "Why are MR volumes not shown in one fixed window, as CT is?",
            (
                "MR has no common unit: the same tissue has other numbers in each scan",
                "MR files hold no slope and intercept because they are smaller",
                "MR has more greys than a screen can show",
            ),
            "a",
            "Hounsfield units are anchored at air and water; intensities of MR are anchored at nothing.",
        ),
        Question(
            "Image and mask both have shape 512 x 512 x 60. What says whether they lie on each other?",
            ("that the shapes are equal", "the file names", "the affines, and nothing else"),
            "c",
            "Axes can be reversed or exchanged without the shape saying so.",
        ),
        Question(
            "A partner's script empties 40 named elements of each DICOM header. What is the main weakness?",
            (
                "40 elements take too long",
                "the pixels are changed by it",
                "private elements, sequences and free text that nobody named stay",
                "DICOM does not allow empty elements",
            ),
            "c",
            "What is not on such a list stays. A list of what may stay can only lose too much.",
        ),
        Question(
            "An ultrasound file has no element BurnedInAnnotation. What do you conclude?",
            (
                "its pixels hold no text, or the machine would have said so",
                "nothing: absent is not no; it is held back until its pixels are known to be clean",
                "it is not DICOM",
            ),
            "b",
            "One of the two images of this lesson says nothing, and has a name in its pixels.",
        ),
    ),
)
