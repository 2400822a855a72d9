"""Whether the images that an annotation file lists have changed."""

import json
import os
import shutil
import time

import pytest

from detmake.data import image_digests
from detmake.data.annotated import Source
from detmake.data.formats import coco

NAMES = ["a.jpg", "b.PNG", "sub/ü 1.jpg"]


def listed_digest(annotations, folder, cache=None):
    return image_digests.listed_digest(Source("coco", annotations, folder), cache)


def annotate(folder, *names):
    file = folder / "_annotations.coco.json"
    images = [{"id": index, "file_name": name} for index, name in enumerate(names)]
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return file


@pytest.fixture
def folder(tmp_path):
    """A folder with three images, and with an annotation file that lists them."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    annotate(folder, *NAMES)
    return folder


@pytest.fixture
def digest(tmp_path, folder):
    """The digest of the folder's images, the same with a cache as without."""

    def digest():
        annotations = folder / "_annotations.coco.json"
        warm = listed_digest(annotations, folder, tmp_path / "cache")
        assert warm == listed_digest(annotations, folder)
        return warm

    return digest


def rewrite(path, content):
    time.sleep(0.05)  # longer than the kernel's clock tick, so that times differ
    path.write_bytes(content)


def test_it_changes_with_content_and_name_of_each_listed_image(folder, digest):
    first = digest()
    rewrite(folder / "a.jpg", b"A.jpg")  # of the same size
    changed = digest()
    (folder / "sub/ü 1.jpg").unlink()
    removed = digest()
    (folder / "b.PNG").rename(folder / "c.PNG")
    annotate(folder, "a.jpg", "c.PNG")
    renamed = digest()
    annotate(folder, "a.jpg")
    unlisted = digest()
    assert len({first, changed, removed, renamed, unlisted}) == 5

    (folder / "c.PNG").rename(folder / "b.PNG")
    rewrite(folder / "a.jpg", b"a.jpg")
    (folder / "sub/ü 1.jpg").write_bytes("sub/ü 1.jpg".encode())
    annotate(folder, *NAMES)
    assert digest() == first


def test_other_files_and_times_do_not_count(folder, digest):
    first = digest()
    os.utime(folder / "a.jpg")
    for name in ("more.jpg", "sub/more.jpg", "results/pictures/a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"more")
    assert digest() == first


def test_folders_without_listed_images_are_not_read(folder, monkeypatch):
    (folder / ".venv").mkdir()
    opened = []
    system_open = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: opened.append(path) or system_open(path, *rest)
    )
    listed_digest(folder / "_annotations.coco.json", folder)
    assert {os.path.relpath(path, folder) for path in opened} == {".", "sub"}


def test_names_that_no_image_can_have_count_as_absent(folder, digest):
    annotations = folder / "_annotations.coco.json"
    annotate(folder, *NAMES, "no/such.jpg", "a.jpg/b.jpg", "sub")
    absent = digest()
    annotations.write_text(
        annotations.read_text().replace("no/such", "\\u0000").replace("a.jpg/b", "\\ud800/b")
    )
    assert digest() == absent
    annotate(folder, *NAMES)
    assert digest() == absent


def test_an_annotation_file_elsewhere_lists_images_of_the_folder(tmp_path, folder, digest):
    (tmp_path / "annotations").mkdir()
    elsewhere = annotate(tmp_path / "annotations", *NAMES)
    assert listed_digest(elsewhere, folder) == digest()
    absolute = annotate(tmp_path / "annotations", str(folder / "a.jpg"))
    before = listed_digest(absolute, folder)
    rewrite(folder / "a.jpg", b"A.jpg")
    assert listed_digest(absolute, folder) != before


def test_names_of_windows_are_looked_up_at_each_call(folder, digest):
    (folder / "sub\\a.jpg").write_bytes(b"a")
    annotate(folder, "sub\\a.jpg")
    first = digest()
    (folder / "sub\\a.jpg").rename(folder / "sub/a.jpg")
    moved = digest()
    rewrite(folder / "sub/a.jpg", b"b")
    assert len({first, moved, digest()}) == 3


def test_a_change_that_keeps_size_and_time_is_seen(folder, digest):
    status = (folder / "a.jpg").stat()
    before = digest()
    rewrite(folder / "a.jpg", b"A.jpg")
    os.utime(folder / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest() != before


def test_without_a_change_neither_images_nor_annotations_are_read(
    tmp_path, folder, digest, monkeypatch
):
    first = digest()
    other = tmp_path / "other"
    other.mkdir()
    listed_digest(annotate(other), other, tmp_path / "cache")  # shares the cache

    def refuse(*_args):
        raise AssertionError("called")

    monkeypatch.setattr(image_digests, "sha256", refuse)
    monkeypatch.setattr(coco, "read_coco", refuse)
    annotations = folder / "_annotations.coco.json"
    assert listed_digest(annotations, folder, tmp_path / "cache") == first


def test_only_changed_images_are_hashed_again(tmp_path, folder, digest, monkeypatch):
    digest()
    rewrite(folder / "a.jpg", b"A.jpg")
    (folder / "c.jpg").write_bytes(b"c")
    (folder / "b.PNG").unlink()
    annotations = annotate(folder, *NAMES, "c.jpg")
    hashed = []
    sha256 = image_digests.sha256
    monkeypatch.setattr(
        image_digests, "sha256", lambda path: hashed.append(os.path.basename(path)) or sha256(path)
    )
    listed_digest(annotations, folder, tmp_path / "cache")
    assert sorted(hashed) == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize("details", ["", "[]", "null", '{"": 1}'])
def test_damaged_details_are_made_anew(tmp_path, folder, digest, details):
    digest()
    rewrite(folder / "a.jpg", b"A.jpg")
    for file in (tmp_path / "cache").iterdir():
        state, value, _ = file.read_text().splitlines()
        file.write_text(f"{state}\n{value}\n{details}\n")
    digest()


def test_links_count_as_the_images_behind_them(tmp_path, folder, digest):
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("a.jpg", "b.PNG", "sub"):
        (linked / name).symlink_to(folder / name)
    assert listed_digest(folder / "_annotations.coco.json", linked) == digest()


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [{"file_name": 1}]}'])
def test_annotations_that_cannot_be_read_list_no_images(tmp_path, folder, content):
    annotations = tmp_path / "faulty.json"
    annotations.write_text(content)
    nothing = listed_digest(annotate(tmp_path), folder)
    assert listed_digest(annotations, folder, tmp_path / "cache") == nothing


def test_without_annotations_or_folder_there_is_no_digest(tmp_path, folder):
    assert listed_digest(folder / "_annotations.coco.json", tmp_path / "none") is None
    assert listed_digest(folder / "none.json", folder) is None


def test_a_copy_has_the_same_digest(tmp_path, folder, digest):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert listed_digest(copy / "_annotations.coco.json", copy) == digest()


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (
            lambda folder: rewrite(folder / "a.jpg", b"A.jpg"),
            lambda folder: rewrite(folder / "a.jpg", b"a.jpg"),
        ),
        (
            lambda folder: (folder / "b.PNG").unlink(),
            lambda folder: (folder / "b.PNG").write_bytes(b"b.PNG"),
        ),
    ],
    ids=["changed", "removed"],
)
def test_images_that_the_build_made_count_while_they_differ(tmp_path, folder, change, undo):
    annotations, cache = folder / "_annotations.coco.json", tmp_path / "cache"
    image_digests.record_generated(annotations)
    assert image_digests.changed_images(Source("coco", annotations, folder), cache) is None
    change(folder)
    changed = image_digests.changed_images(Source("coco", annotations, folder), cache)
    assert changed is not None
    assert changed == listed_digest(annotations, folder)
    undo(folder)
    assert image_digests.changed_images(Source("coco", annotations, folder), cache) is None


def test_recording_adds_one_file_and_no_cache(tmp_path, folder, caplog):
    before = set(tmp_path.rglob("*"))
    image_digests.record_generated(folder / "_annotations.coco.json")
    assert set(tmp_path.rglob("*")) - before == {folder / "images.sha256"}
    assert not caplog.records


def test_images_of_a_users_folder_always_count(tmp_path, folder, digest):
    annotations = folder / "_annotations.coco.json"
    assert (
        image_digests.changed_images(Source("coco", annotations, folder), tmp_path / "cache")
        == digest()
    )


def test_images_that_are_yet_to_be_made_do_not_count(tmp_path):
    annotations = tmp_path / "none/_annotations.coco.json"
    assert (
        image_digests.changed_images(
            Source("coco", annotations, tmp_path / "none"), tmp_path / "cache"
        )
        is None
    )
