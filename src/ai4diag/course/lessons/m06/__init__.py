"""Checks of lesson 6: image classification."""

from __future__ import annotations

from ai4diag.course.lessons.m06.maps import Occlusion, Sanity
from ai4diag.course.lessons.m06.training import Curve, FineTune, Normalise, Resume
from ai4diag.course.quiz import Question, Quiz

EXERCISES = (
    Normalise(),
    Curve(),
    FineTune(),
    Resume(),
    Occlusion(),
    Sanity(),
    Quiz(
        "m06",
        Question(
            "A training was killed in epoch 5. You run the same command again. What do you expect?",
            (
                "A new run that begins at epoch 1",
                "The same run, which goes on after its latest checkpoint",
                "The same run, which repeats epochs 1 to 5 in its curves",
                "An error, until the old output is deleted",
            ),
            "b",
            "A checkpoint of the same recipe and data is taken up, and the run in MLflow is continued.",
        ),
        Question(
            "Mean and spread with which pictures are normalised come from",
            (
                "each picture itself",
                "all pictures, so that they are most exact",
                "the test part, because that is what counts",
                "the training part only",
            ),
            "d",
            "They are learned, like weights; else test pictures speak in training, or their brightness is lost.",
        ),
        Question(
            "A map shows bright ribs and a clear heart shadow, on trained and on random weights alike. It",
            (
                "explains nothing about what the network has learned",
                "proves that the network looks at anatomy",
                "shows that random weights were trained well enough",
            ),
            "a",
            "What does not depend on the weights cannot come from training, however sensible it looks.",
        ),
        Question(
            "An occlusion map passes the test with random weights. Then it",
            (
                "is a correct explanation of this picture",
                "shows that the model is safe to use",
                "has passed one necessary test, and may still mislead",
                "needs no further look by a radiologist",
            ),
            "c",
            "The test can only refute. The patch size, the filling and other networks can still change the picture.",
        ),
        Question(
            "You fine-tune weights that another company trained on public chest X-rays. What must you ask first?",
            (
                "Whether its learning rate was higher than yours",
                "Whether our test pictures were among its training pictures, and what its licence allows",
                "Whether it has as many parameters as ours",
            ),
            "b",
            "Weights carry their training data with them: test pictures that they have seen flatter every figure.",
        ),
    ),
)
