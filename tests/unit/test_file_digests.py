"""The content of a file is read once, and again only when the file may have changed."""

import hashlib
import os
import time

import pytest

from detmake.data import file_digests
from detmake.data.file_digests import file_digest, remembered
from detmake.errors import InputError


def refuse(*_args):
    raise AssertionError("called")


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "mine.pth"
    file.write_bytes(b"a")
    return file


def test_the_digest_is_the_sha256_of_the_content(tmp_path, file):
    expected = hashlib.sha256(b"a").hexdigest()
    assert file_digest(file) == file_digest(file, tmp_path / "cache") == expected
    assert file_digest(tmp_path / "nowhere.pth", tmp_path / "cache") is None


def test_an_unchanged_file_is_not_read_again(tmp_path, file, monkeypatch):
    expected = file_digest(file, tmp_path / "cache")
    monkeypatch.setattr(file_digests, "sha256", refuse)
    assert file_digest(file, tmp_path / "cache") == expected


def older_file_moved_here(file):
    other = file.with_name("other")
    other.write_bytes(b"b")
    os.utime(other, ns=(0, 0))
    other.rename(file)


def same_size_and_time(file):
    status = file.stat()
    time.sleep(0.05)  # longer than the kernel's clock tick, so that change times differ
    file.write_bytes(b"b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def link_to_another_file(file):
    other = file.with_name("other")
    other.write_bytes(b"b")
    file.unlink()
    file.symlink_to(other)


@pytest.mark.parametrize(
    "change", [older_file_moved_here, same_size_and_time, link_to_another_file]
)
def test_a_replaced_file_is_seen(tmp_path, file, change):
    file_digest(file, tmp_path / "cache")
    change(file)
    assert file_digest(file, tmp_path / "cache") == hashlib.sha256(b"b").hexdigest()


def test_a_touched_file_keeps_its_digest(tmp_path, file):
    before = file_digest(file, tmp_path / "cache")
    os.utime(file)
    assert file_digest(file, tmp_path / "cache") == before


def test_a_file_that_cannot_be_read_is_named(tmp_path, file, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(file_digests, "sha256", denied)
    with pytest.raises(InputError, match=r"mine\.pth: cannot be read \(Permission denied\)"):
        file_digest(file, tmp_path / "cache")


def test_details_are_handed_on_when_the_state_changes(tmp_path):
    def compute(value, given):
        return lambda details: given.append(details) or (value, [value])

    given = []
    for state, value in [("a", 1), ("a", 2), ("b", 3)]:
        remembered(tmp_path, "something", state, compute(value, given))
    assert given == [None, [1]]
    assert remembered(tmp_path, "something", "b", refuse) == 3


@pytest.mark.parametrize("content", ["", "{", "a", "a\n", "a\n{", "other\n1", "other\n1\n{"])
def test_a_damaged_cache_is_made_anew(tmp_path, content):
    remembered(tmp_path, "something", "a", lambda _: (1, None))
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    file.write_text(content)
    assert remembered(tmp_path, "something", "a", lambda details: (1, details)) == 1
    assert file.read_text() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, file, caplog):
    assert file_digest(file, file / "cache") == file_digest(file)
    assert "cannot be written" in caplog.text
