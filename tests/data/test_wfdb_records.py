"""The WFDB reader against wfdb.rdsamp, against bytes decoded by hand, and against files that lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ai4diag.data.problems import ReadError
from ai4diag.data.readers.wfdb_annotations import read_annotations
from ai4diag.data.readers.wfdb_records import read_record
from tests.data.signal_helpers import drawn, write_beats, write_leads, write_record


def test_physical_units_are_those_of_rdsamp(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_leads(tmp_path, "r1", rng.normal(size=(500, 3)), ["I", "II", "V1"], rate=500)
    found = read_record(tmp_path / "r1")
    expected, fields = wfdb.rdsamp(str(tmp_path / "r1"))
    np.testing.assert_allclose(found.signals, expected.T, atol=1e-6)
    assert (found.sample_rate_hz, found.channels, found.units) == (fields["fs"], ("I", "II", "V1"), ("mV",) * 3)


def test_channels_by_name_and_position_keep_the_order_asked_for(tmp_path: Path) -> None:
    write_leads(tmp_path, "r1", np.arange(30.0).reshape(10, 3) / 10, ["I", "II", "V1"])
    found = read_record(tmp_path / "r1", channels=["V1", 0])
    assert found.channels == ("V1", "I")
    np.testing.assert_allclose(found.signals[:, 0], [0.2, 0.0], atol=1e-3)


def test_format_212_equals_bytes_decoded_by_hand(mirror: str) -> None:
    folder = Path(mirror) / "mitbih_pvc_subset"
    raw = np.fromfile(folder / "114.dat", np.uint8).astype(np.int64).reshape(-1, 3)
    pairs = np.stack([raw[:, 0] | (raw[:, 1] & 0x0F) << 8, raw[:, 2] | (raw[:, 1] & 0xF0) << 4], axis=1).ravel()
    values = np.where(pairs > 2047, pairs - 4096, pairs)
    found = read_record(folder / "114", channels=[0])
    np.testing.assert_allclose(found.signals[0], (values[:650000] - 1024) / 200, atol=1e-6)
    assert (found.sample_rate_hz, found.channels) == (360, ("V5",))


def test_annotations_are_those_of_rdann(mirror: str) -> None:
    for name in ("114", "200"):
        path = Path(mirror) / "mitbih_pvc_subset" / name
        found, expected = read_annotations(path, "pvc"), wfdb.rdann(str(path), "pvc")
        assert found.samples.tolist() == expected.sample.tolist()
        assert list(found.symbols) == expected.symbol
        assert found.rate_hz in (None, expected.fs)


def test_missing_samples_are_nan(tmp_path: Path) -> None:
    signal = np.zeros(100)
    signal[20:30] = np.nan
    write_record(tmp_path, "r1", signal)
    assert np.flatnonzero(np.isnan(read_record(tmp_path / "r1").signals[0])).tolist() == list(range(20, 30))


def test_annotations_come_back_as_written(tmp_path: Path) -> None:
    signal, samples, symbols = drawn(0, 10)
    write_record(tmp_path, "r1", signal)
    write_beats(tmp_path, "r1", samples, symbols)
    found = read_annotations(tmp_path / "r1", "atr")
    assert found.samples.tolist() == samples.tolist()
    assert (list(found.symbols), found.rate_hz) == (symbols, 250)


def test_texts_long_gaps_and_own_symbols_are_those_of_rdann(tmp_path: Path) -> None:
    written = {"sample": np.array([5, 700, 90_000, 5_000_000]), "symbol": ["N", "+", "V", "x"]}
    notes = ["", "(AFIB", "an odd text", ""]
    places = {"chan": np.array([0, 1, 0, 2]), "subtype": np.array([0, 3, 0, 1]), "num": np.array([1, 0, 2, 0])}
    wfdb.wrann("r1", "atr", **written, aux_note=notes, **places, write_dir=str(tmp_path))
    found, expected = read_annotations(tmp_path / "r1", "atr"), wfdb.rdann(str(tmp_path / "r1"), "atr")
    assert found.samples.tolist() == expected.sample.tolist() == written["sample"].tolist()
    assert list(found.symbols) == expected.symbol == written["symbol"]
    assert found.rate_hz is None
    own = [(40, "%", "noise of a pump")]
    wfdb.wrann("r2", "atr", np.array([9]), symbol=["%"], custom_labels=own, write_dir=str(tmp_path), fs=128)
    found = read_annotations(tmp_path / "r2", "atr")
    assert (found.samples.tolist(), found.symbols, found.rate_hz) == ([9], ("%",), 128)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("r1.dat", "../secret.dat"), "a file beside the header|invalid syntax"),
        (lambda text: text.replace("r1.dat", "/etc/passwd"), "a file beside the header|invalid syntax"),
        (lambda text: text.replace("r1.dat", "r2.dat"), "which is missing"),
        (lambda text: text.replace(" 100\n", " 900\n"), "200 bytes; expected at least 1800"),
        (lambda text: text.replace("r1 1 250 100", "r1 1 0 100"), "sampling rate"),
        (lambda text: text.replace("r1 1 250 100", "r1 0 250 0"), "0 signals"),
        (lambda text: "this is no header\n", "header"),
        (lambda text: "", "header"),
        (lambda text: "r1/2 1 250 100\nr1a 50\nr1b 50\n", "several segments"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, change, words: str) -> None:
    write_record(tmp_path, "r1", np.linspace(-1, 1, 100))
    for part in ("a", "b"):
        write_record(tmp_path, f"r1{part}", np.zeros(50))
    header = tmp_path / "r1.hea"
    text = header.read_text()
    assert change(text) != text
    header.write_text(change(text))
    with pytest.raises(ReadError, match=words):
        read_record(tmp_path / "r1")


def test_damaged_files_are_read_errors_and_nothing_else(tmp_path: Path) -> None:
    signal, samples, symbols = drawn(0, 20)
    write_record(tmp_path / "good", "r1", signal)
    write_beats(tmp_path / "good", "r1", samples, symbols)
    rng = np.random.default_rng(1)
    for trial in range(60):
        folder = tmp_path / f"bad{trial}"
        shutil.copytree(tmp_path / "good", folder)
        path = folder / ("r1.hea", "r1.atr")[trial % 2]
        content = bytearray(path.read_bytes())
        for place in rng.integers(0, len(content), 3):
            content[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(content[: int(rng.integers(1, len(content) + 1))]))
        for read in (lambda f=folder: read_record(f / "r1"), lambda f=folder: read_annotations(f / "r1", "atr")):
            try:
                read()
            except ReadError:
                continue


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_record(tmp_path, "r1", np.linspace(-1, 1, 100))
    with pytest.raises(ReadError, match=r"r9\.hea: found no such file"):
        read_record(tmp_path / "r9")
    with pytest.raises(ReadError, match=r"r1\.atr: found no such file"):
        read_annotations(tmp_path / "r1", "atr")
    with pytest.raises(ReadError, match="Did you mean 'MLII'"):
        read_record(tmp_path / "r1", channels=["MLI"])
    with pytest.raises(ReadError, match="position 1"):
        read_record(tmp_path / "r1", channels=[1])
