"""Checks of lesson 10: share and reproduce."""

from __future__ import annotations

from ai4diag.course.lessons.m10.publishing import Card, Publish, Reproduce
from ai4diag.course.lessons.m10.reading import Lock, Verdicts
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    Publish(),
    Card(),
    Reproduce(),
    Verdicts(),
    Lock(),
    Quiz(
        "m10",
        Question(
            "Your partner clones your repository. What is not in it?",
            ("the recipe", "the estimates that you state", "the predictions of your patients", "the dataset card"),
            "c",
            "Predictions name cases; they stay with the run's record on your machine.",
        ),
        Question(
            "`ai4diag verify` ends with 9. What do you tell your partner?",
            ("I cannot say whether they hold; I lack this", "your numbers are wrong", "they hold, with a warning"),
            "a",
            "9 is no verdict on the numbers: code or data are not there, so nothing was compared.",
        ),
        Question(
            "A colleague writes a better AUROC into estimates.json and commits it. What finds that?",
            (
                "reading the report",
                "`ai4diag verify NAME --here`",
                "the checksum of the file",
                "a re-run of the commit",
            ),
            "d",
            "What is stated is then consistent with itself; only making the number again contradicts it.",
        ),
        Question(
            "On your partner's other processor the last bits of two predictions differ. The estimates are within 0.01.",
            ("exit code 6: the bits must be equal", "exit code 9: other hardware", "exit code 0: the numbers hold"),
            "c",
            "The tolerance of the recipe decides about estimates; bits are told and decide nothing.",
        ),
        Question(
            "Why read a partner's pipeline.py before you verify their run?",
            ("it may be slow", "verify runs it, with your rights, on your machine", "it must have a docstring"),
            "b",
            "A re-run executes the partner's code. An evidence pack is checked without running any of it.",
        ),
    ),
)
