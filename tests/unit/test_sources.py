"""Where a dataset's files lie, and whether its images changed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detmake.data import image_digests, sources
from detmake.errors import InputError

# The file of the OTX tutorial, word for word.
TUTORIAL_DATA_YAML = """\
  {'data': 
    {'train': 
      {'ann-files': '/home/<username>/training_extensions/BCCD/train/_annotations.coco.json',
       'data-roots': '/home/<username>/training_extensions/datasets/BCCD/train'},
    'val':
      {'ann-files': '/home/<username>/training_extensions/datasets/BCCD/valid/_annotations.coco.json',
       'data-roots': '/home/<username>/training_extensions/datasets/BCCD/valid'},
    'test':
      {'ann-files': '/home/<username>/training_extensions/datasets/BCCD/valid/_annotations.coco.json',
       'data-roots': '/home/<username>/training_extensions/datasets/BCCD/valid'}
    }
  }
"""  # noqa: E501


# --- locate ---------------------------------------------------------------------------------------


def test_locate_accepts_the_tutorials_data_yaml(tmp_path):
    (tmp_path / "data.yaml").write_text(TUTORIAL_DATA_YAML)
    otx = Path("/home/<username>/training_extensions")
    valid = otx / "datasets/BCCD/valid"
    assert sources.locate("data.yaml", tmp_path) == {
        "train": (otx / "BCCD/train/_annotations.coco.json", otx / "datasets/BCCD/train"),
        "val": (valid / "_annotations.coco.json", valid),
        "test": (valid / "_annotations.coco.json", valid),
    }


def test_relative_paths_count_from_the_data_yaml(tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/data.yaml").write_text(
        "train: {ann-files: a/train.json, data-roots: ../images}\nval: {ann-files: b/val.json}\n"
    )
    located = sources.locate(Path("sets/data.yaml"), tmp_path)
    assert located["train"] == (tmp_path / "sets/a/train.json", tmp_path / "sets/../images")
    assert located["val"] == (tmp_path / "sets/b/val.json", tmp_path / "sets/b")


def test_paths_of_a_mapping_count_from_base_and_val_serves_as_test():
    data = {
        "train": {"ann-files": "train.json", "data-roots": "/images"},
        "val": {"ann-files": "val/val.json"},
    }
    located = sources.locate(data, Path("base"))
    assert located["train"] == (Path("base/train.json"), Path("/images"))
    assert located["test"] == located["val"] == (Path("base/val/val.json"), Path("base/val"))
    assert list(located) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("existing", "folders"),
    [
        ([], ("train", "valid", "test")),  # made later, by a rule of the build
        (["train"], ("train", "valid", "test")),  # being made
        (["train/_annotations.coco.json", "valid", "test"], ("train", "valid", "test")),
        (["train/_annotations.coco.json", "val", "test"], ("train", "val", "test")),
        (["train/_annotations.coco.json", "val", "valid", "test"], ("train", "valid", "test")),
        (["train/_annotations.coco.json", "val"], ("train", "val", "val")),
        (["train/_annotations.coco.json", "valid"], ("train", "valid", "valid")),
    ],
)
def test_locate_takes_a_folder_in_the_tutorials_layout(tmp_path, existing, folders):
    for name in existing:
        path = tmp_path / "BCCD" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
    located = sources.locate(str(tmp_path / "BCCD"))
    expected = [tmp_path / "BCCD" / folder for folder in folders]
    assert [root for _, root in located.values()] == expected
    assert [file for file, _ in located.values()] == [
        folder / "_annotations.coco.json" for folder in expected
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {ann-files: a.json}", "lacks the key 'val'"),
        ("train: {ann-files: a.json}\nvalid: {ann-files: b.json}", "unknown key 'valid'"),
        ("train: {data-roots: a}\nval: {ann-files: b.json}", "train lacks the key 'ann-files'"),
        ("train: {ann-files: a, anns: b}\nval: {ann-files: b}", "train has the unknown key 'anns'"),
        ("train: ../train/images\nval: ../valid/images\nnc: 3", "unknown key 'nc'"),
        ("train: ../train/images\nval: ../valid/images", "train is '../train/images'"),
        ("train: {ann-files: }\nval: {ann-files: b.json}", "ann-files of train is None"),
        ("- a", "not a mapping"),
        ("{train: ", "not YAML"),
    ],
)
def test_a_faulty_data_yaml_is_refused(tmp_path, text, said):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        sources.locate(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_faulty_values_of_data_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.yaml: cannot be read"):
        sources.locate("data.yaml", tmp_path)
    with pytest.raises(InputError, match=r"key `data`.*unknown key 'nc'"):
        sources.locate({"train": {}, "val": {}, "nc": 3})
    (tmp_path / "coco.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"coco\.json: its content has the unknown key 'images'"):
        sources.locate("coco.json", tmp_path)
    with pytest.raises(InputError, match="key `data` is None"):
        sources.locate(None)


# --- folder_digest --------------------------------------------------------------------------------


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


# --- record_pristine, changed_images --------------------------------------------------------------


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


# --- import ---------------------------------------------------------------------------------------


def test_import_is_light():
    library = Path(sources.__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r}); "
        "import detmake.data.image_digests, detmake.data.sources; "
        "print(*{'PIL', 'cv2', 'numpy', 'requests', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
    assert done.stdout.split() == []
