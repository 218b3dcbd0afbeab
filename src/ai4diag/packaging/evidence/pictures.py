"""The pictures that a report shows, kept beside it, so that the report can be made again without the data.

They hold what was in the image, burnt-in text included: they are in a pack only when somebody asked for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.errors import VerifyError
from ai4diag.evaluation.report import ReportContext

KINDS = ("picture", "volume", "scan")
"""What a context can give of a case."""
KEY = "pictures"


@dataclass
class Pictures:
    """Pictures by kind and by the case's pseudonym.

    Attributes:
        kinds: what the report could ask for; without one of these it says that there are none.
        arrays: `<kind>/<case>` to the array, uint8.
        facts: `<kind>/<case>` to scale and spacing, as the kind has them.
    """

    kinds: tuple[str, ...]
    arrays: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    facts: dict[str, list[list[float]]] = field(default_factory=dict)

    def shown(self, context: ReportContext) -> ReportContext:
        """Return the context with these pictures."""
        givers: dict[str, Any] = {kind: self._giver(kind) for kind in self.kinds}
        return replace(context, **givers)

    def _giver(self, kind: str) -> Callable[[str], Any]:
        def give(case: str) -> Any:
            key = f"{kind}/{case}"
            if key not in self.arrays:
                return None
            array, facts = self.arrays[key], tuple(tuple(line) for line in self.facts[key])
            return array if kind == "volume" else (array, *facts)

        return give

    def taken(self, context: ReportContext, source: ReportContext, cases: Mapping[str, str]) -> ReportContext:
        """Return the context with the pictures of another, each kept here when it is asked for.

        Args:
            context: what the report says.
            source: gives pictures by case_id.
            cases: case_id to pseudonym.
        """
        names = {pseudonym: case for case, pseudonym in cases.items()}

        def taker(kind: str) -> Callable[[str], Any]:
            def take(pseudonym: str) -> Any:
                found = getattr(source, kind)(names[pseudonym])
                if found is not None:
                    array, facts = (found, ()) if kind == "volume" else (found[0], found[1:])
                    self.arrays[f"{kind}/{pseudonym}"] = np.ascontiguousarray(array)
                    self.facts[f"{kind}/{pseudonym}"] = [[float(value) for value in line] for line in facts]
                return found

            return take

        takers: dict[str, Any] = {kind: taker(kind) for kind in self.kinds}
        return replace(context, **takers)

    def to_bytes(self) -> bytes:
        """Return them as safetensors."""
        from safetensors.numpy import save

        known = json.dumps({"kinds": list(self.kinds), "facts": self.facts}, sort_keys=True)
        arrays = dict(sorted(self.arrays.items())) or {"none": np.zeros(1, np.uint8)}
        content: bytes = save(arrays, {KEY: known})
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> Pictures:
        """Read what `to_bytes` wrote.

        Raises:
            VerifyError: it is something else.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(content)
            size = int.from_bytes(content[:8], "little")
            known = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][KEY])
            kinds, facts = tuple(known["kinds"]), dict(known["facts"])
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise VerifyError(f"pictures.safetensors cannot be read: {error}.", "Get the pack again.") from None
        arrays.pop("none", None)
        if not set(kinds) <= set(KINDS) or set(facts) != set(arrays):
            raise VerifyError("pictures.safetensors does not hold pictures of cases.", "Get the pack again.")
        return cls(kinds, arrays, facts)


def kinds_of(context: ReportContext) -> tuple[str, ...]:
    """Return what a context can give of a case."""
    return tuple(kind for kind in KINDS if getattr(context, kind) is not None)
