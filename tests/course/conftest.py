"""A school with a tiny lesson."""

from __future__ import annotations

import pytest

from ai4diag.course import sandbox
from tests.course.tiny import School


@pytest.fixture(scope="session")
def _school(tmp_path_factory):
    return School(tmp_path_factory.mktemp("school"))


@pytest.fixture
def school(_school, monkeypatch):
    """The tiny lesson's workspace; the package that checks is a copy that has this lesson."""
    monkeypatch.setattr(sandbox, "PACKAGE", _school.package)
    return _school
