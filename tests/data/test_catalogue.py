from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai4diag.data import embedded
from ai4diag.data.catalogue import SUMS, Catalogue, get, state, verify
from ai4diag.errors import ConfigError, DataError
from tests.data.helpers import TOY_TABLE, sha256, toy_table, write_card, write_csv

CARDS = Path(__file__).parents[2] / "datasets"
MIRROR = os.environ.get("AI4DIAG_MIRROR", "")


def test_the_first_cards_are_there_and_valid() -> None:
    catalogue = Catalogue(CARDS)
    assert {"bccd", "heart_failure", "synthetic-smear", "uci_heart", "uci_parkinsons", "wdbc"} <= set(catalogue.names())
    for name in catalogue.names():
        card = catalogue.card(name)
        assert card.embedded or card.by_hand or len(card.all_files()) > 0
        assert card.citation
        assert card.pitfalls


def test_listing_needs_no_numpy() -> None:
    code = (
        "import sys; from pathlib import Path; from ai4diag.data.catalogue import Catalogue, state;"
        f"c = Catalogue(Path({str(CARDS)!r})); [state(c.card(n), Path('nowhere')) for n in c.names()];"
        "bad = {'numpy', 'pandas', 'scipy', 'sklearn', 'torch', 'PIL', 'mlflow', 'monai'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'uci_heart'"):
        Catalogue(CARDS).card("uci_hart")


def test_get_from_a_folder_mirror_verify_and_state(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    raw.rename(mirror / "toy")
    seen: list[str] = []
    assert state(card, tmp_path / "data") == "absent"
    folder = get(card, tmp_path / "data", str(mirror), lambda _, fields: seen.append(str(fields["path"])))
    assert seen == ["north.csv", "south.csv"]
    assert state(card, tmp_path / "data") == "present"
    verify(card, folder)
    (folder / "south.csv").unlink()
    assert state(card, tmp_path / "data") == "incomplete"
    with pytest.raises(DataError, match=r"south\.csv is missing.*ai4diag data get toy"):
        verify(card, folder)
    get(card, tmp_path / "data", str(mirror))
    assert state(card, tmp_path / "data") == "present"


def test_get_writes_nothing_where_all_is_there_so_that_shared_data_may_be_read_only(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    (tmp_path / "mirror").mkdir()
    raw.rename(tmp_path / "mirror" / "toy")
    folder = get(card, tmp_path / "data", str(tmp_path / "mirror"))
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}
    get(card, tmp_path / "data", None)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_one_flipped_bit_is_found_and_get_mends_it(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    (tmp_path / "mirror").mkdir()
    raw.rename(tmp_path / "mirror" / "toy")
    folder = get(card, tmp_path / "data", str(tmp_path / "mirror"))
    content = bytearray((folder / "north.csv").read_bytes())
    content[100] ^= 1
    (folder / "north.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"north\.csv is not what its card says"):
        verify(card, folder)
    get(card, tmp_path / "data", str(tmp_path / "mirror"))
    verify(card, folder)


def test_a_mirror_with_other_content_is_refused_and_the_folder_is_not_complete(tmp_path: Path) -> None:
    raw, card = toy_table(tmp_path)
    (tmp_path / "mirror").mkdir()
    raw.rename(tmp_path / "mirror" / "toy")
    write_csv(tmp_path / "mirror" / "toy" / "south.csv", [["p99-1", "50", "f", "200", "1"]])
    with pytest.raises(DataError, match=r"south\.csv could not be had.*wrong content"):
        get(card, tmp_path / "data", str(tmp_path / "mirror"))
    assert state(card, tmp_path / "data") == "incomplete"
    assert not (tmp_path / "data" / "toy" / "south.csv").exists()


def test_without_any_source_the_error_says_so(tmp_path: Path) -> None:
    _, card = toy_table(tmp_path)
    with pytest.raises(DataError, match=r"the card names no source.*AI4DIAG_MIRROR"):
        get(card, tmp_path / "data")


def test_a_mirror_may_be_an_address(tmp_path: Path) -> None:
    raw, _ = toy_table(tmp_path)
    (raw / "north.csv").rename(raw / "north 1.csv")
    table = {**TOY_TABLE["table"], "files": [{"path": "north 1.csv"}, {"path": "south.csv"}]}
    card = write_card(tmp_path / "cards", raw, **{**TOY_TABLE, "table": table})
    (tmp_path / "mirror").mkdir()
    raw.rename(tmp_path / "mirror" / "toy")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        folder = get(card, tmp_path / "data", f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
        thread.join()
    verify(card, folder)


def test_files_beside_the_card_come_from_there(tmp_path: Path) -> None:
    raw, _ = toy_table(tmp_path)
    cards = tmp_path / "cards"
    (cards / "toy.split.csv").write_text("case_id,part\n", encoding="utf-8")
    listed = [{"path": "toy.split.csv", "sha256": sha256(cards / "toy.split.csv"), "beside_card": True}]
    card = write_card(cards, raw, **{**TOY_TABLE, "files": listed})
    folder = get(card, tmp_path / "data")
    assert (folder / "toy.split.csv").read_text(encoding="utf-8") == "case_id,part\n"


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    raw, _ = toy_table(tmp_path)
    cards = tmp_path / "cards"
    manifest = cards / "toy.sha256"
    manifest.write_text("".join(f"{sha256(path)}  {path.name}\n" for path in sorted(raw.iterdir())), encoding="utf-8")
    values = {**TOY_TABLE, "files": [], "manifest": {"path": "toy.sha256", "sha256": sha256(manifest)}}
    card = write_card(cards, raw, **values)
    assert [file.path for file in card.all_files()] == ["north.csv", "south.csv"]
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("north", "earth"), encoding="utf-8")
    with pytest.raises(DataError, match="manifest"):
        card.all_files()


def test_wdbc_is_made_from_scikit_learn_with_the_checksum_of_the_card(tmp_path: Path) -> None:
    card = Catalogue(CARDS).card("wdbc")
    folder = get(card, tmp_path)
    verify(card, folder)
    lines = (folder / "wdbc.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 570
    assert sum(line.endswith(",malignant") for line in lines) == 212
    assert state(card, tmp_path) == "present"


def test_an_embedded_data_set_that_was_damaged_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedded.MAKERS, "smear", lambda folder: embedded.make_smears(folder, 2, 1))
    card = Catalogue(CARDS).card("synthetic-smear")
    folder = get(card, tmp_path)
    before = (folder / SUMS).read_bytes()
    (folder / "cases.csv").write_text("damaged", encoding="utf-8")
    with pytest.raises(DataError, match=r"cases\.csv"):
        verify(card, folder)
    get(card, tmp_path)
    verify(card, folder)
    assert (folder / SUMS).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic-smear"]


@pytest.mark.skipif(not MIRROR, reason="AI4DIAG_MIRROR is not set")
@pytest.mark.parametrize("name", ["bccd", "heart_failure", "uci_heart", "uci_parkinsons"])
def test_the_mirror_holds_what_the_cards_say(name: str, tmp_path: Path) -> None:
    card = Catalogue(CARDS).card(name)
    verify(card, get(card, tmp_path, MIRROR))
