"""What is wrong with a path of the configuration, and what is there instead."""

from pathlib import Path

import pytest

from detmake.named_paths import NamedPath


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/best.pth").touch()
    (tmp_path / "weights/.hidden").touch()
    return tmp_path


def mistake(path, *others, **changes):
    return NamedPath("weights", Path(path), "a snapshot", **changes).mistake(others)


def test_a_path_that_exists_is_right(folder):
    assert mistake("weights/best.pth") is None
    assert mistake(folder / "weights/best.pth") is None
    assert mistake("weights", is_folder=True) is None


def test_a_similar_name_is_suggested(folder):
    message = "weights: {} does not exist (did you mean {}?), expected a snapshot; {} holds {}"
    for path, meant, holder, there in [
        ("weights/bets.pth", "weights/best.pth", folder / "weights", "best.pth"),
        ("wieghts/best.pth", "weights", folder, "weights"),
        (f"{folder}/weigths", f"{folder}/weights", folder, "weights"),
    ]:
        assert mistake(path) == message.format(path, meant, holder, there)


def test_a_path_that_is_yet_to_be_made_is_suggested():
    assert "resources/celz does not exist (did you mean resources/cells?)" in mistake(
        "resources/celz", "resources/bccd", "resources/cells"
    )


def test_without_a_similar_name_the_message_says_what_is_there(folder):
    message = f"weights: weights/q does not exist, expected a snapshot; {folder}/weights holds"
    assert mistake("weights/q") == f"{message} best.pth"
    for index in range(9):
        (folder / f"weights/{index}.json").touch()
    assert mistake("weights/q") == f"{message} {', '.join(f'{i}.json' for i in range(8))}, …"
    (folder / "empty").mkdir()
    assert mistake("empty/1/2").endswith(f"{folder}/empty holds nothing")


def test_a_folder_is_no_file_and_a_file_no_folder():
    assert mistake("weights") == "weights: weights is a folder, expected a snapshot"
    path = "weights/best.pth"
    assert mistake(path, is_folder=True) == f"weights: {path} is a file, expected a snapshot"
    assert mistake(f"{path}/deeper").startswith(f"weights: {path}/deeper does not exist")
