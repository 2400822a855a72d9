"""Artifacts appear whole or not at all."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from detmake import artifacts


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def visible(folder):
    return [name for name in names(folder) if not name.startswith(".")]


def test_files_appear_when_the_block_ends(tmp_path):
    folder = tmp_path / "run" / "model"
    with artifacts.staged(folder) as scratch:
        (scratch / "model.xml").write_text("graph")
        (scratch / "model.bin").write_bytes(b"\0\1")
        assert visible(folder) == []
    assert names(folder) == ["model.bin", "model.xml"]
    assert (folder / "model.xml").read_text() == "graph"
    assert (folder / "model.bin").read_bytes() == b"\0\1"


def test_files_are_moved_within_one_file_system(tmp_path):
    with artifacts.staged(tmp_path / "model") as scratch:
        (scratch / "model.xml").write_text("graph")
        inode = (scratch / "model.xml").stat().st_ino
        assert scratch.is_relative_to(tmp_path / "model")
    assert (tmp_path / "model" / "model.xml").stat().st_ino == inode


def test_files_reach_a_folder_of_another_file_system(tmp_path, monkeypatch):
    replace = os.replace

    def replace_within(source, target):
        if Path(source).parent.parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_within)
    files = [tmp_path / "weights.pth", tmp_path / "logs/scalars.csv"]
    with artifacts.staged_files(files) as scratch:
        for file in files:
            (scratch / file.name).write_text(file.name)
    assert [file.read_text() for file in files] == ["weights.pth", "scalars.csv"]
    assert names(tmp_path) == ["logs", "weights.pth"]
    assert names(tmp_path / "logs") == ["scalars.csv"]


def test_a_linked_folder_is_emptied_and_stays(tmp_path):
    folder = tmp_path / "disk"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (folder / name).touch()
    (tmp_path / "link").symlink_to(folder)
    artifacts.empty(tmp_path / "link")
    artifacts.empty(tmp_path / "new")
    assert (names(folder), names(tmp_path)) == ([], ["disk", "link", "new"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_appears_when_the_block_raises(tmp_path, error):
    with pytest.raises(error), artifacts.staged(tmp_path / "model") as scratch:
        (scratch / "model.xml").write_text("half a graph")
        raise error
    assert names(tmp_path / "model") == []


def test_existing_files_are_replaced_when_the_block_ends(tmp_path):
    (tmp_path / "model.xml").write_text("old")
    (tmp_path / "other").write_text("other")
    with artifacts.staged(tmp_path) as scratch:
        (scratch / "model.xml").write_text("new")
        assert (tmp_path / "model.xml").read_text() == "old"
    assert (tmp_path / "model.xml").read_text() == "new"
    assert names(tmp_path) == ["model.xml", "other"]


def test_existing_files_are_kept_when_the_block_raises(tmp_path):
    (tmp_path / "model.xml").write_text("old")
    with pytest.raises(ValueError), artifacts.staged(tmp_path) as scratch:
        (scratch / "model.xml").write_text("new")
        raise ValueError
    assert (tmp_path / "model.xml").read_text() == "old"
    assert names(tmp_path) == ["model.xml"]


def test_json_is_readable_and_written_whole(tmp_path):
    path = tmp_path / "run" / "performance.json"
    artifacts.write_json(path, {"name": "Größe ×", "values": [1, 2.5, None]})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Größe ×", "values": [1, 2.5, None]}
    assert "Größe ×" in text
    assert text.endswith("}\n")

    with pytest.raises(TypeError):
        artifacts.write_json(path, {"name": object()})
    assert path.read_text(encoding="utf-8") == text
    assert names(path.parent) == ["performance.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_lacks_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "performance.json", {"mAP": value})
    assert names(tmp_path) == []


def test_label_schema_and_confidence_threshold_are_written(tmp_path):
    artifacts.write_label_schema(tmp_path / "label_schema.json", ["red", "white"])
    assert json.loads((tmp_path / "label_schema.json").read_text()) == {
        "labels": [{"id": 0, "name": "red"}, {"id": 1, "name": "white"}]
    }
    artifacts.write_confidence_threshold(tmp_path / "confidence_threshold", 0.325)
    assert (tmp_path / "confidence_threshold").read_text() == "0.325\n"
