"""What the model is for, what goes in, what comes out, and who may not use it: from the pipeline's page."""

from __future__ import annotations

from ai4diag.packaging.evidence.documents.pointers import MODEL_CARD, Pointer
from ai4diag.packaging.evidence.documents.run import Answer, Run


def title(run: Run) -> Answer:
    """What was predicted, and that a model was developed and evaluated."""
    classes = ", ".join(run.context.classes)
    tested = f"in {run.context.folds} folds" if run.context.folds else "on a test part"
    text = (
        f"{run.title} A model was trained ({run.task}, {run.recipe['model']['network']}) and evaluated "
        f"{tested} (target {run.target}; classes: {classes})."
    )
    return Answer(text, (Pointer(MODEL_CARD), *run.of_record("task"), *run.of_record("classes")), whole=False)


def summary(run: Run) -> Answer:
    """A structured summary of the run."""
    text = "The model card is a structured summary: use, data, evaluation, results with intervals, limits."
    return Answer(text, (Pointer(MODEL_CARD),), whole=False)


def question(run: Run) -> Answer | None:
    """The question that the model answers, for whom and beside whom."""
    text = run.purpose("Question") or (run.context.purpose[0] if run.context.purpose else "")
    return Answer(run.quote(text), run.page("Intended use")) if text else None


def objectives(run: Run) -> Answer:
    """What the run set out to estimate, and what it would take to be good enough."""
    primary = run.evaluation.primary
    text = f"Both development and evaluation. Headline named in the recipe: {primary}."
    at = run.of_record("recipe", "evaluate", "primary")
    if run.context.gate:
        asked = ", ".join(f"{name} at least {value:g}" for name, value in run.context.gate.items())
        met = f"not met: {'; '.join(run.context.unmet)}" if run.context.unmet else "met"
        text += f" Release gate, on the lower limit of the interval: {asked}; {met}."
        at += run.of_context("gate")
    return Answer(text, at, whole=False)


def inputs(run: Run) -> Answer | None:
    """What goes in, as the page says it."""
    text = run.purpose("Input")
    return Answer(run.quote(text), run.page("Intended use")) if text else None


def outputs(run: Run) -> Answer | None:
    """What comes out, as the page says it."""
    text = run.purpose("Output")
    return Answer(run.quote(text), run.page("Intended use")) if text else None


def not_for(run: Run) -> Answer | None:
    """What the model is not for."""
    found = [text for text in run.context.limits if text.startswith("Not for")]
    return Answer(run.quote(" ".join(found)), run.page("Limits")) if found else None


def limits(run: Run) -> Answer | None:
    """Known limits, and what nobody checked."""
    known, open_ = len(run.context.limits), len(run.context.not_checked)
    if not known:
        return None
    first = run.quote(run.context.limits[0])
    text = f"{known} limits are named on the pipeline's page, and {open_} things that were not checked. {first}"
    return Answer(text, (*run.page("Limits"), Pointer(MODEL_CARD, ("Limits",)), *run.report("checked")))


def unknown(run: Run) -> Answer | None:
    """What the run did not look at."""
    if not run.context.not_checked:
        return None
    at = (*run.of_context("not_checked"), *run.report("checked"))
    return Answer(f"Not checked: {' '.join(run.context.not_checked)}", at, whole=False)
