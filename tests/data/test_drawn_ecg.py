"""Drawn electrocardiograms: files that wfdb reads, the same bytes every time, diseases where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from ai4diag.data.drawn_ecg import LATERAL, LEADS, STATEMENTS, draw_ecg, write_drawn
from ai4diag.data.embedded import make_ecgs


def test_wfdb_reads_what_was_drawn(tmp_path: Path) -> None:
    ecg = draw_ecg(["LVH"], np.random.default_rng(1))
    assert write_drawn(tmp_path, "r1", ecg) == ["r1.hea", "r1.dat"]
    found = wfdb.rdrecord(str(tmp_path / "r1"), physical=False)
    np.testing.assert_array_equal(found.d_signal, ecg.samples)
    assert (found.fs, found.sig_name, set(found.units)) == (100, list(LEADS), {"mV"})
    checksums = [(value + 2**15) % 2**16 - 2**15 for value in found.calc_checksum()]
    assert found.checksum == checksums


def test_the_layout_is_that_of_ptb_xl_and_repeats_to_the_byte(tmp_path: Path) -> None:
    paths = make_ecgs(tmp_path / "a", 12)
    make_ecgs(tmp_path / "b", 12)
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in paths)
    table = pd.read_csv(tmp_path / "a" / "ptbxl_database.csv")
    assert len(table) == 15
    assert table.groupby("patient_id")["strat_fold"].nunique().max() == 1
    assert all((tmp_path / "a" / f"{path}.dat").is_file() for path in table["filename_lr"])
    groups = pd.read_csv(tmp_path / "a" / "scp_statements.csv", index_col=0)["diagnostic_class"].dropna()
    assert groups.to_dict() == STATEMENTS


@pytest.mark.parametrize("seed", range(5))
def test_diseases_change_their_own_leads(seed: int) -> None:
    def peaks(*codes: str) -> tuple[np.ndarray, np.ndarray]:
        samples = draw_ecg(list(codes), np.random.default_rng(seed)).samples / 1000
        return samples.max(axis=0), samples.min(axis=0)

    (high, low), (large, deep) = peaks("NORM"), peaks("LVH")
    tall, unchanged = [LEADS.index(name) for name in ("V5", "V6", "AVL")], LEADS.index("II")
    assert (large[tall] > high[tall] + 0.4).all()
    assert abs(large[unchanged] - high[unchanged]) < 0.05
    assert (deep[6:8] < low[6:8] - 0.3).all()
    healthy = draw_ecg(["NORM"], np.random.default_rng(seed)).samples[:, list(LATERAL)]
    turned = draw_ecg(["NST_"], np.random.default_rng(seed)).samples[:, list(LATERAL)]
    assert (turned.mean(axis=0) < healthy.mean(axis=0)).all()
