"""How good the model is, by which measures, for whom, and where it fails."""

from __future__ import annotations

import math

from ai4diag.evaluation.report import sections, words
from ai4diag.evaluation.targets import shown_as
from ai4diag.packaging.evidence.documents.figures import said
from ai4diag.packaging.evidence.documents.pointers import ESTIMATES, MODEL_CARD, Pointer
from ai4diag.packaging.evidence.documents.run import Answer, Run, Skip

RESULTS = Pointer(MODEL_CARD, ("Results",))
CALIBRATION = (
    "brier",
    "calibration_slope",
    "calibration_intercept",
    "ece",
    "brier_integrated",
    "observed_to_predicted",
)
LARGEST = ("masks", "multiclass", "ordinal")
"""Targets of which the largest of several numbers is the answer."""
ACCURACY = ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence")


def metrics(run: Run) -> Answer:
    """Which measures and plots, and how their intervals were made."""
    names = list(dict.fromkeys(item.name for _, item in run.estimates()))
    said_ = "; ".join(_meant(name) for name in names)
    text = f"Headline {words.name(run.evaluation.primary)}. Estimated: {said_}."
    text += f" Plots: {', '.join(run.plots)}." if run.plots else ""
    at = (*run.of_record("recipe", "evaluate", "primary"), *run.report("estimates"))
    return Answer(text, at + (run.report("curves") if run.plots else ()))


def intervals(run: Run) -> Answer:
    """How uncertainty was estimated."""
    notes = run.evaluation.notes
    text = notes[0] if notes else "The notes of the evaluation say nothing on intervals."
    text += " The data name no patients: every case counts as one." if run.anonymous else ""
    return Answer(text, (*run.of_record("recipe", "evaluate", "interval"), *run.report("estimates")), whole=bool(notes))


def headline(run: Run) -> Answer:
    """The headline with its interval."""
    text = f"{said(run.headline, run.level)}. {words.sentence(run.headline, run.evaluation.classes, run.level)}"
    return Answer(text, (Pointer(ESTIMATES, (0,)), RESULTS, *run.report("estimates")))


def performance(run: Run) -> Answer:
    """The headline, and where all other estimates stand."""
    count = len(run.estimates())
    text = f"{said(run.headline, run.level)}. In all {words.counted(count, 'estimate')} on the whole test part."
    text += of_folds(run)
    return Answer(text, (Pointer(ESTIMATES, (0,)), RESULTS, *run.report("estimates")))


def of_folds(run: Run) -> str:
    """Return which models the estimates are of, where that is not the kept one; else nothing."""
    if not run.context.folds:
        return ""
    return " These are estimates of the models of the folds; the kept model learned from all cases, and was not tested."


def accuracy(run: Run) -> Answer | None:
    """Sensitivity and its relatives at the operating point."""
    found = run.say(ACCURACY) or run.say((run.evaluation.primary,))
    if found is None:
        return None
    marks = " The model marks structures, and makes no diagnosis." if run.target == "masks" else ""
    return Answer(found.text + marks, (*found.at, RESULTS))


def calibration(run: Run) -> Answer | None:
    """Whether probabilities mean what they say."""
    names = [item.name for _, item in run.estimates() if words.horizon(item.name)[0] in CALIBRATION]
    return run.say(names)


def subgroups(run: Run) -> Answer | None:
    """For which groups of people estimates were made, and which were too small."""
    found = list(dict.fromkeys(item.subgroup for _, item in run.grouped()))
    if not found:
        return None
    own = list(dict.fromkeys(group.partition("=")[0] for group in found))
    text = f"{words.counted(len(found), 'group')} by {', '.join(own)}. "
    text += f"Masked, because too few patients: {', '.join(run.masked)}." if run.masked else "None is masked."
    return Answer(text, (*run.report("subgroups"), *run.of_record("recipe", "evaluate", "subgroups")))


def no_subgroups(run: Run) -> Answer | None:
    """That no groups of patients were looked at, where none was."""
    if run.recipe["evaluate"].get("subgroups"):
        return None
    why = [text for text in run.context.limits if "subgroup" in text.lower()]
    text = "The recipe names no subgroups of patients." + (f" {run.quote(' '.join(why))}" if why else "")
    return Answer(text, (*run.of_context("not_checked"), *(run.page("Limits") if why else ())), whole=False)


def groups(run: Run) -> Answer | None:
    """Groups of patients, or that there are none."""
    return no_subgroups(run) or subgroups(run)


def fairness(run: Run) -> Answer | None:
    """What was done about fairness: looking at groups, nothing else."""
    found = groups(run)
    return found and Answer(f"{found.text} Nothing else was done about fairness.", found.at, whole=False)


def threshold(run: Run) -> Answer | Skip | None:
    """How the decision threshold was fixed."""
    point = run.evaluation.operating_point
    if not point.rule:
        return Skip("The model gives no yes or no, and has no threshold.")
    if run.target in LARGEST:
        return Skip("The class with the largest share or score is the answer; there is no threshold.")
    text = sections.operating(run.evaluation).sentences[0]
    at = (*run.of_record("recipe", "evaluate", "operating_point"), *run.report("operating"))
    if math.isnan(point.value):
        return Answer(text, at, whole=False, ask=("threshold_rationale",))
    beforehand = run.recipe["evaluate"]["operating_point"].get("threshold") is not None
    text += " It is prespecified in the recipe." if beforehand else " The recipe has the rule, and validation fixed it."
    return Answer(text, at, ask=("threshold_rationale",))


def cross_table(run: Run) -> Answer | None:
    """Who was called what."""
    counts = run.evaluation.curves.get("confusion")
    if isinstance(counts, dict) and {"tp", "fp", "fn", "tn"} <= counts.keys():
        text = "At the operating point {tp:,} true and {fp:,} false positives, {tn:,} true and {fn:,} false negatives."
        return Answer(text.format(**counts), run.report("operating"))
    if shown_as(run.target).confusion(run.evaluation) is not None:
        return Answer("The report has the table of answers by truth.", run.report("operating"))
    return None


def failures(run: Run) -> Answer | None:
    """Where the errors are."""
    shown = sections.cases(run.evaluation, run.context)
    if shown is None:
        return None
    text = "The report lists the worst cases. Why the model was wrong there, the run does not know."
    confused = shown_as(run.target).confusion(run.evaluation) is not None
    return Answer(text, (*run.report("cases"), *(run.report("operating") if confused else ())), whole=False)


def every_case_answered(run: Run) -> Answer:
    """That no case was set aside."""
    text = f"The estimates rest on {words.counted(run.headline.n, 'case')}; no answer was set aside as unclear."
    return Answer(text, (Pointer(ESTIMATES, (0, "n")), *run.report("estimates")))


def robustness(run: Run) -> Answer | None:
    """Other seeds, folds, groups, splits that were tried."""
    found: list[str] = []
    at: tuple[Pointer, ...] = ()
    if run.context.folds:
        found.append(f"{run.context.folds} folds")
    notes = [note for note in run.evaluation.notes if "fold" in note.lower() or "seed" in note.lower()]
    notes = [note for note in notes if not note.startswith("Intervals:")]
    if run.estimates("contrast"):
        found.append("a split that is wrong on purpose, for contrast")
        at += run.report("contrast")
    if subgroups(run):
        found.append("subgroups")
        at += run.report("subgroups")
    if not found and not notes:
        return None
    text = f"Looked at: {', '.join(found)}." if found else ""
    return Answer(" ".join([text, *notes]).strip(), (*run.report("estimates"), *at), whole=False)


def explained(run: Run) -> Skip:
    """Whether single answers were explained."""
    return Skip("No method that explains single answers was applied.")


def external(run: Run) -> Answer | None:
    """Whether the model was tested elsewhere."""
    told = [text for text in run.context.not_checked if "external" in text]
    return Answer(f"Not checked: {' '.join(told)}", run.of_context("not_checked"), whole=False) if told else None


def prevalence(run: Run) -> Answer | None:
    """How common the outcome is in the test part."""
    tested = run.parts.get("test") or run.parts.get("every fold")
    if tested is None or run.target not in ("binary", "multiclass", "ordinal", "multilabel"):
        return None
    cases, _, counts = tested
    named = ", ".join(f"{n:,} of {cases:,} {name}" for name, n in zip(run.context.classes, counts, strict=True))
    return Answer(f"Tested: {named}.", (*run.of_context("parts"), *run.report("data")), whole=False)


def metric_notes(run: Run) -> Answer:
    """What to mind when reading the estimates."""
    notes = [*run.evaluation.notes, *(f"{item.name}: {item.note}." for _, item in run.estimates() if item.note)]
    return Answer(" ".join(dict.fromkeys(notes)), run.report("estimates"), whole=False)


def _meant(name: str) -> str:
    meaning = words.meaning(name)
    return f"{words.name(name)} ({meaning})" if meaning else words.name(name)
