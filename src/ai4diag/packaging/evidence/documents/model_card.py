"""The model card: Markdown with the metadata block that Hugging Face reads.

Fields of the block: https://huggingface.co/docs/hub/model-cards and
https://raw.githubusercontent.com/huggingface/hub-docs/main/modelcard.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

from ai4diag.evaluation.report import sections, words
from ai4diag.packaging.evidence.documents.answers import data, model, results
from ai4diag.packaging.evidence.documents.figures import interval
from ai4diag.packaging.evidence.documents.markdown import plain, table
from ai4diag.packaging.evidence.documents.pointers import ESTIMATES, MODEL_CARD, RECORD, REPORT, SUPPLIED, Pointer
from ai4diag.packaging.evidence.documents.run import Answer, Run, Skip
from ai4diag.types import Estimate

LICENCE = "model_licence"
ASKED = (LICENCE, "provider_name", "intended_users")
"""Keys that the card asks people for."""
HUB_LICENCES = (
    *(
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "mpl-2.0",
        "gpl-3.0",
        "lgpl-3.0",
        "agpl-3.0",
        "eupl-1.1",
        "eupl-1.2",
    ),
    *(
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nc-nd-4.0",
        "unlicense",
        "openrail",
    ),
)
"""Licences that the hub knows by name (https://huggingface.co/docs/hub/repositories-licenses); others are `other`."""
HUB_TASKS = {
    "tabular": "tabular-classification",
    "classification": "image-classification",
    "segmentation": "image-segmentation",
    "detection": "object-detection",
    "timeseries": "time-series-classification",
}
WARNING = "**Evidence, not approval. Not for clinical use without the manufacturer's own approval.**"


def model_card(run: Run) -> str:
    """Return the model card.

    Args:
        run: the run that the card is about.
    """
    lines = [*_metadata(run), f"# {run.name}: {plain(_lower(run.context.title))}", "", run.named, "", WARNING, ""]
    for title, part in (
        ("Intended use", _use),
        ("Out of scope", _out_of_scope),
        ("Training data", _data),
        ("How it was evaluated", _evaluation),
        ("Results", _results),
        ("Subgroups", _subgroups),
        ("Limits", _limits),
        ("How to reproduce and verify", _verify),
        ("What is not known", _unknown),
    ):
        lines += [f"## {title}", "", *part(run), ""]
    return "\n".join(lines)


def metadata(run: Run) -> dict[str, Any]:
    """Return the block of metadata as plain values; undefined estimates are left out, limits stand with the values."""
    licence = run.supplied.get(LICENCE, "")
    known = licence.lower() in HUB_LICENCES
    block: dict[str, Any] = {"license": licence.lower() if known else "other"}
    if not known:
        block["license_name"] = _slug(licence) or "to-be-supplied"
    task, variant = HUB_TASKS.get(run.task, run.task), str(run.record.get("variant") or "full")
    measured = [item for _, item in run.estimates() if not math.isnan(item.value)]
    dataset = {"type": run.context.dataset.name, "name": run.context.dataset.title, "split": "test"}
    if run.context.folds:
        dataset["split"] = f"{run.context.folds} folds"
    return block | {
        "library_name": "ai4diag",
        "tags": ["ai4diag", "medical", "not-for-clinical-use", run.task, run.target],
        "datasets": [run.context.dataset.name],
        "metrics": list(dict.fromkeys(item.name for item in measured)),
        "model-index": [
            {
                "name": run.name if variant == "full" else f"{run.name} ({variant})",
                "results": [
                    {
                        "task": {"type": task, "name": run.context.title},
                        "dataset": dataset,
                        "metrics": [_metric(item, run.level) for item in measured],
                    }
                ],
            }
        ],
    }


def _metric(item: Estimate, level: float) -> dict[str, Any]:
    limits = {} if math.isnan(item.low) else {"interval_level": level, "low": item.low, "high": item.high}
    resting = {**limits, "cases": item.n, "patients": item.n_patients}
    return {"type": item.name, "name": words.name(item.name), "value": item.value, "args": resting}


def _metadata(run: Run) -> Iterator[str]:
    from ruamel.yaml import YAML

    writer, stream = YAML(), StringIO()
    writer.default_flow_style = False
    writer.width = 4096
    writer.dump(metadata(run), stream)
    yield from ("---", *stream.getvalue().rstrip().split("\n"), "---", "")


def _use(run: Run) -> Iterator[str]:
    for paragraph in run.context.purpose:
        yield from (plain(paragraph), "")
    if not run.context.purpose:
        yield from (_ask(run, "intended_purpose"), "")
    else:
        yield from (f"From {_links(run.page('Intended use'))}.", "")
    for title, key in (("Users", "intended_users"), ("Manufacturer", "provider_name")):
        yield f"- {title}: {_ask(run, key)}"


def _out_of_scope(run: Run) -> Iterator[str]:
    found = [text for text in run.context.limits if text.startswith("Not for")]
    for text in found:
        yield f"- {plain(text)}"
    if not found:
        yield "The pipeline's page says nothing on what the model is not for. Take it for nothing that was not tested."


def _data(run: Run) -> Iterator[str]:
    facts = run.context.dataset
    yield from (f"**{plain(facts.title)}.** {plain(facts.description)}", "")
    yield from table(
        ("Item", "What the card says"),
        [
            ("Page", plain(facts.page)),
            ("Citation", plain(facts.citation)),
            ("Licence", plain(facts.licence)),
            ("Attribution", plain(facts.attribution)),
            ("Terms", plain(facts.terms)),
        ],
    )
    yield ""
    if run.context.parts:
        columns = ("Part", "Site", "Cases", _patients(run), *(_counted(run, name) for name in run.context.classes))
        rows = [
            (line.part, plain(line.site), *(f"{n:,}" for n in (line.cases, line.patients, *line.counts)))
            for line in run.context.parts
        ]
        yield from (*table(columns, rows), "")
    learned = " and ".join(run.recipe["train"]["parts"])
    yield f"Learned from: {learned}. {_say(run, data.disjoint(run))}"
    if facts.pitfalls:
        yield from ("", "Known pitfalls, from the card:", "", *(f"- {plain(text)}" for text in facts.pitfalls))


def _counted(run: Run, name: str) -> str:
    unit = {"masks": " (voxels)", "boxes": " (boxes)"}.get(run.target, "")
    return f"{plain(name)}{unit}"


def _evaluation(run: Run) -> Iterator[str]:
    for answer in (data.split(run), results.threshold(run), results.intervals(run), model.selection(run)):
        if isinstance(answer, Answer):
            yield f"- {_say(run, answer)}"
    gate = sections.gate(run.evaluation, run.context)
    yield f"- {plain(gate.word)}. {plain(gate.sentence)}"


def _results(run: Run) -> Iterator[str]:
    sentence = words.sentence(run.headline, run.evaluation.classes, run.level)
    yield from (f"{plain(sentence)}{results.of_folds(run)}", "")
    rows = [_result(i, item, run) for i, item in run.estimates()]
    yield from table(_columns(run), rows)
    classes = [(plain(words.group(item.subgroup)), *_result(i, item, run)) for i, item in run.grouped(of_people=False)]
    if classes:
        yield from ("", *table(("Of", *_columns(run)), classes))
    if run.evaluation.notes:
        yield from ("", *(f"- {plain(note)}" for note in run.evaluation.notes))


def _subgroups(run: Run) -> Iterator[str]:
    shown = [(i, item) for i, item in run.grouped() if item.name == run.evaluation.primary]
    for answer in (results.no_subgroups(run), results.subgroups(run)):
        if answer:
            yield from (_say(run, answer), "")
    if shown:
        rows = [(words.group(item.subgroup), *_result(i, item, run)) for i, item in shown]
        rows = [(plain(group), *rest) for group, *rest in rows]
        yield from (*table(("Group", *_columns(run)), rows), "")
        yield f"All other estimates in groups: {_links((Pointer(ESTIMATES), Pointer(REPORT, ('subgroups',))))}."


def _columns(run: Run) -> tuple[str, ...]:
    return "Estimate", "Value", f"{100 * run.level:g} % interval", "Cases", _patients(run), "To mind", "Where"


def _patients(run: Run) -> str:
    return "Counted as patients" if run.anonymous else "Patients"


def _result(place: int, item: Estimate, run: Run) -> tuple[str, ...]:
    limits = interval(item, run.level).removeprefix(f"{100 * run.level:g} % interval ")
    where = Pointer(ESTIMATES, (place,)).link(MODEL_CARD)
    counts = f"{item.n:,}", f"{item.n_patients:,}"
    return words.name(item.name), words.number(item.value), limits, *counts, plain(item.note), where


def _limits(run: Run) -> Iterator[str]:
    for text in run.context.limits:
        yield f"- {plain(text)}"
    if not run.context.limits:
        yield "The pipeline's page names no limits. That does not mean that there are none."


def _verify(run: Run) -> Iterator[str]:
    said = str(run.record.get("words") or run.name).replace("`", "'")
    yield "- The pack: `ai4diag evidence verify FOLDER --public-key FILE`; it also computes every number again."
    yield f"- The run, from its commit: `ai4diag verify {run.run_id}`; trained as `ai4diag run {said}`."
    for answer in (model.bound_to(run), model.software(run), model.hardware(run), model.verified(run)):
        if isinstance(answer, Answer):
            yield f"- {_say(run, answer)}"
    yield f"- Hashes of the model's files: {_links(run.of_record('model') or (Pointer(RECORD),))}."


def _unknown(run: Run) -> Iterator[str]:
    for text in run.context.not_checked:
        yield f"- {plain(text)}"
    if not run.record.get("trained"):
        yield "- On which machine, from which commit the model was trained: that was not recorded."
    if run.dirty:
        yield "- What exactly ran: files that are not in the commit were present."
    if run.undefined:
        yield f"- Undefined on the test part: {', '.join(run.undefined)}."
    if run.masked:
        yield f"- Groups too small to be shown: {plain(', '.join(run.masked))}."
    yield "- Everything that the checklists mark *to be supplied by the manufacturer*."


def _say(run: Run, answer: Answer | Skip) -> str:
    if isinstance(answer, Skip):
        return plain(answer.why)
    return f"{plain(answer.text)} {_links(answer.at)}"


def _links(pointers: tuple[Pointer, ...]) -> str:
    return " ".join(pointer.link(MODEL_CARD) for pointer in pointers)


def _ask(run: Run, key: str) -> str:
    from ai4diag.packaging.evidence.documents.guideline import questions

    if key in run.supplied:
        where = Pointer(SUPPLIED, (key,)).link(MODEL_CARD)
        return f"**Supplied by the manufacturer** (`{key}`): {plain(run.supplied[key])} {where}"
    return f"*To be supplied by the manufacturer* (`{key}`): {plain(questions()[key])}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:64]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
