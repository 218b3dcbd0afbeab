"""The first page of a pack: what is here, and how to check it."""

from __future__ import annotations

from collections.abc import Mapping

from ai4diag.packaging.evidence.documents.figures import said
from ai4diag.packaging.evidence.documents.markdown import plain
from ai4diag.packaging.evidence.documents.model_card import WARNING
from ai4diag.packaging.evidence.documents.pointers import ESTIMATES, MODEL_CARD, RECORD, REPORT, TO_SUPPLY, Pointer
from ai4diag.packaging.evidence.documents.run import Run


def cover(run: Run, others: Mapping[str, str]) -> str:
    """Return the README of the pack.

    Args:
        run: the run that the pack is about.
        others: the other documents, by path.
    """
    forms = ", ".join(f"[{path}]({path})" for path in others if path != MODEL_CARD)
    return "\n".join(
        [
            f"# Evidence pack of {run.name}",
            "",
            f"{plain(run.title)} {run.named} {plain(said(run.headline, run.level))}.",
            "",
            f"- Start with [{MODEL_CARD}]({MODEL_CARD}) and [{REPORT}]({REPORT}), which opens offline.",
            f"- Filled in as far as the run knows: {forms}.",
            f"- The run itself: {Pointer(RECORD).link('')}, its estimates: {Pointer(ESTIMATES).link('')}.",
            "- Check it with the manufacturer's public key; neither data nor model are needed:",
            "  `ai4diag evidence verify FOLDER --public-key FILE` checks signature and hashes, and the numbers.",
            f"- Questions that are still open, as a file to fill in: {Pointer(TO_SUPPLY).link('')}.",
            "",
            WARNING,
            "",
        ]
    )
