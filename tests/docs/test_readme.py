"""README.md says what is there: the tree, the pipelines, their headlines."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from ai4diag.config.base import read_yaml
from tests.conftest import ROOT
from tests.docs.pages import generator

README = ROOT / "README.md"


def tree():
    """Return the paths that the tree in README.md names, folders without their slash."""
    block = re.search(r"## The repository\n+```text\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    paths, above = [], []
    for line in block.splitlines():
        indent, name, comment = re.fullmatch(r"( *)(\S+) {2,}(\S.*)", line).groups()
        assert comment, line
        depth = len(indent) // 2
        above = [*above[:depth], name.rstrip("/")]
        paths.append("/".join(above))
    return paths


@pytest.fixture(scope="module")
def tracked():
    """All files in git."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_the_tree_names_every_entry_once(tracked):
    named = tree()
    assert len(named) == len(set(named))
    top = {path.split("/")[0] for path in tracked}
    assert top - {path.split("/")[0] for path in named} == set()
    packages = {"/".join(path.split("/")[:3]) for path in tracked if re.match(r"src/ai4diag/[^/]+/", path)}
    pipelines = {"/".join(path.split("/")[:2]) for path in tracked if re.match(r"pipelines/[^/]+/pipeline.yaml", path)}
    assert (packages | pipelines) - set(named) == set()


def test_the_tree_names_nothing_that_is_not_in_git(tracked):
    missing = [path for path in tree() if not any(file == path or file.startswith(f"{path}/") for file in tracked)]
    assert missing == []


def test_the_table_lists_every_pipeline():
    listed = re.findall(r"^\| \[`([\w-]+)`\]", README.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(read_yaml(ROOT / "params.yaml")["pipelines"])


def test_headlines_are_those_of_the_estimates():
    text = README.read_text()
    assert generator()["readme"](text) == text, "run `python docs/generate.py`"


def test_a_headline_that_drifts_is_put_right():
    """The generator against a row worked out by hand."""
    paths = sorted((ROOT / "pipelines").glob("*/out/estimates.json"))
    if not paths:
        pytest.skip("no pipeline has estimates yet")
    first = json.loads(paths[0].read_text())[0]
    name = paths[0].parts[-3]
    row = f"| [`{name}`](x) | question | data | better than it is |"
    limits = f"[{first['low']:.3f}, {first['high']:.3f}]"
    counts = f"(n = {first['n']}, patients = {first['n_patients']})"
    expected = f"| [`{name}`](x) | question | data | {first['name']} {first['value']:.3f} {limits} {counts} |"
    assert generator()["readme"](row) == expected


def test_printed_headlines_are_those_of_the_estimates():
    """Output that is shown in a page is as the command would print it today."""
    shown = re.findall(r"^([a-z][\w-]+): (\w+ [01]\.\d{3} \[.*\) *)$", README.read_text(), re.MULTILINE)
    for name, headline in shown:
        path = ROOT / "pipelines" / name / "out" / "estimates.json"
        row = generator()["readme"](f"| [`{name}`] | |")
        assert path.is_file(), name
        assert row.endswith(f"| {headline} |"), name
