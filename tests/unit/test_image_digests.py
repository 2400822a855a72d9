"""Whether the images in a folder have changed."""

import os
import shutil
import time
from pathlib import Path

import pytest

from detmake.data import image_digests


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.PNG", "sub/ü 1.jpg"):
        (folder / name).write_bytes(name.encode())
    return folder


def rewrite(path, content):
    time.sleep(0.05)  # longer than the kernel's clock tick, so that times differ
    path.write_bytes(content)


def test_digest_tells_changes_of_images_from_the_rest(tmp_path, folder):
    cache = tmp_path / "cache"
    digests = []

    def digest():
        warm = image_digests.folder_digest(folder, cache)
        assert warm == image_digests.folder_digest(folder, tmp_path / f"fresh{len(digests)}")
        digests.append(warm)
        return warm

    first = digest()
    os.utime(folder / "a.jpg")
    (folder / "_annotations.coco.json").touch()
    assert digest() == first

    rewrite(folder / "a.jpg", b"A.jpg")  # of the same size
    changed = digest()
    (folder / "c.jpg").write_bytes(b"c")
    added = digest()
    (folder / "c.jpg").rename(folder / "d.jpg")
    renamed = digest()
    (folder / "sub/ü 1.jpg").rename(folder / "ü 1.jpg")
    moved = digest()
    (folder / "ü 1.jpg").unlink()
    removed = digest()
    assert len({first, changed, added, renamed, moved, removed}) == 6

    (folder / "d.jpg").unlink()
    rewrite(folder / "a.jpg", b"a.jpg")
    (folder / "sub/ü 1.jpg").write_bytes("sub/ü 1.jpg".encode())
    assert digest() == first


def test_digest_sees_a_change_that_keeps_size_and_time(tmp_path, folder):
    cache = tmp_path / "cache"
    status = (folder / "a.jpg").stat()
    before = image_digests.folder_digest(folder, cache)
    rewrite(folder / "a.jpg", b"A.jpg")
    os.utime(folder / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert image_digests.folder_digest(folder, cache) != before


def test_a_warm_digest_reads_no_image_and_writes_no_cache(tmp_path, folder, monkeypatch):
    cache = tmp_path / "cache"
    first = image_digests.folder_digest(folder, cache)
    other = tmp_path / "other"
    other.mkdir()
    image_digests.folder_digest(other, cache)  # shares the cache

    def refuse(*_args):
        raise AssertionError("called")

    monkeypatch.setattr(image_digests, "_hash_file", refuse)
    monkeypatch.setattr(image_digests, "write_text", refuse)
    assert image_digests.folder_digest(folder, cache) == first


def test_a_warm_digest_reads_one_line_of_the_cache(tmp_path, folder):
    cache = tmp_path / "cache"
    first = image_digests.folder_digest(folder, cache)
    (file,) = cache.iterdir()
    line = file.read_text().splitlines(keepends=True)[0]
    file.write_text(line + "damaged")
    assert image_digests.folder_digest(folder, cache) == first
    assert file.read_text() == line + "damaged"


def test_only_what_changed_is_hashed_again(tmp_path, folder, monkeypatch):
    cache = tmp_path / "cache"
    image_digests.folder_digest(folder, cache)
    rewrite(folder / "a.jpg", b"A.jpg")
    (folder / "c.jpg").write_bytes(b"c")
    (folder / "b.PNG").unlink()
    hashed = []
    hash_file = image_digests._hash_file
    monkeypatch.setattr(
        image_digests, "_hash_file", lambda path: hashed.append(Path(path).name) or hash_file(path)
    )
    image_digests.folder_digest(folder, cache)
    assert sorted(hashed) == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "FIRST", "FIRST[]", "FIRSTnull", 'FIRST{"": 1}', "CUT\n{}\n"],
)
def test_a_damaged_cache_is_made_anew(tmp_path, folder, content):
    cache = tmp_path / "cache"
    expected = image_digests.folder_digest(folder, cache)
    (file,) = cache.iterdir()
    whole = file.read_text()
    state, digest = whole.splitlines()[0].split()
    other = f"{'0' * 64} {digest}\n"
    file.write_text(content.replace("FIRST", other).replace("CUT", f"{state} {digest[:-1]}"))
    assert image_digests.folder_digest(folder, cache) == expected
    assert file.read_text() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, folder, caplog):
    (tmp_path / "file").touch()
    expected = image_digests.folder_digest(folder, tmp_path / "cache")
    assert image_digests.folder_digest(folder, tmp_path / "file/cache") == expected
    assert "cannot be written" in caplog.text


def test_digest_follows_links_but_not_in_circles(tmp_path, folder):
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("a.jpg", "b.PNG", "sub"):
        (linked / name).symlink_to(folder / name)
    plain = image_digests.folder_digest(folder, tmp_path / "cache")
    assert image_digests.folder_digest(linked, tmp_path / "cache") == plain
    (folder / "sub/up").symlink_to(folder)
    (folder / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert image_digests.folder_digest(folder, tmp_path / "cache") == plain


def test_the_digest_of_a_folder_that_does_not_exist_is_none(tmp_path):
    assert image_digests.folder_digest(tmp_path / "none", tmp_path / "cache") is None


def test_a_copy_has_the_same_digest(tmp_path, folder):
    cache = tmp_path / "cache"
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert image_digests.folder_digest(copy, cache) == image_digests.folder_digest(folder, cache)


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (
            lambda folder: rewrite(folder / "a.jpg", b"A.jpg"),
            lambda folder: rewrite(folder / "a.jpg", b"a.jpg"),
        ),
        (
            lambda folder: (folder / "c.jpg").write_bytes(b"c"),
            lambda folder: (folder / "c.jpg").unlink(),
        ),
        (
            lambda folder: (folder / "b.PNG").unlink(),
            lambda folder: (folder / "b.PNG").write_bytes(b"b.PNG"),
        ),
    ],
    ids=["changed", "added", "removed"],
)
def test_images_that_the_build_made_count_while_they_differ(tmp_path, folder, change, undo):
    cache = tmp_path / "cache"
    image_digests.record_generated(folder)
    assert image_digests.changed_images(folder, cache) is None
    change(folder)
    changed = image_digests.changed_images(folder, cache)
    assert changed is not None
    assert changed == image_digests.folder_digest(folder)
    undo(folder)
    assert image_digests.changed_images(folder, cache) is None


def test_recording_adds_one_file_and_no_cache(tmp_path, folder, caplog):
    before = set(tmp_path.rglob("*"))
    image_digests.record_generated(folder)
    assert set(tmp_path.rglob("*")) - before == {folder / "images.sha256"}
    assert not caplog.records


def test_images_of_a_users_folder_always_count(tmp_path, folder):
    cache = tmp_path / "cache"
    assert image_digests.changed_images(folder, cache) == image_digests.folder_digest(folder)


def test_images_that_are_yet_to_be_made_do_not_count(tmp_path):
    assert image_digests.changed_images(tmp_path / "none", tmp_path / "cache") is None
