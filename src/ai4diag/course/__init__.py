"""The skills curriculum: what a lesson's notebook calls.

from ai4diag.course import check, start

here = start("m04")        # is everything in place that the lesson needs?
check("m04.dice")          # tick or cross for each thing that is expected, and a hint
check("m04.dice", hint=2)  # a second hint; hint=3 shows a smaller case, worked out
"""

from __future__ import annotations

from ai4diag.course.checking import check
from ai4diag.course.place import start

__all__ = ["check", "start"]
