"""A real browser, Debian's chromium, and the reports that it is shown.

Where there is no chromium, the tests are skipped with the reason; where `CI` is set in the environment they fail
instead, because there nobody reads a reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.samples import SAMPLES
from tests.browser.seen import Seen

WANTED = "no chromium: install it (Debian: apt-get install chromium) or name it in AI4DIAG_CHROMIUM"


def chromium() -> str:
    """Return the path of the browser; empty where there is none."""
    return os.environ.get("AI4DIAG_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


def refuse(reason: str) -> None:
    """Fail where `CI` is set, else skip."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser."""
    path = chromium()
    if not Path(path).is_file():
        refuse(WANTED)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        refuse("no playwright: pip install 'ai4diag[dev]'")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Seen]]:
    """Return a function that opens a file in a window of its own and watches what it does."""
    contexts = []

    def opened(path: Path, width: int = 1280, height: int = 720) -> Seen:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        return Seen(context.new_page(), path)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from the name of a sample to its report, which is made once."""
    folder, made = tmp_path_factory.mktemp("reports"), {}

    def file(name: str) -> Path:
        if name not in made:
            made[name] = folder / f"{name.replace(' ', '-')}.html"
            made[name].write_text(SAMPLES[name](), encoding="utf-8")
        return made[name]

    return file
