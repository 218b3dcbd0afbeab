"""Every lesson through the sandbox: its solution is solved, the learner's copy is not.

Data and finished runs come from the repository's workspace. Where they are missing the tests fail and name the command
that brings them; CI runs `ai4diag course catch-up` before.
"""

from __future__ import annotations

import pytest

from ai4diag.course import build, check_file
from ai4diag.course.place import lacking
from ai4diag.course.source import sources
from ai4diag.pipelines.workspace import Workspace
from tests.conftest import ROOT
from tests.course.tiny import needs_isolation, states, unmet

pytestmark = pytest.mark.slow
SOURCES = sources(ROOT / "curriculum")
TITLES = {source.lesson.id: source.lesson.title for source in SOURCES}
LONGEST_S = 600
"""Seconds after which something hangs; how long each takes is printed."""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.lesson.id)
def test_the_solution_is_solved_and_the_learners_copy_is_not(source, tmp_path, capsys):
    needs_isolation()
    here = Workspace(ROOT)
    missing = lacking(here, source.lesson)
    assert missing == [], f"run: ai4diag course catch-up {source.lesson.id}"
    paths = []
    for copy in ("solution", "learner"):
        path = tmp_path / f"{source.lesson.id}_{copy}.ipynb"
        path.write_text(build.notebook(source, copy, here.catalogue, TITLES), encoding="utf-8")
        paths.append(path)
    allowed = check_file.Allowed(seconds=LONGEST_S, memory_gib=4, jobs=1)
    solution, learner = check_file.check(paths, here, allowed)
    with capsys.disabled():
        print(
            f"\n{source.lesson.id}: solution {solution.seconds:.0f} s, learner's copy {learner.seconds:.0f} s", end=""
        )
    assert (solution.state, solution.reason, solution.cells) == ("judged", "", ())
    assert unmet(solution) == []
    assert solution.solved
    assert learner.state == "judged", learner.reason
    assert learner.reason == ""
    assert [name for name, solved in states(learner).items() if solved] == []
