"""`ai4diag demo | run | prepare | train | evaluate | package`."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.data import mirror
from ai4diag.cli.evidence import ask_password
from ai4diag.cli.progress import Progress
from ai4diag.errors import GateError, UsageError

if TYPE_CHECKING:
    from ai4diag.pipelines.workspace import Pipeline

Variant = dict[str, Any]
"""Arguments of `Workspace.pipeline`."""
DEMO = ("breast-mass", "smear-demo")


def variant_options(command: Any) -> Any:
    """Add `--quick`, `--folds`, `--seeds` and `--set key=value`; the command gets them as one `variant`."""

    @functools.wraps(command)
    def gathered(*given: Any, quick: bool, folds: int | None, seeds: int, overrides: Any, **named: Any) -> Any:
        variant = {"quick": quick, "folds": folds or 0, "seeds": seeds, "overrides": overrides}
        return command(*given, variant=variant, **named)

    options = (
        click.option("--quick", is_flag=True, help="The recipe's small variant."),
        click.option("--folds", type=click.IntRange(2), help="Cross-validate, whatever the recipe's split."),
        click.option("--seeds", type=click.IntRange(1), default=1, help="Train with so many seeds."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting."),
    )
    for option in reversed(options):
        gathered = option(gathered)
    return gathered


@click.command("prepare")
@click.argument("name")
@variant_options
def prepare(name: str, variant: Variant) -> None:
    """Validate the data, split it by patient, scan for leaks, pack it."""
    from ai4diag.pipelines import stages

    pipeline = workspace().pipeline(name, **variant)
    with pipeline.alone():
        prepared = stages.prepare(pipeline, mirror=mirror(), notify=Progress(f"get {pipeline.recipe.data.dataset}"))
    counts = {level: sum(f.level == level for f in prepared.findings) for level in ("warning", "info")}
    show.message(f"prepare {name}: {len(prepared.index)} cases, {counts['warning']} warnings (in the report)")


@click.command("train")
@click.argument("name")
@variant_options
def train(name: str, variant: Variant) -> None:
    """Train; a killed training is taken up again.

    Under `torchrun` several processes train together (docs/how-to/several-gpus.md).
    """
    from ai4diag.pipelines import stages, tracked
    from ai4diag.tracking import NoTracker
    from ai4diag.training.ranks import rank, world

    pipeline = workspace().pipeline(name, **variant)
    if rank():  # the first process prepares, tracks and writes; what it has to say is said once
        stages.train(pipeline, notify=lambda event, fields: None, tracker=NoTracker())
        return
    with pipeline.alone():
        prepared = pipeline.out / "prepared" / "prepared.json"
        alone = world() == 1  # several processes expect prepared cases: docs/how-to/several-gpus.md
        if alone and (pipeline.folds or pipeline.seeds > 1) and not prepared.is_file():
            stages.prepare(pipeline, mirror=mirror(), notify=Progress(f"get {pipeline.recipe.data.dataset}"))
        with tracked.training(pipeline) as tracker:
            stages.train(pipeline, notify=Progress(f"train {name}"), tracker=tracker)


@click.command("evaluate")
@click.argument("name", required=False)
@variant_options
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Score these instead: CSV, Parquet, COCO JSON, or a folder of label maps.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="With --predictions: YAML with `task` and `evaluate`, or a pipeline.yaml.",
)
@click.option("--out", type=click.Path(path_type=Path), help="With --predictions: write report and estimates here.")
@show.json_option
def evaluate(
    name: str | None,
    variant: Variant,
    predictions: Path | None,
    plan: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Estimate from predictions, with intervals; write the report."""
    from ai4diag.pipelines import members, stages, tracked

    if predictions is not None or plan is not None:
        if name is not None:
            raise click.UsageError("Name a pipeline, or give --predictions and --plan, not both.")
        _evaluate_external(predictions, plan, out, as_json)
        return
    if name is None:
        raise click.UsageError("Name a pipeline, or give --predictions and --plan.")
    if out is not None:
        raise click.UsageError("--out belongs to --predictions; a pipeline writes to its own out/.")
    pipeline = workspace().pipeline(name, **variant)
    with pipeline.alone(), tracked.evaluation(pipeline) as tracker:
        evaluation = stages.evaluate(pipeline, tracker=tracker)
    if as_json:
        show.data([item.as_dict() for item in evaluation.estimates])
    else:
        show.message(f"evaluate {name}: {evaluation.estimates[0]}")
        for which, how in members.spreads(pipeline).items():
            show.message(f"  {which:<11} {how}")


def _evaluate_external(predictions: Path | None, plan: Path | None, out: Path | None, as_json: bool) -> None:
    from ai4diag.pipelines.external import evaluate_external

    if predictions is None or plan is None:
        raise click.UsageError("--predictions and --plan belong together.")
    found = evaluate_external(predictions, plan)
    if out is not None:
        found.write(out)
    if as_json:
        show.data([item.as_dict() for item in found.evaluation.estimates])
    else:
        for item in found.evaluation.estimates:
            click.echo(f"{item.subgroup:20} {item}")
    for note in found.evaluation.notes:  # also beside JSON: what was left out, or counted as wrong
        show.message(f"- {note}")
    for line in found.context.unmet:
        show.message(f"- The gate is not met: {line}.")
    if out is not None:
        show.message(f"report: {show.relative(out / 'report.html')}")


@click.command("package")
@click.argument("name")
@variant_options
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign a copy with this private key (`ai4diag keys make`), in dist/NAME.",
)
def package(name: str, variant: Variant, key: Path | None) -> None:
    """Write the bundle, if the release gate is met."""
    from ai4diag.pipelines import stages

    pipeline = workspace().pipeline(name, **variant)
    with pipeline.alone():
        bundle = stages.package(pipeline)
        show.message(f"package {name}: {show.relative(bundle)}")
        if key is not None:
            from ai4diag.packaging.bundle import sign_bundle

            signed = pipeline.workspace.root / "dist" / "-".join(word for word in (name, pipeline.variant) if word)
            signed.parent.mkdir(exist_ok=True)
            fingerprint = sign_bundle(bundle, signed, key, ask_password)
            show.message(f"package {name}: {show.relative(signed)}, signed by {fingerprint}")


@click.command("run")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@variant_options
def run(names: Sequence[str], variant: Variant) -> None:
    """Run the stages that are out of date.

    Without --quick and --set this is `dvc repro`: what is up to date is not run again. A variant runs all its stages
    and writes to pipelines/NAME/out/VARIANT, so that the pipeline's own results stay.
    """
    _run_all(names, variant)


@click.command("demo")
def demo() -> None:
    """Run two pipelines end to end on embedded data."""
    begin = time.monotonic()
    _run_all(DEMO, {})
    show.message(f"demo: {time.monotonic() - begin:.0f} s. Open the reports in a browser; `ai4diag ui` shows the runs.")


def _run_all(names: Sequence[str], variant: Variant) -> None:
    here = workspace()
    for pipeline in [here.pipeline(name, **variant) for name in names]:
        _run(pipeline)


def _run(pipeline: Pipeline) -> None:
    from ai4diag.pipelines.reproduce import reproduce

    try:
        if pipeline.variant:
            with pipeline.alone():
                _run_variant(pipeline)
        else:
            reproduce(pipeline, mirror=mirror())
    except GateError:
        _headline(pipeline)  # what was measured is worth seeing all the more
        raise
    _headline(pipeline)


def _run_variant(pipeline: Pipeline) -> None:
    from ai4diag.pipelines import stages, tracked

    stages.prepare(pipeline, mirror=mirror(), notify=Progress(f"get {pipeline.recipe.data.dataset}"))
    with tracked.training(pipeline) as tracker:
        stages.train(pipeline, notify=Progress(f"train {pipeline.name}"), tracker=tracker)
    with tracked.evaluation(pipeline) as tracker:
        stages.evaluate(pipeline, tracker=tracker)
    try:
        stages.package(pipeline)
    except (GateError, UsageError) as error:
        show.message(f"package {pipeline.name}: {error.message}")


def _headline(pipeline: Pipeline) -> None:
    from ai4diag.pipelines import members
    from ai4diag.pipelines.stages import read_estimates
    from ai4diag.pipelines.tracked import run_id

    estimates = read_estimates(pipeline.out / "estimates.json")
    name = f"{pipeline.name} ({pipeline.variant})" if pipeline.variant else pipeline.name
    click.echo(f"{name}: {estimates[0]}")
    for which, how in members.spreads(pipeline).items():
        click.echo(f"  {which:<11} {how}")
    click.echo(f"  MLflow run  {run_id(pipeline) or 'not tracked'}")
    click.echo(f"  report      {show.relative(pipeline.out / 'report.html')}")
    if (pipeline.out / "bundle").is_dir():
        click.echo(f"  bundle      {show.relative(pipeline.out / 'bundle')}")


COMMANDS = (demo, run, prepare, train, evaluate, package)
