"""The documents of an evidence pack, written from the facts of a run and from nothing else.

    documents(facts)   path in the pack -> Markdown
    missing(facts)     key -> question, for everything that only people can answer and nobody has
    questions()        key -> question, for all of them
    broken(folder, documents)   pointers that lead nowhere

Pure functions: the same facts give the same bytes. Whoever wants another guideline adds a table to `guidelines/`.
"""

from __future__ import annotations

from ai4diag.packaging.evidence.documents.cover import cover
from ai4diag.packaging.evidence.documents.guideline import checklist, open_questions, questions, tables
from ai4diag.packaging.evidence.documents.model_card import model_card
from ai4diag.packaging.evidence.documents.pointers import MODEL_CARD, broken
from ai4diag.packaging.evidence.documents.run import Run
from ai4diag.packaging.evidence.facts import PackFacts

__all__ = ["broken", "documents", "missing", "questions"]


def documents(facts: PackFacts) -> dict[str, str]:
    """Return the documents of a pack: path in the pack to Markdown.

    They point to the files of the pack that `ai4diag.packaging.evidence.contents` names, which must stand beside them;
    to pipeline.md, verification.json and supplied.yaml only where there is a page, a verdict, an answer.

    Args:
        facts: the run.
    """
    run = Run(facts)
    found = {MODEL_CARD: model_card(run)}
    found |= {table.path: checklist(table, run) for table in tables()}
    return {"README.md": cover(run, found), **found}


def missing(facts: PackFacts) -> dict[str, str]:
    """Return what only people can answer and nobody has yet: key to question, in the order of the documents."""
    return open_questions(Run(facts))
