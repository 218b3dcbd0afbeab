"""The examples in the docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from ai4diag import evaluation
from ai4diag.evaluation import report

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (evaluation, report)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_there_are_examples():
    parser = doctest.DocTestFinder()
    assert sum(bool(item.examples) for name in MODULES for item in parser.find(importlib.import_module(name))) > 30
