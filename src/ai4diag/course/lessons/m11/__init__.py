"""Checks of lesson 11: evaluate without moving data."""

from __future__ import annotations

from ai4diag.course.lessons.m11.aggregates import Leave, PerSite, Pool
from ai4diag.course.lessons.m11.comparing import Federated, Interval, Prevalence
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    PerSite(),
    Leave(),
    Pool(),
    Interval(),
    Prevalence(),
    Federated(),
    Quiz(
        "m11",
        Question(
            "Hospital A: accuracy 0.94 of 16 patients, 15 of them ill. Hospital B: 0.80 of 104, half of them ill.",
            (
                "A's patients are served better",
                "always saying 'ill' has 0.94 at A; nothing follows",
                "B has worse doctors",
            ),
            "b",
            "At A the commonest answer alone scores 15 of 16. Look at prevalence and interval before you compare.",
        ),
        Question(
            "Which of these can be computed exactly from one number and n per hospital?",
            ("the pooled AUROC from AUROCs", "the pooled median from medians", "the pooled accuracy from accuracies"),
            "c",
            "Accuracy is a mean over patients. An AUROC also compares patients of different hospitals.",
        ),
        Question(
            "A hospital may not send counts below 5. It has 45 patients, 43 of them right. May it send n_correct?",
            (
                "yes, 43 is not below 5",
                "yes, without the hospital's name",
                "no, anybody can subtract",
                "no, 45 is small",
            ),
            "c",
            "45 minus 43 is 2: two patients who were judged wrongly would stand there.",
        ),
        Question(
            "The intervals of two hospitals overlap widely. What do you report?",
            (
                "both values with intervals and n; these data show no difference",
                "the hospitals are equal",
                "only the pooled value",
            ),
            "a",
            "That no difference was shown does not show that there is none; few patients show little.",
        ),
        Question(
            "What does ai4diag offer today for learning across hospitals?",
            (
                "a server that hospitals connect to",
                "evaluation per site; learning across sites only as you did by hand",
                "encrypted sums",
            ),
            "b",
            "Live federation does not exist in ai4diag yet. A bundle can travel and be scored where the data are.",
        ),
    ),
)
