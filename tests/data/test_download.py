"""Downloads against a real HTTP server on the loopback, with everything that goes wrong on a real network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai4diag.data.download import ATTEMPTS, fetch
from ai4diag.errors import DataError, MachineError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; `breaks` transfers stop half-way, `ranges` says whether it can resume."""

    breaks = 0
    ranges = True
    shift = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Range"))
        if "missing" in self.path:
            self.send_error(404)
            return
        content = b"another file" if "wrong" in self.path else CONTENT
        start = 0
        if self.server.ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start + self.server.shift}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def address(server: Server, path: str = "file.bin") -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_transfer_gives_the_file_and_nothing_else(server: Server, tmp_path: Path) -> None:
    source = fetch([address(server)], SHA256, tmp_path / "deep" / "file.bin")
    assert source == address(server)
    assert (tmp_path / "deep" / "file.bin").read_bytes() == CONTENT
    assert only(tmp_path / "deep") == ["file.bin"]


def test_a_broken_transfer_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks = 1
    fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.breaks, server.ranges = 1, False
    fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_transfer_that_always_breaks_shows_no_file_and_a_later_call_resumes(server: Server, tmp_path: Path) -> None:
    server.breaks = ATTEMPTS
    with pytest.raises(DataError, match="broke off"):
        fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()
    assert all(name.startswith(".") and name.endswith(".part") for name in only(tmp_path))
    fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert server.asked[-1] is not None
    assert only(tmp_path) == ["file.bin"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_of_other_content_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".file.bin.{SHA256[:12]}.part").write_bytes(b"x" * 1000)
    fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".file.bin.{SHA256[:12]}.part").write_bytes(CONTENT + b"more")
    fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_resumes_elsewhere_is_not_believed(server: Server, tmp_path: Path) -> None:
    server.breaks, server.shift = 1, 7
    fetch([address(server)], SHA256, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_wrong_content_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"wrong content, sha256 [0-9a-f]{12}\.\.\., refused"):
        fetch([address(server, "wrong.bin")], SHA256, tmp_path / "file.bin")
    assert only(tmp_path) == []


def test_every_source_is_tried_and_named(server: Server, tmp_path: Path) -> None:
    sources = [
        str(tmp_path / "nowhere" / "file.bin"),
        address(server, "missing.bin"),
        address(server, "wrong.bin"),
        "http://127.0.0.1:9/file.bin",
        "file:///etc/hostname",
    ]
    with pytest.raises(DataError) as caught:
        fetch(sources, SHA256, tmp_path / "out" / "file.bin")
    text = str(caught.value)
    for source, reason in zip(sources, ["no such file", "404", "wrong content", "not reachable", "http"], strict=True):
        assert source in text
        assert reason in text
    assert "AI4DIAG_MIRROR" in text
    assert only(tmp_path / "out") == []


def test_a_later_source_serves_when_earlier_ones_fail(server: Server, tmp_path: Path) -> None:
    good = tmp_path / "mirror.bin"
    good.write_bytes(CONTENT)
    used = fetch([address(server, "wrong.bin"), str(good)], SHA256, tmp_path / "out" / "file.bin")
    assert used == str(good)
    assert (tmp_path / "out" / "file.bin").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_a_machine_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(MachineError, match="Cannot write"):
        fetch([address(server)], SHA256, tmp_path / "data" / "file.bin")


def test_an_earlier_file_stays_when_nothing_can_be_had(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"earlier")
    with pytest.raises(DataError):
        fetch([address(server, "wrong.bin")], SHA256, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == b"earlier"
