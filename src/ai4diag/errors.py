"""The one family of errors.

Every error a user can cause says what was found, what was expected and what to do next, and carries the exit code
with which the command ends. The codes are documented in docs/reference/exit-codes.md, which a test compares with
this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Ai4diagError(Exception):
    """Anything that ai4diag can explain.

    Args:
        message: what was found and what was expected, in one or two sentences.
        cure: what to do next, as an imperative sentence; empty when there is nothing to do.
    """

    exit_code = 1

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


class UsageError(Ai4diagError):
    """The command was called with words that do not fit."""

    exit_code = 2


class ConfigError(Ai4diagError):
    """A pipeline.yaml, a dataset card or params.yaml says something that cannot be."""

    exit_code = 3


class DataError(Ai4diagError):
    """Data is missing, damaged, leaking, or not what its card says."""

    exit_code = 4


class GateError(Ai4diagError):
    """The release gate `accept` is not met; nothing was packaged."""

    exit_code = 5


class VerifyError(Ai4diagError):
    """A reproduced number, a checksum of a run's product or a bundle differs from what was stated."""

    exit_code = 6


class MachineError(Ai4diagError):
    """This machine lacks something: a package, a tool, disk space, a permission."""

    exit_code = 7


class TrainingError(Ai4diagError):
    """Training cannot go on: the loss is not finite, or a checkpoint cannot be used."""

    exit_code = 8


class CannotVerifyError(Ai4diagError):
    """Whether a number holds cannot be found out: its commit, its data or its record is gone, or was never fixed."""

    exit_code = 9


class NotSolvedError(Ai4diagError):
    """A learner's notebook does not meet every expectation, or could not be judged."""

    exit_code = 10


def kind_of_exit_code(code: int) -> type[Ai4diagError]:
    """Return the kind of error with which a command ends in this exit code; `Ai4diagError` for any other.

    >>> kind_of_exit_code(5).__name__, kind_of_exit_code(99).__name__
    ('GateError', 'Ai4diagError')
    """
    return next((kind for kind in Ai4diagError.__subclasses__() if kind.exit_code == code), Ai4diagError)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` for the nearest known word, else the list of known words.

    >>> did_you_mean("epoch", ["epochs", "seed"])
    "Did you mean 'epochs'?"
    >>> did_you_mean("zzz", ["b", "a"])
    'Known: a, b.'
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if nearest:
        return f"Did you mean '{nearest[0]}'?"
    return f"Known: {', '.join(known)}." if known else ""
