"""Downloads over a faulty connection, and digests in file names."""

import hashlib
import logging
import runpy
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from detmake.data import download as download_module
from detmake.data.download import download, verify_digest
from detmake.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "scripts"
BODY = bytes(range(256)) * 1024  # several blocks
REMEDY = "Do something else."

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
    """Send complete chunks, but not the empty one that ends the body."""
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
    """Answers each request with the next of `answers`, then repeats the last one."""

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
    monkeypatch.setattr(download_module, "WAIT_S", 0.0)
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("answer", [whole, whole_in_chunks])
def test_a_download_replaces_the_target(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.answers = [answer]
    target = tmp_path / "new" / "a.zip"
    download(server.url, target, REMEDY)
    target.write_bytes(b"an older file")
    download(server.url, target, REMEDY)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("fault", [half, half_in_chunks, status(503), status(429)])
def test_a_download_is_retried_after_a_transient_fault(
    server: Server, tmp_path: Path, fault: Answer
) -> None:
    server.answers = [fault, fault, whole]
    download(server.url, tmp_path / "a.zip", REMEDY)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.requests == 3


@pytest.mark.parametrize("fault", [half, half_in_chunks, status(503)])
def test_a_lasting_fault_leaves_no_file_and_a_later_call_succeeds(
    server: Server, tmp_path: Path, fault: Answer
) -> None:
    server.answers = [fault] * download_module.ATTEMPTS + [whole]
    target = tmp_path / "a.zip"
    with pytest.raises(InputError) as raised:
        download(server.url, target, REMEDY)
    for part in (server.url, REMEDY, f"attempt {download_module.ATTEMPTS}"):
        assert part in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    download(server.url, target, REMEDY)
    assert target.read_bytes() == BODY


def test_a_failed_download_keeps_the_earlier_file(server: Server, tmp_path: Path) -> None:
    server.answers = [half]
    (tmp_path / "a.zip").write_bytes(b"an older file")
    with pytest.raises(InputError):
        download(server.url, tmp_path / "a.zip", REMEDY)
    assert (tmp_path / "a.zip").read_bytes() == b"an older file"
    assert len(list(tmp_path.iterdir())) == 1


def test_not_found_is_not_retried(server: Server, tmp_path: Path) -> None:
    server.answers = [status(404), whole]
    with pytest.raises(InputError, match="404"):
        download(server.url, tmp_path / "a.zip", REMEDY)
    assert server.requests == 1
    assert list(tmp_path.iterdir()) == []


def test_a_stalled_download_times_out_and_is_retried(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_S", (1.0, 0.2))
    server.answers = [stall, whole]
    download(server.url, tmp_path / "a.zip", REMEDY)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.requests == 2


def test_a_refused_connection_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "WAIT_S", 0.0)
    with socket.socket() as bound:  # bound but not listening, so it refuses
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/a.zip"
        with pytest.raises(InputError, match="refused") as raised:
            download(url, tmp_path / "a.zip", REMEDY)
    assert url in str(raised.value)
    assert list(tmp_path.iterdir()) == []


# Digests in file names. The SHA-256 of "abc" is from FIPS 180-4, example B.1.


def test_a_file_must_match_the_digest_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "net_3x-coco_20200101-ba7816bf.pth"
    path.write_bytes(b"abc")
    verify_digest(path)
    path.write_bytes(b"abd")
    with pytest.raises(InputError) as raised:
        verify_digest(path)
    found = hashlib.sha256(b"abd").hexdigest()[:8]
    for part in (str(path), found, "ba7816bf", "Delete it", "by hand"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["net.pth", "net-ba7816b.pth", "net-ba7816bf8.pth", "net_ba7816bf.pth", "net-ba7816bf.zip"],
)
def test_a_name_without_a_digest_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"abc")
    with pytest.raises(InputError, match="no digest in the name") as raised:
        verify_digest(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


@pytest.fixture
def restored_logger() -> Iterator[None]:
    """Restore the logger, which a script sets up."""
    logger = logging.getLogger("detmake")
    state = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = state


def run_script(url: str, target: Path) -> str:
    """Run the script as Snakemake does; return its log if it fails, else an empty string."""
    log = target.with_suffix(".log")
    snakemake = SimpleNamespace(
        output=[str(target)], params=SimpleNamespace(url=url), log=[str(log)]
    )
    try:
        runpy.run_path(str(SCRIPTS / "download_pretrained.py"), {"snakemake": snakemake})
    except SystemExit as end:
        assert end.code == 1
        return log.read_text(encoding="utf-8")
    return ""


@pytest.mark.usefixtures("restored_logger")
def test_the_script_downloads_and_verifies_a_checkpoint(server: Server, tmp_path: Path) -> None:
    server.answers = [whole]
    target = tmp_path / f"net-{hashlib.sha256(BODY).hexdigest()[:8]}.pth"
    assert run_script(server.url, target) == ""
    assert target.read_bytes() == BODY
    assert "expected 00000000" in run_script(server.url, tmp_path / "net-00000000.pth")


@pytest.mark.usefixtures("restored_logger")
def test_the_script_says_what_to_do_if_a_download_fails(server: Server, tmp_path: Path) -> None:
    server.answers = [status(404)]
    target = tmp_path / "net-00000000.pth"
    message = run_script(server.url, target)
    for part in (server.url, "404", str(target), "by hand", "`pretrained: null`"):
        assert part in message
