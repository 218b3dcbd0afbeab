"""What a run knows about an item of a guideline: functions that tables name.

A function returns an `Answer` with its place in the pack, a `Skip` that says why the item does not apply, or None when
the run does not know. It states what is recorded, and never what is usually so.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from ai4diag.packaging.evidence.documents.answers import data, model, results, use
from ai4diag.packaging.evidence.documents.run import Answer, Run, Skip

Function = Callable[[Run], Answer | Skip | None]


def _of(module: ModuleType) -> dict[str, Function]:
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
    return {name: getattr(module, name) for name in own if not name.startswith("_") and callable(vars(module)[name])}


ANSWERS: dict[str, Function] = _of(use) | _of(data) | _of(model) | _of(results)
"""Every function by its name."""
