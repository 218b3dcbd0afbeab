"""What a pack states, and what follows from it.

Stated are the predictions, the plan, and what the run was bound to. Everything else (estimates, report, documents) is
made from that, by the same code when a pack is built and when it is verified: what differs was changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ai4diag.config.base import parse, parse_yaml
from ai4diag.config.plan import Evaluate
from ai4diag.errors import ConfigError, VerifyError, did_you_mean
from ai4diag.evaluation.evaluate import Evaluation, evaluate
from ai4diag.evaluation.predictions import read_predictions, write_predictions
from ai4diag.evaluation.report import ReportContext, render, sections
from ai4diag.files import to_json, write_bytes, write_text
from ai4diag.packaging.evidence import limits
from ai4diag.packaging.evidence.facts import PackFacts
from ai4diag.packaging.evidence.pictures import Pictures
from ai4diag.types import Estimate

MANIFEST = "manifest.json"
PREDICTIONS, ESTIMATES, REPORT, RECORD = "predictions.parquet", "estimates.json", "report.html", "record.json"
CONTEXT, PLAN, VERDICTS, ENVIRONMENT = "context.json", "plan.json", "verification.json", "environment.txt"
README, CARD, SBOM = "pipeline.md", "card.yaml", "sbom.cdx.json"
SUPPLIED, TO_SUPPLY, PICTURES = "supplied.yaml", "to-supply.yaml", "pictures.safetensors"
STATED = (PREDICTIONS, RECORD, CONTEXT, PLAN, VERDICTS, ENVIRONMENT, README, CARD, SBOM, SUPPLIED, PICTURES)
"""Files from which all others follow."""


@dataclass(frozen=True)
class Stated:
    """What a pack states.

    Attributes:
        record: facts of the run, `headline` among them.
        context: what the report says beside the estimates, without pictures.
        plan: the `evaluate` block.
        predictions: pseudonymised.
        verdicts: what verifications of the run found.
        readme: the pipeline's README.md.
        card: the dataset card.
        environment: installed packages.
        sbom: the same as CycloneDX JSON; empty before it is made.
        supplied: what people answered.
        pictures: those that the report shows; None without.
    """

    record: Mapping[str, Any]
    context: ReportContext
    plan: Evaluate
    predictions: pd.DataFrame = field(repr=False)
    verdicts: tuple[Mapping[str, Any], ...] = ()
    readme: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    environment: str = ""
    sbom: str = ""
    supplied: Mapping[str, str] = field(default_factory=dict)
    pictures: Pictures | None = None

    def evaluate(self) -> Evaluation:
        """Return the estimates, made anew from the predictions."""
        facts = self.record
        return evaluate(
            self.predictions, task=facts["task"], target=facts["target"], classes=facts["classes"], plan=self.plan
        )

    def facts(self, evaluation: Evaluation, plots: tuple[str, ...] = ()) -> PackFacts:
        """Return what the documents are made from; `plots` are the titles of those in the report."""
        return PackFacts(
            record=self.record,
            context=self.context,
            evaluation=evaluation,
            verdicts=self.verdicts,
            readme=self.readme,
            card=self.card,
            environment=self.environment,
            plots=plots,
            supplied=self.supplied,
        )


def made(stated: Stated, evaluation: Evaluation) -> dict[str, str]:
    """Return everything that follows from what a pack states: path in the pack to text.

    Args:
        stated: what the pack states.
        evaluation: its estimates; `stated.evaluate()`.
    """
    from ai4diag.packaging.evidence import documents

    curves = sections.curves(evaluation)  # drawn once: it takes longer than all documents together
    facts = stated.facts(evaluation, tuple(chart.title for chart in curves))
    context = stated.context if stated.pictures is None else stated.pictures.shown(stated.context)
    return {
        ESTIMATES: to_json([item.as_dict() for item in evaluation.estimates]) + "\n",
        REPORT: render(evaluation, context, curves),
        TO_SUPPLY: questions(documents.missing(facts)),
        **documents.documents(facts),
    }


def questions(missing: Mapping[str, str]) -> str:
    """Return the file in which people answer what only they can: every question with an empty answer."""
    lines = [
        "# Only people can say this. Copy this file, write the answers between the quotes, leave empty what nobody",
        "# knows, and build again: ai4diag evidence build RUN --supplied answers.yaml",
    ]
    if not missing:
        lines.append("# Nothing is missing.\n{}")
    for key, question in missing.items():
        lines += ["", *(f"# {line}" for line in question.splitlines()), f'{key}: ""']
    return "\n".join(lines) + "\n"


def read_answers(text: str, where: str) -> dict[str, str]:
    """Return the answers of a YAML file, without those that are empty.

    Raises:
        ConfigError: it is not a mapping of keys to texts.
    """
    found = parse_yaml(text, where)
    found = {} if found is None else found
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(f"{where} must map keys to texts.", "Begin with to-supply.yaml of a pack.")
    for key, value in found.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{where}: {key} is not a text.", "Put the answer between quotes.")
    return {key: value.strip() for key, value in found.items() if value and value.strip()}


def refuse_unknown(answers: Mapping[str, str], known: Mapping[str, str], where: str) -> None:
    """Refuse answers to what was not asked.

    Raises:
        ConfigError: the key and the nearest known one are named.
    """
    for key in answers:
        if key not in known:
            raise ConfigError(f"{where}: nothing is asked under '{key}'. {did_you_mean(key, known)}")


def write(folder: Path, stated: Stated) -> None:
    """Write what a pack states."""
    record = stated.record
    plan = {name: record[name] for name in ("task", "target", "classes")}
    texts = {
        RECORD: to_json(record) + "\n",
        CONTEXT: to_json(stated.context.as_dict()) + "\n",
        PLAN: to_json({**plan, "evaluate": stated.plan.model_dump(mode="json", exclude_none=True)}) + "\n",
        CARD: to_json(stated.card) + "\n",  # JSON is YAML, and has no references that could grow when it is read
        ENVIRONMENT: stated.environment,
        SBOM: stated.sbom,
    }
    if stated.verdicts:
        texts[VERDICTS] = to_json(list(stated.verdicts)) + "\n"
    if stated.readme:
        texts[README] = stated.readme
    if stated.supplied:
        texts[SUPPLIED] = "".join(
            f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in sorted(stated.supplied.items())
        )
    for name, text in texts.items():
        write_text(folder / name, text)
    write_predictions(folder / PREDICTIONS, stated.predictions, {**plan, "pipeline": record["pipeline"]})
    if stated.pictures is not None:
        write_bytes(folder / PICTURES, stated.pictures.to_bytes())


def read(folder: Path) -> Stated:
    """Read what a pack states; nothing larger than the limits is read.

    Raises:
        VerifyError: a file is missing, too large, or contradicts another.
        DataError, ConfigError: the predictions or the plan are malformed.
    """
    record, plan = _json(folder, RECORD), _json(folder, PLAN)
    settings = parse(Evaluate, plan["evaluate"], PLAN)
    if settings.interval.resamples > limits.MOST_RESAMPLES:
        raise VerifyError(f"{PLAN} asks for {settings.interval.resamples:,} resamples.", "Get the pack again.")
    if any(plan[name] != record[name] for name in ("task", "target", "classes")):
        raise VerifyError(f"{PLAN} and {RECORD} contradict each other about what was predicted.", "Get the pack again.")
    limits.refuse_large_table(folder / PREDICTIONS)
    predictions, _ = read_predictions(folder / PREDICTIONS, plan["task"], plan["target"], plan["classes"])
    if "shape" in predictions:
        most = max(math.prod(float(side) for side in shape) for shape in predictions["shape"])
        if not most <= limits.MOST_VOXELS:
            raise VerifyError(f"{PREDICTIONS} holds a label map of {most:,.0f} voxels.", "Get the pack again.")
    supplied = folder / SUPPLIED
    pictures = folder / PICTURES
    return Stated(
        record=record,
        context=ReportContext.from_dict(_json(folder, CONTEXT)),
        plan=settings,
        predictions=predictions,
        verdicts=tuple(_json(folder, VERDICTS)) if (folder / VERDICTS).is_file() else (),
        readme=limits.read_text(folder / README) if (folder / README).is_file() else "",
        card=_json(folder, CARD),
        environment=limits.read_text(folder / ENVIRONMENT),
        sbom=limits.read_text(folder / SBOM),
        supplied=read_answers(limits.read_text(supplied), SUPPLIED) if supplied.is_file() else {},
        pictures=Pictures.from_bytes(pictures.read_bytes()) if pictures.is_file() else None,
    )


def _json(folder: Path, name: str) -> Any:
    try:
        return json.loads(limits.read_text(folder / name))
    except (ValueError, RecursionError) as error:
        raise VerifyError(f"{name} is not JSON: {error}.", "Get the pack again.") from None


def with_estimates(evaluation: Evaluation, estimates: list[Estimate]) -> Evaluation:
    """Return the evaluation with estimates that were found to agree, so that texts made from it have their digits."""
    return replace(evaluation, estimates=estimates)
