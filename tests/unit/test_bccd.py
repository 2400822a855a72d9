"""BCCD: its archive is verified, and each subset is written in COCO format."""

import csv
import hashlib
import json
import os
import threading
import zipfile
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from detmake.data.bccd import verify, write_subset
from detmake.data.download import download
from detmake.data.sources import ANNOTATION_FILE
from detmake.errors import InputError

MANIFEST = Path(__file__).parents[2] / "rules/bccd.csv"
SIZES = {"train": 255, "valid": 73, "test": 36}


def voc(*objects: tuple[str, int, int, int, int]) -> bytes:
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax in objects
    )
    size = "<size><width>640</width><height>480</height></size>"
    return f"<annotation>{size}{boxes}</annotation>".encode()


IMAGES = {"train": ["c", "a"], "test": ["b"]}
VOC = {
    "a": voc(("RBC", 0, 0, 5, 5)),
    "b": voc(("WBC", 10, 20, 40, 60)),
    "c": voc(("Platelets", 1, 1, 2, 2), ("RBC", 7, 7, 7, 7)),
}


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """An archive of three images and its manifest."""
    archive, manifest = tmp_path / "small.zip", tmp_path / "small.csv"
    rows = ["subset,name,image_sha256,annotation_sha256"]
    with zipfile.ZipFile(archive, "w") as file:
        for subset, names in IMAGES.items():
            for name in names:
                image = f"image {name}".encode()
                file.writestr(f"top/BCCD/JPEGImages/{name}.jpg", image)
                file.writestr(f"top/BCCD/Annotations/{name}.xml", VOC[name])
                digests = (hashlib.sha256(x).hexdigest() for x in (image, VOC[name]))
                rows.append(",".join((subset, name, *digests)))
    manifest.write_text("\n".join(rows) + "\n")
    return archive, manifest


def test_a_subset_has_its_own_images_and_the_classes_of_all_subsets(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "train"
    write_subset(*small, "train", folder)
    write_subset(*small, "train", folder)
    coco = json.loads((folder / ANNOTATION_FILE).read_text())
    assert [c["name"] for c in coco["categories"]] == ["cells", "Platelets", "RBC", "WBC"]
    assert [image["file_name"] for image in coco["images"]] == ["c.jpg", "a.jpg"]
    boxes = [(b["image_id"], b["category_id"], b["bbox"]) for b in coco["annotations"]]
    assert boxes == [(0, 1, [1, 1, 1, 1]), (0, 2, [7, 7, 0, 0]), (1, 2, [0, 0, 5, 5])]
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".jpg"} == {
        "a.jpg": b"image a",
        "c.jpg": b"image c",
    }
    assert [p.name for p in folder.parent.iterdir()] == ["train"]


def test_an_altered_image_is_refused_and_nothing_is_written(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    archive, manifest = small
    archive.write_bytes(archive.read_bytes().replace(b"image a", b"image A"))
    with pytest.raises(InputError, match=r"BCCD/JPEGImages/a\.jpg"):
        write_subset(archive, manifest, "train", tmp_path / "data" / "train")
    assert not (tmp_path / "data").exists()


def test_a_full_disk_leaves_the_folder_unchanged(
    small: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    (folder / ANNOTATION_FILE).write_text("{}")
    write_bytes = Path.write_bytes

    def fail_at_second_image(self: Path, data: bytes) -> int:
        if self.name == "a.jpg":
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail_at_second_image)
    with pytest.raises(OSError, match="No space left"):
        write_subset(*small, "train", folder)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {ANNOTATION_FILE: "{}"}
    assert list(folder.parent.iterdir()) == [folder]


def test_an_interrupted_move_leaves_no_annotation_file(
    small: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "train"
    write_subset(*small, "train", folder)

    def fail_at_second_image(source: Path, target: Path) -> None:
        if target.name == "a.jpg":
            raise OSError(5, "Input/output error")
        source.rename(target)

    monkeypatch.setattr(os, "replace", fail_at_second_image)
    with pytest.raises(OSError, match="Input/output"):
        write_subset(*small, "train", folder)
    assert not (folder / ANNOTATION_FILE).exists()


def test_an_unknown_subset_is_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no subset 'val'; found: test, train"):
        write_subset(*small, "val", tmp_path / "val")


def test_a_manifest_with_missing_columns_is_refused(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("subset,name\ntrain,a\n")
    with pytest.raises(InputError, match="image_sha256") as raised:
        verify(small[0], manifest)
    assert str(manifest) in str(raised.value)


@pytest.mark.parametrize("content", [b"image b", VOC["b"]])
def test_an_altered_image_or_annotation_is_refused(
    small: tuple[Path, Path], content: bytes
) -> None:
    archive, manifest = small
    verify(archive, manifest)
    raw = archive.read_bytes()
    assert raw.count(content) == 1
    archive.write_bytes(raw.replace(content, content.swapcase()))
    with pytest.raises(InputError, match="of 6 required members, 1 altered"):
        verify(archive, manifest)


def test_the_manifest_has_the_split_of_the_tutorial() -> None:
    with MANIFEST.open(newline="") as file:
        subsets = {row["name"]: row["subset"] for row in csv.DictReader(file)}
    assert Counter(subsets.values()) == SIZES
    assert len(MANIFEST.read_text().splitlines()) == sum(SIZES.values()) + 1


@pytest.fixture(scope="module")
def bccd() -> Path:
    folder = os.environ.get("DETMAKE_BCCD")
    if not folder:
        pytest.skip("DETMAKE_BCCD is not set; it names a folder with BCCD in COCO format")
    if not (Path(folder).parent / "bccd-voc-archive.zip").exists():
        pytest.skip("no bccd-voc-archive.zip beside the folder DETMAKE_BCCD")
    return Path(folder)


@pytest.fixture(scope="module")
def bccd_archive(bccd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of BCCD, fetched from a local server."""
    handler = partial(SimpleHTTPRequestHandler, directory=bccd.parent)
    target = tmp_path_factory.mktemp("bccd") / "bccd.zip"
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        patch.setenv("NO_PROXY", "127.0.0.1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            download(f"http://127.0.0.1:{server.server_port}/bccd-voc-archive.zip", target, "")
        finally:
            server.shutdown()
    return target


@pytest.mark.parametrize("subset", SIZES)
def test_a_converted_subset_equals_the_one_of_the_tutorial(
    subset: str, bccd: Path, bccd_archive: Path, tmp_path: Path
) -> None:
    verify(bccd_archive, MANIFEST)
    write_subset(bccd_archive, MANIFEST, subset, tmp_path / subset)
    converted = json.loads((tmp_path / subset / ANNOTATION_FILE).read_text())
    published = json.loads((bccd / subset / ANNOTATION_FILE).read_text())

    def boxes(coco: dict) -> list[tuple]:
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        return [
            (names[box["image_id"]], box["category_id"], *box["bbox"], box["area"], box["iscrowd"])
            for box in coco["annotations"]
        ]

    def sizes(coco: dict) -> list[tuple]:
        return [(image["file_name"], image["width"], image["height"]) for image in coco["images"]]

    assert converted["categories"] == published["categories"]
    assert sizes(converted) == sizes(published)
    assert boxes(converted) == boxes(published)
    assert len(boxes(converted)) == {"train": 3450, "valid": 967, "test": 471}[subset]
    for name, _, _ in sizes(converted):
        assert (tmp_path / subset / name).read_bytes() == (bccd / subset / name).read_bytes()
