"""Where the data come from, how they were divided, checked and prepared."""

from __future__ import annotations

import re

from ai4diag.evaluation.report import words
from ai4diag.packaging.evidence.documents.pointers import Pointer
from ai4diag.packaging.evidence.documents.run import Answer, Run, Skip, settings

MOST_NAMED = 40
MISSING = (
    "missing (value|measurement|label|data)",
    "is missing in",
    "mean missing",
    "not recorded",
    "not all labelled",
)
"""Words by which a sentence is one on missing data."""


def source(run: Run) -> Answer:
    """What the data set is and where it is described."""
    facts = run.context.dataset
    text = f"{facts.title}. {facts.description} Page: {facts.page}. Citation: {facts.citation}"
    return Answer(text, (*run.of_context("dataset"), *_some(run.of_card("origin"))))


def licence(run: Run) -> Answer:
    """Under which terms the data may be used, and where they can be had."""
    facts = run.context.dataset
    text = f"Data: licence {facts.licence}. Attribution: {facts.attribution} Terms: {facts.terms}"
    commercial = (run.card.get("licence") or {}).get("commercial")
    if commercial is not None:
        text += f" Commercial use: {'allowed' if commercial else 'not allowed'}."
    if facts.page:
        text += f" Described at {facts.page}."
    return Answer(text, (*run.of_context("dataset", "licence"), *_some(run.of_card("licence"))))


def sites(run: Run) -> Answer | None:
    """From how many places the cases come."""
    if not run.context.parts:
        return None
    tested = sorted({line.site for line in run.context.parts if line.part in ("test", "every fold")})
    text = f"{words.counted(len(run.sites), 'site')} in the data: {_names(run.sites)}; tested on {_names(tested)}."
    return Answer(text, (*run.of_context("parts"), *run.report("data")), whole=False)


def participants(run: Run) -> Answer | None:
    """How many cases and patients are in each part, with what outcome, and what was left out of the files."""
    if not run.parts:
        return None
    text = " ".join(_part(run, part) for part in run.parts)
    left = run.found("not-in-official-split", "no-follow-up", "zero-area-box")
    if left:
        text += f" Left out or without weight when the files were read, see the findings: {', '.join(left)}."
    text += " Who was left out before the files were made is not known to the run."
    at = (*run.of_context("parts"), *(run.of_context("findings") if left else ()), *run.report("data"))
    return Answer(text, at, whole=False, ask=("follow_up",) if run.target == "time_to_event" else ())


def analysed(run: Run) -> Answer | None:
    """How many cases and outcomes each analysis rests on."""
    if not run.parts:
        return None
    text = " ".join(_part(run, part) for part in run.parts)
    learned = " and ".join(run.recipe["train"]["parts"])
    text += f" The model learned from: {learned}."
    return Answer(text, (*run.of_context("parts"), *run.of_record("recipe", "train", "parts"), *run.report("data")))


def split(run: Run) -> Answer:
    """How the cases were divided."""
    made = run.recipe["data"]["split"]
    if made["test"] == "official":
        text = "The official split of the data set"
        declared = run.card.get("official_split") or {}
        text += f": {' '.join(str(declared['source']).split())}" if declared.get("source") else "."
    elif made["test"] == "folds":
        text = f"{made['folds']}-fold cross-validation, seed {made['seed']}."
    else:
        text = f"{100 * made['test']:g} % of the groups at random for testing, seed {made['seed']}."
    text += f" Grouped by {made['by']}. {' '.join(_part(run, part) for part in run.parts)}"
    at = (
        *run.of_record("recipe", "data", "split"),
        *_some(run.of_card("official_split", "source")),
        *run.of_context("parts"),
    )
    return Answer(text.strip(), at)


def disjoint(run: Run) -> Answer:
    """At which level the parts are disjoint, and whether that was checked."""
    by = run.recipe["data"]["split"]["by"]
    checked = [text for text in run.context.checked if text.startswith("No patient is in two parts")]
    text = f"Parts are disjoint by {by}."
    if run.anonymous:
        text += (
            " The data name no patients: every case counts as one, and whether two cases are of one person, in "
            "one part or in two, is not known."
        )
    elif checked:
        text += f" Checked: {checked[0]}"
    twins = [finding.code for finding in run.context.findings if finding.code in ("content-leak", "look-alike")]
    if twins:
        text += f" Findings on equal or similar cases: {', '.join(twins)}."
    at = (*run.of_record("recipe", "data", "split", "by"), *run.of_context("checked"), *run.of_context("findings"))
    return Answer(text, at, whole=bool(checked) and not run.anonymous)


def identifiers(run: Run) -> Answer | None:
    """Whether the data name patients."""
    if not run.anonymous:
        return None
    text = "The files name no patients. How the publisher removed identifiers is not known to the run."
    return Answer(text, run.of_context("findings"), whole=False)


def checks(run: Run) -> Answer:
    """What was checked on the data and what was found."""
    found = run.context.findings
    codes = ", ".join(dict.fromkeys(item.code for item in found))
    text = f"{' '.join(run.context.checked)} Findings: {codes or 'none'}."
    if run.waived:
        text += f" Waived in the recipe, with a reason: {', '.join(run.waived)}."
    at = (*run.of_context("checked"), *run.of_context("findings"), *run.of_record("recipe", "data", "waive"))
    return Answer(text, (*at, *run.report("data")))


def preparation(run: Run) -> Answer:
    """How the data were prepared, as far as the recipe says it."""
    left_out = ("dataset", "split", "waive", "horizons_days")
    named = settings({key: value for key, value in run.recipe["data"].items() if key not in left_out})
    hooks = [name for name in run.context.hashes if "pipeline.py" in name]
    text = f"Settings of the recipe: {named or 'none beside the split'}."
    text += " A file pipeline.py stands beside the recipe; its hash is recorded." if hooks else ""
    text += " What else is done is in the code of the recorded version and commit."
    return Answer(text, (*run.of_record("recipe", "data"), *(run.of_context("hashes") if hooks else ())), whole=False)


def outcome(run: Run) -> Answer:
    """What is predicted, and what counts as positive."""
    classes = run.context.classes
    text = {
        "binary": f"{run.context.negative} or {run.context.positive}; {run.context.positive} is positive.",
        "time_to_event": f"Time until: {run.context.positive}. Where it was not observed: {run.context.negative}.",
        "masks": f"Marked in each image: {', '.join(classes)}.",
        "boxes": f"In boxes in each image: {', '.join(classes)}.",
        "multilabel": f"Each may hold or not: {', '.join(classes)}.",
    }.get(run.target, f"One of: {', '.join(classes)}.")
    at = list(run.of_record("classes"))
    label = run.of_card("table", "label")
    if label:
        text += f" From the column {run.card['table']['label']['column']} of the files."
        at.append(label)
    if run.target == "time_to_event":
        days = ", ".join(words.span(day) for day in run.recipe["data"].get("horizons_days", ()))
        text += f" Estimated at {days}."
        at += run.of_record("recipe", "data", "horizons_days")
    return Answer(text, tuple(at), whole=False)


def predictors(run: Run) -> Answer | None:
    """What the model may see."""
    columns = (run.card.get("table") or {}).get("columns")
    if columns:
        dropped = run.recipe["data"].get("drop") or ()
        text = f"The card defines {len(columns)} columns of the table, label included, with kind, unit and range"
        text += f"; the recipe keeps {len(dropped)} of them from the model." if dropped else "."
        at = [*_some(run.of_card("table", "columns")), *(run.of_record("recipe", "data", "drop") if dropped else ())]
        return Answer(text, tuple(at))
    for block in ("images", "volumes", "scans", "arrays", "pictures", "signals"):
        channels = (run.card.get(block) or {}).get("channels")
        if channels:
            text = f"The model sees {block}, channels: {_names([str(channel) for channel in channels])}."
            return Answer(text, _some(run.of_card(block, "channels")))
    return None


def missing_values(run: Run) -> Answer | None:
    """What is known about missing values: findings, and what page and card say."""
    told = run.told(*MISSING)
    pitfalls = [text for text in run.context.dataset.pitfalls if re.search("|".join(MISSING), text, re.IGNORECASE)]
    found = run.found("missing-values", "zero-coded-missing", "no-follow-up")
    if not told and not found and not pitfalls:
        return None
    text = f"Findings: {', '.join(found)}." if found else ""
    text += f" {told.text}" if told else ""
    text += f" The card says: {' '.join(pitfalls)}" if pitfalls else ""
    at = run.of_context("findings") if found else ()
    at += told.at if told else ()
    at += run.of_context("dataset", "pitfalls") if pitfalls else ()
    return Answer(text.strip(), at, whole=False)


def pitfalls(run: Run) -> Answer | None:
    """What the card knows to be wrong with the data."""
    found = run.context.dataset.pitfalls
    if not found:
        return None
    return Answer(f"The card warns: {' '.join(found)}", run.of_context("dataset", "pitfalls"), whole=False)


def parts_compared(run: Run) -> Answer | None:
    """How training and test part differ."""
    if not run.parts:
        return None
    text = (
        "All parts come from one data set, with one definition of inputs and outcome. "
        f"{' '.join(_part(run, part) for part in run.parts)} The data table gives the counts for each site."
    )
    return Answer(text, (*run.of_context("parts"), *run.report("data")))


def handled_places(run: Run) -> Answer:
    """Whether differences between places were looked at."""
    known = places(run)
    if isinstance(known, Skip):
        return Answer(f"Not looked at. {known.why}", (*run.of_context("parts"), *run.report("data")))
    return known


def places(run: Run) -> Answer | Skip:
    """Results for each place."""
    if any(item.subgroup.startswith("site=") for _, item in run.grouped()):
        return Answer(
            f"Every estimate was made for each of {len(run.sites)} sites, with the difference of the headline to all "
            "others; sites that are too small are masked. Parameters of the model were not compared between sites.",
            (*run.report("subgroups"), *run.of_record("recipe", "evaluate", "subgroups")),
        )
    if len(run.sites) == 1:
        return Skip("The data name a single site.")
    return Skip(f"The data name {len(run.sites)} sites, but the recipe asks for no estimates by site.")


def acquisition(run: Run) -> Answer | None:
    """What is known of how images were taken."""
    known: Answer | None = predictors(run)
    said = run.purpose("Input")
    if known is None or not said:
        return known and Answer(known.text, known.at, whole=False)
    return Answer(f"{known.text} {run.quote(said)}", (*known.at, *run.page("Intended use")), whole=False)


def _part(run: Run, part: str) -> str:
    cases, patients, counts = run.parts[part]
    named = ", ".join(f"{count:,} {name}" for name, count in zip(run.context.classes, counts, strict=True))
    unit = {"masks": "voxels", "boxes": "boxes"}.get(run.target)
    named = f"{unit}: {named}" if unit else named
    whose = "" if run.anonymous or patients == cases else f" of {words.counted(patients, 'patient')}"
    return f"{part.capitalize()}: {words.counted(cases, 'case')}{whose} ({named})."


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"


def _some(pointer: Pointer | None) -> tuple[Pointer, ...]:
    return (pointer,) if pointer else ()
