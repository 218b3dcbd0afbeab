"""`ai4diag predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.progress import Progress
from ai4diag.cli.stages import Variant, variant_options
from ai4diag.errors import UsageError


@click.command("predict")
@click.argument("name")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@variant_options
@click.option("--no-tta", is_flag=True, help="Look at each case once, without test-time augmentation.")
@click.option(
    "--public-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="NAME is a bundle, and must be signed by this key.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("predictions"),
    help="Folder of the answers.",
)
def predict(
    name: str, inputs: Sequence[Path], variant: Variant, no_tta: bool, public_key: Path | None, out: Path
) -> None:
    """Ask a trained model about new files.

    NAME is a pipeline, or the folder of a bundle. The answers are predictions.csv, an image per case where the task
    answers with images, and predictions.json, which says which model answered. Of a variant with --folds or --seeds all
    models answer together.
    """
    from ai4diag.pipelines.predict import model_in, model_of, one_view
    from ai4diag.pipelines.predict import predict as answer

    is_bundle = (Path(name) / "manifest.json").is_file()
    if is_bundle and (variant["quick"] or variant["folds"] or variant["seeds"] > 1 or variant["overrides"]):
        raise UsageError(
            f"--quick, --folds, --seeds and --set are for pipelines; {name} is a bundle.", "Leave them out."
        )
    if public_key is not None and not is_bundle:
        raise UsageError(
            f"--public-key is for bundles; {name} is none.", "Name the folder of a bundle, or leave it out."
        )
    model = model_in(Path(name), public_key) if is_bundle else model_of(workspace().pipeline(name, **variant))
    if len(model.learners) > 1:
        show.message(f"predict {name}: {len(model.learners)} models answer together; there is no bundle of them all")
    elif not model.packaged:
        show.message(f"predict {name}: this model has no bundle: its release gate was not met, or not looked at")
    if no_tta:
        model = one_view(model)
    written = answer(model, inputs, out, Progress(f"predict {name}"))
    for path in written[:3]:
        click.echo(show.relative(path))
    if len(written) > 3:
        click.echo(f"and {len(written) - 3} more in {show.relative(out)}")


COMMANDS = (predict,)
