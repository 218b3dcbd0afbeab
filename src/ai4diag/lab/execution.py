"""Run a pipeline from a notebook: the command `ai4diag run` in a process of its own, with a bar for each stage.

A process of its own gives its memory back, leaves MLflow and signals alone, and can be stopped: interrupting the kernel
stops it too, as Ctrl-C does in a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ai4diag.errors import Ai4diagError, GateError, kind_of_exit_code
from ai4diag.evaluation.report.words import counted
from ai4diag.lab.bar import Bar
from ai4diag.lab.shown import Run
from ai4diag.pipelines import records, told
from ai4diag.pipelines.workspace import Pipeline

LOOK_S = 0.2
"""Seconds between two looks at what the process says."""
PATIENCE_S = 60.0
"""Seconds that an interrupted run has to stop by itself."""
INTERRUPTED = (130, -signal.SIGINT)


def execute(pipeline: Pipeline) -> Run:
    """Run what is out of date of a pipeline, or all of a variant, and return the run.

    A release gate that is not met is no error here: the run says so.

    Raises:
        Ai4diagError: a stage failed; of the kind and with the words of the command.
        KeyboardInterrupt: the kernel was interrupted; the stage was stopped too.
    """
    command = f"ai4diag run {pipeline.words}"
    with tempfile.TemporaryDirectory(prefix="ai4diag-lab-") as folder:
        events, said = Path(folder) / "events.jsonl", Path(folder) / "said.txt"
        bars = _Bars(events, _brief(pipeline))
        code = _run(pipeline, events, said, bars)
        words = said.read_text(encoding="utf-8", errors="replace")
    bars.end("stopped" if code in INTERRUPTED else "failed" if code else "done" if bars.began else "all is up to date")
    if code in INTERRUPTED:
        again = f"Run the cell again, or `{command}` in a terminal"
        raise KeyboardInterrupt(
            f"`{command}` was stopped{bars.where}. {again}: what was finished stays, and training goes on from the "
            "latest checkpoint."
        )
    if code not in (0, GateError.exit_code):
        raise _error(code, command, words)
    return Run(records.find(pipeline.workspace, pipeline.words))


def _brief(pipeline: Pipeline) -> str:
    """Return the words for a bar, which is one line: what was changed is counted only."""
    plain = replace(pipeline, overrides=()).words
    return f"{plain} with {counted(len(pipeline.overrides), 'change')}" if pipeline.overrides else plain


def _run(pipeline: Pipeline, events: Path, said: Path, bars: _Bars) -> int:
    """Run the command; return its exit code. Whatever is raised here, it does not go on alone."""
    command = [sys.executable, "-m", "ai4diag", "run", *shlex.split(pipeline.words)]
    environment = os.environ | {told.FILE: str(events), "PYTHONUNBUFFERED": "1"}
    with said.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            cwd=pipeline.workspace.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt reaches it once, from here
        )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(LOOK_S)
                bars.look()
                return code
            bars.look()
    except KeyboardInterrupt:
        _stop(process, signal.SIGINT)
        bars.look()
        return INTERRUPTED[0]
    finally:
        _stop(process, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Ask the process and its stages to end, and make them when they do not; nothing when they have ended."""
    for wanted, patience in ((number, PATIENCE_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, wanted)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _error(code: int, command: str, said: str) -> Ai4diagError:
    """Return the error that the command ended with, in its words."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    at = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    own = lines[at[0] :] if at else lines[-5:]
    words = " ".join(line.removeprefix("error: ").strip() for line in own) or f"It ended with exit code {code}."
    return kind_of_exit_code(code)(f"`{command}` failed: {words}")


class _Bars:
    """One bar for each stage, drawn from what the stages tell."""

    def __init__(self, events: Path, words: str) -> None:
        self._events, self._words, self._read = events, words, 0
        self._bar: Bar | None = Bar(f"start {words}")
        self._stage = self._fold = ""
        self.began = self._steps = False

    @property
    def where(self) -> str:
        """In which stage it is, as words that follow a verb."""
        return f" in {self._stage}" if self._stage else ""

    def look(self) -> None:
        """Read what was told since the last look."""
        for line in self._lines():
            getattr(self, f"_on_{line['event']}")(line)

    def end(self, how: str) -> None:
        """End the bar that is open."""
        if self._bar is not None:
            self._bar.end(how)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._events.is_file():
            return
        with self._events.open("rb") as stream:
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):  # not yet whole
                    return
                self._read += len(line)
                yield json.loads(line)

    def _on_begin(self, line: dict[str, Any]) -> None:
        self.end("done")
        self._stage, self._fold, self.began, self._steps = line["stage"], "", True, False
        self._bar = Bar(f"{self._stage} {self._words}")

    def _on_end(self, line: dict[str, Any]) -> None:
        self.end(line["how"])
        self._stage = "" if line["how"] == "done" else self._stage

    def _on_fold(self, line: dict[str, Any]) -> None:
        self._fold = f"fold {line['fold']} of {line['folds']}" if line["folds"] > 1 else ""

    def _on_epoch(self, line: dict[str, Any]) -> None:
        loss = f", loss {line['loss']:.4g}" if "loss" in line else ""
        done, total = (None, None) if self._steps else (line["epoch"], line["epochs"])
        self._count(done, total, f"epoch {line['epoch']} of {line['epochs']}{loss}")

    def _on_resumed(self, line: dict[str, Any]) -> None:
        self._count(None, None, f"resumed after epoch {line['epoch']}")

    def _on_step(self, line: dict[str, Any]) -> None:
        self._steps = True
        self._count(line["step"], line["steps"], None)

    def _on_file(self, line: dict[str, Any]) -> None:
        self._count(line["done"], line["total"], "files")

    def _count(self, done: int | None, total: int | None, note: str | None) -> None:
        if self._bar is None:
            return
        note = None if note is None else ", ".join(word for word in (self._fold, note) if word)
        self._bar.update(self._bar.done if done is None else done, total=total, note=note)
