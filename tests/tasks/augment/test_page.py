"""docs/reference/augment.md against the code."""

import re

from ruamel.yaml import YAML

from ai4diag.config.train import Train
from ai4diag.tasks.augment import GROUPS, KINDS, plan
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "reference" / "augment.md").read_text()


def test_the_table_is_that_of_the_code():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
    expected = [
        [f"`{name}`", kind.meaning, f"{kind.amount:g}", f"{kind.chance:g}", "yes" if kind.per_axis else ""]
        for name, kind in KINDS.items()
    ]
    assert rows == expected
    for group, members in GROUPS.items():
        assert f"`{group}` stands for {', '.join(f'`{name}`' for name in members)}." in PAGE


def test_the_examples_are_recipes():
    examples = [YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    assert len(examples) == 2
    for example in examples:
        assert plan(Train.model_validate(example["train"]).augment, 2).amounts
