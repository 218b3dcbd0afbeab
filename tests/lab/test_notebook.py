"""A notebook with displays, as it is saved, exported and read without a kernel."""

from __future__ import annotations

import time

import nbformat
import pytest
from nbclient import NotebookClient

nbconvert = pytest.importorskip("nbconvert")

CELLS = (
    "import time\nfrom ai4diag import lab",
    "for number in lab.progress(range(100), 'look at cases'):\n    time.sleep(0.02)",
    "lab.progress",
    "lab.case('breast-mass', 'wdbc-002')",
    "lab.dataset('wdbc')",
    "for number in lab.progress(range(9), 'look again'):\n    if number == 4:\n        raise KeyboardInterrupt",
)


class Counting(NotebookClient):
    """Counts the updates of outputs, and when the first and the last came."""

    times = ()

    def process_message(self, message, cell, cell_index):
        if message["msg_type"] == "update_display_data":
            self.times = (*self.times, time.monotonic())
        return super().process_message(message, cell, cell_index)


def test_what_a_notebook_shows_stays_when_it_is_saved_and_exported(done, tmp_path):
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = Counting(content, timeout=300, allow_errors=True, resources={"metadata": {"path": str(done.folder)}})
    client.execute()
    saved = tmp_path / "seen.ipynb"
    nbformat.write(content, saved)
    assert saved.stat().st_size < 100_000
    _, bar, _, case, dataset, stopped = nbformat.read(saved, 4).cells
    (shown,) = bar.outputs  # written anew, not again and again
    assert shown.data["text/plain"].startswith("look at cases: done, 100 of 100 in 0:0")
    assert 'aria-valuenow="100"' in shown.data["text/html"]
    assert len(client.times) <= 5 * (client.times[-1] - client.times[0]) + 10  # two bars, the ends of each at once
    assert stopped.outputs[0].data["text/plain"].startswith("look again: stopped at 4 of 9")
    for cell in (case, dataset):
        assert set(cell.outputs[0].data) == {"text/plain", "text/html"}
    page, _ = nbconvert.HTMLExporter().from_notebook_node(content)
    for words in (
        "look at cases: done, 100 of 100",
        "Case wdbc-002 of breast-mass",
        "Known pitfalls",
        "stopped at 4 of 9",
    ):
        assert words in page
    for cell in content.cells:
        for output in cell.outputs:
            html = output.get("data", {}).get("text/html", "")
            assert "<script" not in html
            assert 'src="http' not in html
