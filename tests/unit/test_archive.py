"""Tests of downloading over a faulty connection and of reading damaged archives."""

import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from detmake import archive
from detmake.archive import download, read_members
from detmake.errors import InputError

BODY = bytes(range(256)) * 1024  # several blocks
MEMBERS = {f"BCCD/x/{i}.txt": f"blood cell {i} ".encode() * 20 for i in range(3)}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in MEMBERS.items()}

Answer = Callable[[BaseHTTPRequestHandler], None]


def whole(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY)


def whole_in_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[: len(BODY) // 2])
    handler.close_connection = True


def half_in_chunks(handler: BaseHTTPRequestHandler) -> None:
    """Send whole chunks, but not the empty one that ends a body."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(BODY) // 2, BODY[: len(BODY) // 2]))
    handler.close_connection = True


def stall(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[:100])
    handler.wfile.flush()
    handler.rfile.read(1)  # until the client gives up
    handler.close_connection = True


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


class Server(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``, the last one again and again."""

    answers: list[Answer]
    requests: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/a.zip"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        answer = self.server.answers[min(self.server.requests, len(self.server.answers) - 1)]
        self.server.requests += 1
        answer(self)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(archive, "WAIT_S", 0.0)
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("answer", [whole, whole_in_chunks])
def test_download_replaces_the_target(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.answers = [answer]
    target = tmp_path / "new" / "a.zip"
    download(server.url, target)
    target.write_bytes(b"an older file")
    download(server.url, target)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("fault", [half, half_in_chunks, status(503), status(429)])
def test_transient_fault_is_tried_again(server: Server, tmp_path: Path, fault: Answer) -> None:
    server.answers = [fault, fault, whole]
    download(server.url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.requests == 3


@pytest.mark.parametrize("fault", [half, half_in_chunks, status(503)])
def test_lasting_fault_leaves_nothing_and_a_later_call_succeeds(
    server: Server, tmp_path: Path, fault: Answer
) -> None:
    server.answers = [fault] * archive.ATTEMPTS + [whole]
    target = tmp_path / "a.zip"
    with pytest.raises(InputError) as raised:
        download(server.url, target)
    for part in (server.url, str(target), "`data`", f"attempt {archive.ATTEMPTS}"):
        assert part in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    download(server.url, target)
    assert target.read_bytes() == BODY


def test_failure_leaves_an_earlier_file(server: Server, tmp_path: Path) -> None:
    server.answers = [half]
    (tmp_path / "a.zip").write_bytes(b"an older file")
    with pytest.raises(InputError):
        download(server.url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"an older file"
    assert len(list(tmp_path.iterdir())) == 1


def test_not_found_is_final(server: Server, tmp_path: Path) -> None:
    server.answers = [status(404), whole]
    with pytest.raises(InputError, match="404"):
        download(server.url, tmp_path / "a.zip")
    assert server.requests == 1
    assert list(tmp_path.iterdir()) == []


def test_stalled_server_times_out(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "TIMEOUT_S", (1.0, 0.2))
    server.answers = [stall, whole]
    download(server.url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.requests == 2


def test_connection_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(archive, "WAIT_S", 0.0)
    with socket.socket() as bound:  # bound and not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/a.zip"
        with pytest.raises(InputError, match="refused") as raised:
            download(url, tmp_path / "a.zip")
    assert url in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"repository-0123abc/{name}", content)
    return buffer.getvalue()


def test_reads_only_the_named_members(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({**MEMBERS, "../../escaped": b"x", "BCCD/other": b"y"}))
    assert read_members(path, DIGESTS) == MEMBERS
    assert list(tmp_path.iterdir()) == [path]


def test_altered_and_missing_members_are_named_and_counted(tmp_path: Path) -> None:
    flipped = bytearray(MEMBERS["BCCD/x/1.txt"])
    flipped[7] ^= 1
    path = tmp_path / "a.zip"
    # The zip's own CRC fits the altered content: the digest alone can tell.
    path.write_bytes(
        zipped({"BCCD/x/0.txt": MEMBERS["BCCD/x/0.txt"], "BCCD/x/1.txt": bytes(flipped)})
    )
    with pytest.raises(InputError) as raised:
        read_members(path, DIGESTS)
    message = str(raised.value)
    assert "of 3 members needed" in message
    assert "1 altered, first BCCD/x/1.txt" in message
    assert hashlib.sha256(flipped).hexdigest() in message
    assert DIGESTS["BCCD/x/1.txt"] in message
    assert "1 missing, first BCCD/x/2.txt" in message
    assert str(path) in message
    assert "`data`" in message


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_archive(tmp_path: Path, keep: float) -> None:
    raw = zipped(MEMBERS)
    path = tmp_path / "a.zip"
    path.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(InputError, match="not a whole zip archive"):
        read_members(path, DIGESTS)


def test_absent_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_members(tmp_path / "a.zip", DIGESTS)


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_any_damaged_byte_is_an_input_error_or_harmless(tmp_path: Path, mask: int) -> None:
    raw = zipped({**MEMBERS, "µ": b""})  # a name in UTF-8 can become one that is not
    path = tmp_path / "a.zip"
    refused = 0
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= mask
        path.write_bytes(damaged)
        try:
            assert read_members(path, DIGESTS) == MEMBERS
        except InputError:
            refused += 1
    assert refused > len(raw) // 2  # the rest are times, versions and attributes
