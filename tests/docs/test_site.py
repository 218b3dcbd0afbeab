"""The documentation builds as one site, without a warning and without anything from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

OUTSIDE = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, from a copy, so that nothing is written beside the sources."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("lessons"))
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("work"))
    words = ["-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-b", "html", "docs", "built"]
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "built"


@pytest.mark.slow
def test_every_page_and_every_lesson_is_there(site):
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    lessons = [f"lessons/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert [str(page) for page in [*pages, *lessons] if not (site / page).is_file()] == []


@pytest.mark.slow
def test_the_first_page_leads_to_every_other(site):
    first = (site / "README.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'href="{name}"' in first or name == "README.html", name


@pytest.mark.slow
def test_no_page_needs_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert not OUTSIDE.search(page.read_text(encoding="utf-8")), page
