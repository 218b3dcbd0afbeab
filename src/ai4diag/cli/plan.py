"""`ai4diag plan`."""

from __future__ import annotations

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.cli.stages import Variant, variant_options


@click.command("plan")
@click.argument("name")
@variant_options
@show.json_option
def plan(name: str, variant: Variant, as_json: bool) -> None:
    """Show how a segmentation configures itself.

    What the prepared cases look like, and what network, patch, batch and windows follow from them and the recipe. Needs
    the prepared cases; trains nothing.
    """
    from ai4diag.pipelines.plan import plan_of

    found = plan_of(workspace().pipeline(name, **variant))
    if as_json:
        show.data({"fingerprint": found.fingerprint, "plan": found.plan})
    else:
        click.echo(found.page)


COMMANDS = (plan,)
