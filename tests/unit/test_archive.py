"""Reading archives: complete, altered and damaged ones."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from detmake.data.archive import read_members
from detmake.errors import InputError

MEMBERS = {f"BCCD/x/{i}.txt": f"blood cell {i} ".encode() * 20 for i in range(3)}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in MEMBERS.items()}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"repository-0123abc/{name}", content)
    return buffer.getvalue()


def test_only_the_named_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({**MEMBERS, "../../escaped": b"x", "BCCD/other": b"y"}))
    assert read_members(path, DIGESTS) == MEMBERS
    assert list(tmp_path.iterdir()) == [path]


def test_altered_and_missing_members_are_named_and_counted(tmp_path: Path) -> None:
    flipped = bytearray(MEMBERS["BCCD/x/1.txt"])
    flipped[7] ^= 1
    path = tmp_path / "a.zip"
    # The zip's own CRC fits the altered content: only the digest can tell.
    path.write_bytes(
        zipped({"BCCD/x/0.txt": MEMBERS["BCCD/x/0.txt"], "BCCD/x/1.txt": bytes(flipped)})
    )
    with pytest.raises(InputError) as raised:
        read_members(path, DIGESTS)
    message = str(raised.value)
    assert "of 3 required members" in message
    assert "1 altered, first BCCD/x/1.txt" in message
    assert hashlib.sha256(flipped).hexdigest() in message
    assert DIGESTS["BCCD/x/1.txt"] in message
    assert "1 missing, first BCCD/x/2.txt" in message
    assert str(path) in message
    assert "`data`" in message


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_archive_is_refused(tmp_path: Path, keep: float) -> None:
    raw = zipped(MEMBERS)
    path = tmp_path / "a.zip"
    path.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(InputError, match="not a complete zip archive"):
        read_members(path, DIGESTS)


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_members(tmp_path / "a.zip", DIGESTS)


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_a_damaged_byte_is_harmless_or_the_archive_is_refused(tmp_path: Path, mask: int) -> None:
    raw = zipped({**MEMBERS, "µ": b""})  # damage can make this name invalid UTF-8
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
