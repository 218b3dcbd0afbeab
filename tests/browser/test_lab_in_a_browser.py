"""`ai4diag lab` in a real browser: no pop-up, a launcher with three tiles, the page behind each, and lesson 1.

Set AI4DIAG_SCREENSHOTS to a folder to keep what was seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ai4diag.course import build
from tests.browser.seen import Seen
from tests.conftest import ROOT, build_workspace
from tests.jupyter.running import Lab

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("lab")]  # two that start in the same second want one port
pytest.importorskip("jupyterlab")
TILES = ("Lessons", "Latest report", "MLflow")
ICON = """card => {
  const icon = card.querySelector('.jp-LauncherCard-icon img, .jp-LauncherCard-icon svg');
  const box = icon.getBoundingClientRect();
  return box.width > 10 && box.height > 10 && (icon.tagName !== 'IMG' || icon.naturalWidth > 0);
}"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, mirror: str) -> Path:
    """A workspace with one quick run of breast-mass, and lesson 1 with its solution."""
    root = build_workspace(tmp_path_factory.mktemp("lab") / "workspace", "breast-mass")
    ai4diag(root, mirror, "run", "breast-mass", "--quick")
    (root / "notebooks").mkdir()
    built = {(path.parent.name, path.name): text for path, text in build.build(ROOT).items()}
    (solution,) = [text for (folder, name), text in built.items() if name.startswith("m01_") and "solution" in folder]
    (root / "notebooks" / "m01_first_result.ipynb").write_text(solution, encoding="utf-8")
    return root


def ai4diag(root: Path, mirror: str, *words: str) -> None:
    """Run a command in the workspace."""
    environ = {**os.environ, "AI4DIAG_MIRROR": mirror}
    done = subprocess.run([sys.executable, "-m", "ai4diag", *words], cwd=root, env=environ, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def lab(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running lab."""
    with Lab(workspace, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def window(browser: Any, lab: Lab) -> Iterator[Window]:
    """A window of a learner who was never here before."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    yield Window(context, lab)
    context.close()


class Window:
    """JupyterLab as a learner sees it, and what the browser asked of other hosts meanwhile."""

    def __init__(self, context: Any, lab: Lab) -> None:
        self.context, self.lab, self.away = context, lab, []
        context.on("request", self._note)
        self.page = context.new_page()

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.lab.root, "data:", "blob:", f"ws://127.0.0.1:{self.lab.port}")):
            self.away.append(request.url)

    def launcher(self) -> Any:
        """Open the printed address and wait for the launcher."""
        self.page.goto(self.lab.url)
        self.page.wait_for_selector(".jp-LauncherCard", timeout=60_000)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=30_000)
        return self.page

    def click(self, title: str) -> Any:
        """Click a tile and return the tab of the browser that it opens."""
        with self.context.expect_page() as opened:
            self.page.locator(".jp-LauncherCard", has_text=title).click()
        return opened.value


def keep(page: Any, name: str) -> None:
    """Keep a picture of what is seen, where they are wanted."""
    if folder := os.environ.get("AI4DIAG_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_the_launcher_has_three_tiles_with_icons_and_nothing_pops_up(window: Window) -> None:
    page = window.launcher()
    page.wait_for_timeout(4000)  # news and updates were asked about within two seconds
    keep(page, "launcher")
    for title in TILES:
        card = page.locator(".jp-LauncherCard", has_text=title)
        assert card.count() == 1
        assert card.evaluate(ICON), title
    assert page.locator(".jp-Dialog, .Toastify__toast, .jp-toast-button").count() == 0
    assert page.locator("text=/news|would you like/i").count() == 0
    assert window.away == []


def test_the_tile_of_mlflow_says_that_it_starts_and_lands_on_the_training_runs(window: Window) -> None:
    window.launcher()
    page = window.click("MLflow")
    if not window.lab.mlflow():
        page.wait_for_selector("h1:has-text('MLflow is starting')", timeout=5000)
    keep(page, "mlflow-starting")
    page.wait_for_url("**/#/experiments/*/runs?workflowType=machine_learning*", timeout=90_000)
    page.wait_for_selector("text=1 matching run", timeout=60_000)
    page.wait_for_timeout(2000)  # the chat panel opened by itself after one
    keep(page, "mlflow")
    assert page.locator("text=breast-mass").count() >= 1
    assert page.locator("textarea").count() == 0, "the chat panel is open"
    assert window.away == []


def test_the_tile_of_the_report_shows_the_newest_one(window: Window) -> None:
    window.launcher()
    page = window.click("Latest report")
    page.wait_for_selector("h1:has-text('Is a breast mass malignant?')")
    keep(page, "report")
    assert page.evaluate("() => window.origin") == "null", "the report is in no sandbox"
    assert page.locator("figure svg").count() > 0
    assert window.away == []


def test_our_pages_can_be_used_by_everybody(window: Window) -> None:
    window.launcher()
    for name in ("lessons", "mlflow?anyway=1"):
        seen = Seen.__new__(Seen)
        seen.page = window.context.new_page()
        if name.startswith("mlflow"):  # stay on the page that waits
            seen.page.route("**/ai4diag-mlflow/health", lambda route: None)
        seen.page.goto(f"{window.lab.root}/ai4diag/{name}")
        assert seen.violations() == []
        seen.page.set_viewport_size({"width": 640, "height": 360})  # 1280 by 720 at 200 %
        assert not seen.scrolls_sideways()
        seen.page.close()


def test_lesson_1_opens_from_the_lessons_and_runs_to_its_end(window: Window, workspace: Path) -> None:
    window.launcher()
    page = window.click("Lessons")
    page.wait_for_selector("h1:has-text('Lessons')")
    keep(page, "lessons")
    assert "ready" in page.locator("tbody tr", has_text="First result in five minutes").inner_text()
    page.click("text=First result in five minutes")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=60_000)
    keep(page, "lesson")
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.click(".lm-Menu-item:has-text('Run All Cells')")
    executed(page, workspace / "notebooks" / "m01_first_result.ipynb")
    keep(page, "lesson-run")
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    cells = json.loads((workspace / "notebooks" / "m01_first_result.ipynb").read_text())["cells"]
    verdicts = [shown(cell) for cell in cells if "check" in cell["metadata"].get("tags", [])]
    assert len(verdicts) >= 4
    assert all("✓" in verdict and "✗" not in verdict for verdict in verdicts), verdicts
    assert window.away == []


def executed(page: Any, notebook: Path, seconds: int = 240) -> None:
    """Save until every cell with code has been executed, the last one included."""
    cells: list[dict[str, Any]] = []
    for _ in range(seconds // 3):
        page.wait_for_timeout(3000)
        page.keyboard.press("Control+s")
        with suppress(ValueError):  # it is being written
            cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
        if cells and all(cell["execution_count"] for cell in cells if "".join(cell["source"]).strip()):
            return
    raise AssertionError([cell["source"] for cell in cells if not cell["execution_count"]])


def shown(cell: dict[str, Any]) -> str:
    """Return the text of a cell's outputs."""
    texts = [item.get("data", {}).get("text/plain", item.get("text", "")) for item in cell["outputs"]]
    return "\n".join("".join(text) for text in texts)
