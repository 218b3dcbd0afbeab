"""Checks of lesson 12: evidence for the regulator."""

from __future__ import annotations

from ai4diag.course.lessons.m12.evidence import Answers, Claims, Subgroups, Trace
from ai4diag.course.lessons.m12.in_use import Change, Incident
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    Answers(),
    Trace(),
    Subgroups(),
    Claims(),
    Change(),
    Incident(),
    Quiz(
        "m12",
        Question(
            "An evidence pack holds, is signed, and every number regenerates. What may you say of the product?",
            ("it meets the AI Act", "these numbers follow from these predictions", "it may be used on patients"),
            "b",
            "A pack is evidence. It is no approval, and no proof that a law or a guideline is met.",
        ),
        Question(
            "The brochure says 'sensitivity 0.81'. The run has 0.81 [0.74, 0.87]. What does the run support?",
            ("at least 0.81", "at least 0.87", "at least 0.74, in patients like these", "exactly 0.81"),
            "c",
            "The lower limit is what the data support; and only for patients like those of the test part.",
        ),
        Question(
            "Nobody knows yet who will use the product. What do you write under intended_users?",
            ("nothing: the question stays open", "'health professionals'", "what a competitor wrote"),
            "a",
            "An open question is marked as open. An invented answer is signed by whoever signs the pack.",
        ),
        Question(
            "A model with another threshold has a better AUROC and the plan does not foresee other thresholds.",
            (
                "release it, it is better",
                "release it and tell later",
                "refuse it for ever",
                "it needs a new assessment",
            ),
            "d",
            "What was not foreseen is not covered by the plan, however good the result.",
        ),
        Question(
            "Monitoring raises the alarm on a Friday at five. What comes first?",
            ("retrain on the new cases", "take it out of use, and write down why", "wait for more data"),
            "b",
            "First patients, then causes: `ai4diag demote` takes the alias away and keeps the reason.",
        ),
    ),
)
