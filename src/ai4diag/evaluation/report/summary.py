"""The plain-language summary: what was asked, on whom, how well, how sure, and what must not be concluded.

Every sentence follows from the estimates and the context; where they do not say, neither does it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ai4diag.evaluation.bootstrap import FEW_UNITS
from ai4diag.evaluation.paired_words import HARDLY_ANY, direction
from ai4diag.evaluation.report import words
from ai4diag.evaluation.report.context import ReportContext
from ai4diag.evaluation.report.frequencies import Dots, known
from ai4diag.evaluation.targets import shown_as
from ai4diag.types import Estimate

if TYPE_CHECKING:
    from ai4diag.evaluation.evaluate import Evaluation

CHANCE = {"auroc": 0.5, "auroc_macro": 0.5, "c_index": 0.5, "c_index_uno": 0.5, "kappa_quadratic": 0.0}
"""What an answer that knows nothing scores."""
NAMED = 5
"""Sites or classes that are named one by one; of more there is their number."""


@dataclass(frozen=True)
class Summary:
    """What the top of the report says.

    Attributes:
        asked: the question, one paragraph; empty when the pipeline's page has none.
        name, value, interval: the headline estimate.
        sentence: the headline in words.
        dots: shares as pictures, for the eye; the answers say them with their intervals.
        when: the operating point, at which the answers hold; empty where there is none.
        answers: what a user of the model meets, in natural frequencies.
        facts: on whom it was tested, as terms and facts.
        sure: how sure this is, and what would change it.
        never: what must not be concluded.
        waived: findings that would have stopped the pipeline, with the reason for which they do not.
    """

    asked: str
    name: str
    value: str
    interval: str
    sentence: str
    dots: tuple[Dots, ...]
    when: str
    answers: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    sure: tuple[str, ...]
    never: tuple[str, ...]
    waived: tuple[tuple[str, str], ...]


def summary(evaluation: Evaluation, context: ReportContext, confidence: float) -> Summary:
    """Return the plain-language summary.

    Args:
        evaluation: the estimates.
        context: what the report says beside them.
        confidence: level of the intervals, 0.95 for 95 %.
    """
    headline, at = evaluation.estimates[0], evaluation.operating_point.value
    return Summary(
        asked=context.purpose[0].removeprefix("Question. ") if context.purpose else "",
        name=words.name(headline.name),
        value=words.number(headline.value),
        interval=_interval(headline, confidence),
        sentence=words.sentence(headline, evaluation.classes, confidence),
        dots=shown_as(evaluation.target).pictured(evaluation),
        when="" if math.isnan(at) else f"{shown_as(evaluation.target).YES.format(at=at)} Then:",
        answers=shown_as(evaluation.target).answers(evaluation),
        facts=tuple(_facts(headline, context)),
        sure=tuple(_sure(evaluation, context, confidence)),
        never=tuple(_never(evaluation, context)),
        waived=tuple((item.code, item.waived) for item in context.findings if item.waived),
    )


def _interval(estimate: Estimate, confidence: float) -> str:
    """Return the interval of the headline, or why there is none."""
    if math.isnan(estimate.value):
        return estimate.note or "too little data"
    if math.isnan(estimate.low):
        return "no interval"
    return f"{confidence:.0%} interval {words.limits(estimate)}"


def _facts(headline: Estimate, context: ReportContext) -> list[tuple[str, str]]:
    """Return on whom the model was tested, as terms and facts."""
    lines = [line for line in context.parts if line.part in ("test", "every fold")]
    whose = "of unknown patients" if _unknown(context) else f"of {words.counted(headline.n_patients, 'patient')}"
    part = f"each once, in {context.folds} folds" if context.folds else "the test part"
    found = [("Tested on", f"{words.counted(headline.n, 'case')} {whose} ({part})")]
    if lines:
        sites = _sites(context)
        named = f": {', '.join(sites)}" if len(sites) <= NAMED else ""
        found.append(("From", words.counted(len(sites), "site") + named if sites else "not known"))
        found.append((shown_as(context.target).TRUTH, _counted(context.classes, np.sum([c.counts for c in lines], 0))))
    train = sum(line.cases for line in context.parts if line.part in _learned_parts(context))
    if context.outside:
        found.append(("Trained on", "not known"))
    if train:
        found.append(("Trained on", words.counted(train, "other case")))
    looks = {0: "not counted", 1: "by the ledger, this one alone"}.get(
        context.look, f"{context.look} by the ledger, this one included"
    )
    return [*found, ("Models tested on these cases", looks)]


def _counted(classes: tuple[str, ...], counts: np.ndarray) -> str:
    """Return how often each class is there; of many classes the rarest and the commonest."""
    each = [
        f"{name}: {int(n):,}" if name[:1].isdigit() else f"{int(n):,} {name}"
        for name, n in zip(classes, counts, strict=True)
    ]
    if len(classes) <= NAMED + 1:
        return ", ".join(each)
    return f"{len(classes)} classes, from {each[int(np.argmin(counts))]} to {each[int(np.argmax(counts))]}"


def _unknown(context: ReportContext) -> bool:
    """Whether nobody knows which cases are of one patient."""
    return any(finding.code == "no-patient-ids" for finding in context.findings)


def _sites(context: ReportContext, parts: tuple[str, ...] = ("test", "every fold")) -> list[str]:
    """Return the sites that are known by name."""
    return sorted({line.site for line in context.parts if line.part in parts and line.site})


def _sure(evaluation: Evaluation, context: ReportContext, confidence: float) -> list[str]:
    """Return how sure the headline is, and what would change it."""
    headline, found = evaluation.estimates[0], []
    if headline.n_patients < FEW_UNITS:
        patients = words.counted(headline.n_patients, "case of unknown patients", "cases of unknown patients")
        patients = patients if _unknown(context) else words.counted(headline.n_patients, "patient")
        weak = "is a hint at most" if headline.n_patients < HARDLY_ANY else "tends to be too narrow"
        found.append(f"Only {patients}: an interval from so few {weak}, and more patients may move the figure.")
    if math.isnan(headline.low) or math.isnan(headline.high):
        found.append(f"{words.name(headline.name)} has no interval: how far chance could have moved it is not known.")
    else:
        found.append(
            f"An interval says how far chance alone could have moved a figure: of 100 such studies, "
            f"{100 * confidence:g} intervals would hold the true value."
        )
        found += _against_chance(headline)
    if _unknown(context):
        found.append("Nobody knows which cases are of one patient. If some are, the interval is too narrow.")
    found += _gate_margin(headline, evaluation, context)
    found += _poorest(evaluation)
    if context.look > 1:
        found.append(f"{context.look} models were tested on these cases; to choose the best flatters it a little.")
    return found


def _against_chance(headline: Estimate) -> list[str]:
    chance = CHANCE.get(words.horizon(headline.name)[0])
    if chance is None:
        return []
    if headline.low <= chance <= headline.high:
        return [f"The interval holds {chance:g}, which is chance: the model may know nothing."]
    if headline.high < chance:
        return [f"The whole interval lies below chance ({chance:g}): the model ranks cases the wrong way round."]
    return [f"The whole interval lies above chance ({chance:g})."]


def _gate_margin(headline: Estimate, evaluation: Evaluation, context: ReportContext) -> list[str]:
    """Return how far the lower limit that is nearest to failing lies above what the release gate asks."""
    margins = []
    for key, least in context.gate.items():
        item = known(evaluation, key.removesuffix("_low"))
        if item is not None and not math.isnan(item.low) and item.low >= least:
            margins.append((item.low - least, words.name(item.name), least))
    if context.unmet or not margins:
        return []
    margin, name, least = min(margins)
    return [f"The release gate would not be met if the lower limit of {name} were {margin:.3f} lower than it is."]


def _poorest(evaluation: Evaluation) -> list[str]:
    """Return the subgroup with the poorest headline, and those that differ from the rest beyond chance.

    Nothing where neither more nor less of the headline is better.
    """
    own = [i for i in evaluation.estimates if i.part == "test" and not i.subgroup.startswith(("all", "class="))]
    shown = [i for i in own if i.name == evaluation.primary and not math.isnan(i.value)]
    sign = direction(evaluation.primary)
    if len(shown) < 2 or not sign:
        return []
    worst = min(shown, key=lambda item: sign * item.value)
    limits = "no interval" if math.isnan(worst.low) else words.limits(worst)
    found = [
        f"Poorest of {words.counted(len(shown), 'subgroup')}: {words.group(worst.subgroup)}, "
        f"{words.number(worst.value)} ({limits}; {words.counted(worst.n_patients, 'patient')})."
    ]
    apart = [words.group(i.subgroup) for i in own if i.name == f"{evaluation.primary}_difference" and _apart(i, sign)]
    if apart:
        found.append(
            f"Poorer than all other cases, and the interval of the difference excludes 0: {'; '.join(apart)}. Of many "
            "subgroups some do so by chance."
        )
    return found


def _apart(difference: Estimate, sign: int) -> bool:
    """Whether the interval of a difference lies wholly on the poor side of 0."""
    return difference.high < 0 if sign > 0 else difference.low > 0


def _never(evaluation: Evaluation, context: ReportContext) -> list[str]:
    """Return what must not be concluded."""
    headline = evaluation.estimates[0]
    found = []
    if math.isnan(headline.value):
        found.append("Anything about how good the model is: the headline estimate is undefined.")
    found += _elsewhere(context)
    if context.outside:
        found.append("That it is as good on patients it has never seen: whether it learned from these is not known.")
    if context.unmet:
        found.append("That the model is fit to leave: its own release gate is not met.")
    found += [
        f"That an accuracy of {words.number(item.value)} is an achievement: it is {item.note}."
        for item in [known(evaluation, "accuracy")]
        if item is not None and item.note.startswith("not above")
    ]
    found += shown_as(evaluation.target).never(evaluation)
    masked = sorted({words.group(i.subgroup) for i in evaluation.estimates if i.note.startswith("masked")})
    if masked:
        named = ", ".join(masked) if len(masked) <= NAMED else f"{len(masked)} subgroups, named below"
        found.append(f"Anything about {named}: too few patients.")
    if not any(i.part == "test" and not i.subgroup.startswith(("all", "class=")) for i in evaluation.estimates):
        found.append("That it is equally good for everybody: no subgroup was looked at.")
    return [*found, "That anybody decides better with it: that needs a study with its users."]


def _learned_parts(context: ReportContext) -> tuple[str, ...]:
    """Return the parts that the model learned from; none of predictions that were made elsewhere."""
    return tuple(context.recipe.get("train", {}).get("parts", ()))


def _elsewhere(context: ReportContext) -> list[str]:
    """Return that other sites are other sites."""
    sites = _sites(context)
    if not sites:
        return ["That it is as good anywhere else: the report does not know where these cases come from."]
    where = ", ".join(sites) if len(sites) <= NAMED else f"the {len(sites)} sites named below"
    learned = set(_sites(context, tuple(_learned_parts(context))))
    same = " from which it also learned" if context.folds or set(sites) <= learned else ""
    return [f"That it is as good elsewhere: all test cases are from {where},{same}.".replace(",.", ".")]
