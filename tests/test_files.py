"""Atomic writes and strict JSON."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ai4diag.errors import Ai4diagError, DataError, MachineError, did_you_mean
from ai4diag.files import (
    atomic_path,
    exclusive,
    read_json,
    sha256_file,
    sha256_json,
    write_bytes,
    write_json,
    write_text,
)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "weights"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["weights"]


def test_a_full_disk_is_explained_and_the_old_file_stays(tmp_path):
    """A file size limit of the process stands for the full disk: the same system call fails."""
    path = tmp_path / "estimates.json"
    write_text(path, "old")
    script = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        from ai4diag.errors import MachineError
        from ai4diag.files import write_bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_bytes(Path(sys.argv[1]), b"x" * 5000)
        except MachineError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "Cannot write" in done.stdout
    assert "untouched" in done.stdout
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["estimates.json"]


def test_a_folder_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(MachineError, match="Cannot write"):
        write_text(tmp_path / "out" / "report.html", "")


def test_json_is_strict_and_numpy_is_understood(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"b": [1.5, math.nan, math.inf], "a": np.float32(0.5), 3: np.arange(2)})
    assert read_json(path) == {"b": [1.5, None, None], "a": 0.5, "3": [0, 1]}
    assert path.read_text().index('"b"') < path.read_text().index('"a"')


def test_broken_and_missing_json_are_named(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(DataError, match="does not exist"):
        read_json(path)
    path.write_text('{"a": 1')
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(path)


def test_hashes_agree_with_hashlib_and_do_not_depend_on_key_order(tmp_path):
    content = os.urandom(100_000)
    write_bytes(tmp_path / "x", content)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})


def test_every_error_has_an_exit_code_of_its_own():
    kinds = Ai4diagError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


def test_did_you_mean_names_the_nearest_or_all():
    assert did_you_mean("retinanat", ["retinanet", "anchor_free"]) == "Did you mean 'retinanet'?"
    assert did_you_mean("qqq", ["b", "a"]) == "Known: a, b."
    assert did_you_mean("x", []) == ""


def test_a_lock_lets_one_process_in_and_dies_with_it(tmp_path):
    path = tmp_path / "out" / ".lock"
    script = (
        "import sys, time; from pathlib import Path; from ai4diag.files import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'x'): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "in\n"
        refusal = f"Process {holder.pid} is at work on breast-mass.*kill {holder.pid}"
        with pytest.raises(MachineError, match=refusal), exclusive(path, "breast-mass"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with exclusive(path, "breast-mass"):
        assert path.read_text() == str(os.getpid())
    with exclusive(path, "breast-mass"):
        pass


def test_a_lock_where_nothing_can_be_written_is_explained(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(MachineError, match="Cannot write"), exclusive(tmp_path / "out" / ".lock", "breast-mass"):
        pass
