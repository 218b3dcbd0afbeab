"""Links lead somewhere, commands exist, and those marked to run do what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import click
import pytest
from benchmarks.__main__ import TOPICS

from ai4diag.cli import cli
from tests.conftest import ROOT
from tests.docs.pages import PAGES, blocks, files

OTHERS = {"torchrun", "cd", "dvc", "export", "git", "make", "mlflow", "pip", "sha256sum", "source"}
"""Commands of others that pages show."""


def anchors(page):
    """Return the anchors of a page, as GitHub makes them from headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_of_docs_is_in_the_index(page):
    index = ROOT / "docs" / "README.md"
    if index.parent in page.parents and page != index:
        assert f"({page.relative_to(index.parent)})" in index.read_text()


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_commands_exist(block):
    for words, _ in block.steps:
        if tuple(words[:3]) == ("python", "-m", "benchmarks"):
            assert set(words[3:]) - {"--json", "--store"} <= {*TOPICS, "all", "NAME"}, words
            continue
        if words[0] != "ai4diag":
            assert words[0] in OTHERS
            continue
        group, rest, context = cli, list(words[1:]), click.Context(cli, info_name="ai4diag", **cli.context_settings)
        while isinstance(group, click.Group):
            assert rest, words
            assert rest[0] in group.commands, words
            context = click.Context(group, parent=context, info_name=rest[0])
            group, rest = group.commands[rest[0]], rest[1:]
        group.make_context(words[-1], rest, parent=context)


@pytest.mark.parametrize("block", [block for block in blocks() if block.runs], ids=str)
def test_blocks_that_run_do_what_is_shown(block, make_workspace):
    root = make_workspace("breast-mass")
    for name, content in files(block.page).items():
        (root / name).write_text(content)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    for words, lines in block.steps:
        assert words[0] == "ai4diag"
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        printed = (done.stdout + done.stderr).splitlines()
        assert [line for line in lines if line not in printed] == []


def test_there_are_blocks_that_run():
    assert len([block for block in blocks() if block.runs]) >= 6
