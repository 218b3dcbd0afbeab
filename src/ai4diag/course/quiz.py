"""The five questions at the end of a lesson, one right option each, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai4diag.course.exercise import Exercise, Expectations

LETTERS = "abcdef"


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        text: the question.
        options: what can be answered.
        right: letter of the right one: `a` for the first.
        why: why it is right; said once it was found.
    """

    text: str
    options: tuple[str, ...]
    right: str
    why: str


class Quiz(Exercise):
    """The quiz of a lesson: the learner fills in `quiz = {1: "", 2: "", ...}`.

    Args:
        lesson: `m04`.
        questions: five of them.
    """

    title = "quiz"
    names = ("quiz",)
    hints = ("Each answer is one letter, such as 'b'.", "Read the key points above once more.")
    worked = "`quiz = {1: 'b', 2: 'a', ...}` answers the first question with b and the second with a."

    def __init__(self, lesson: str, *questions: Question) -> None:
        self.id = f"{lesson}.quiz"  # type: ignore[misc]
        self.questions = questions

    def answer(self, given: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """Return the letters."""
        return names["quiz"]

    def judge(self, given: dict[str, Any], answer: Any, expect: Expectations, root: Path) -> None:
        """Expect the right letter for each question; the reason follows a right answer, the letter is never told."""
        for number, question in enumerate(self.questions, 1):
            found = answer.get(str(number), "")
            letter = found.strip().lower() if isinstance(found, str) else ""
            if letter == question.right:
                expect.that(f"question {number}", True, f"{letter}; {question.why}")
            elif len(letter) == 1 and letter in LETTERS[: len(question.options)]:
                expect.that(f"question {number}", False, letter, "one of the other letters")
            else:
                expect.that(f"question {number}", False, repr(found), "a letter")

    def markdown(self) -> str:
        """Return the questions with their options."""
        blocks = []
        for number, question in enumerate(self.questions, 1):
            options = [f"   - **{letter}** {option}" for letter, option in zip(LETTERS, question.options, strict=False)]
            blocks.append("\n".join([f"{number}. {question.text}", *options]))
        return "\n\n".join(blocks)

    def blank(self) -> str:
        """Return the cell that the learner fills in."""
        return "quiz = {" + ", ".join(f'{number}: ""' for number in range(1, len(self.questions) + 1)) + "}"

    def solution(self) -> str:
        """Return the cell with the right letters."""
        pairs = (f'{number}: "{question.right}"' for number, question in enumerate(self.questions, 1))
        return "quiz = {" + ", ".join(pairs) + "}"
