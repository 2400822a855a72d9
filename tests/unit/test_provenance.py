"""What results were made from is written beside them, and read where it is not recorded."""

from pathlib import Path

import pytest

from detmake.build import provenance
from detmake.errors import InputError

RECORDS = {
    "results/weights.pth": {"params": ["'rate: 0.1'"], "input": ["results/dataset/train.json"]},
    "results/slow/weights.pth": {"params": ["'rate: 0.01'"], "input": ["data/results/a.json"]},
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in RECORDS:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(path)
    file = Path("results/provenance.json")
    provenance.write(file, RECORDS)
    return file


def test_what_was_written_is_read(file):
    assert provenance.read(file) == RECORDS


def test_a_folder_counts_by_its_files(file):
    folder = file.parent / "demo"
    folder.mkdir()
    (folder / "a.jpg").write_text("a")
    provenance.write(file, {"results/demo": {}})
    assert provenance.read(file) == {"results/demo": {}}
    (folder / "b.jpg").write_text("b")
    assert provenance.read(file) == {}


def test_results_that_changed_or_are_missing_do_not_count(file):
    (file.parent / "weights.pth").write_text("other")
    (file.parent / "slow/weights.pth").unlink()
    assert provenance.read(file) == {}


def test_results_in_a_folder_of_another_name(file):
    copied = file.parent.rename("copied") / file.name
    found = provenance.read(copied)
    assert found == {
        "copied/weights.pth": {"params": ["'rate: 0.1'"], "input": ["copied/dataset/train.json"]},
        "copied/slow/weights.pth": RECORDS["results/slow/weights.pth"],
    }


@pytest.mark.parametrize("text", ["", "[]", '{"results/weights.pth": {}}'])
def test_a_damaged_file(file, text):
    file.write_text(text)
    with pytest.raises(InputError, match=r"results/provenance.json: expected .* Remove it"):
        provenance.read(file)


STEPS = {
    "results/weights.pth": ("train", "results/logs/train.log", ["results/train.json", "a.jpg"]),
    "results/label_schema.json": ("train", "results/logs/train.log", ["results/train.json"]),
    "results/train.json": ("prepare_dataset", "results/logs/dataset_train.log", ["data/a.json"]),
    "data/a.json": ("own_rule", "own.log", []),
    "results/val.json": ("prepare_dataset", "results/logs/dataset_val.log", ["data/b.json"]),
    "results/openvino.xml": ("export", "results/logs/export.log", ["results/weights.pth"]),
    "results/unused.json": ("demo", "results/logs/demo.log", []),
}


def test_the_steps_that_made_some_results(tmp_path, monkeypatch):
    """Each once, with its time and memory if these were measured; sources are no steps."""
    monkeypatch.chdir(tmp_path)
    for name, memory in (("train", "3145.2"), ("export", "NA")):
        file = Path(f"results/benchmarks/{name}.tsv")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\tmax_rss\n72.5\t0:01:12\t{memory}\n")

    def record_of(path):
        if path in STEPS:
            rule, log, needed = STEPS[path]
            return {"rule": rule, "log": [log], "input": needed}

    wanted = ["results/openvino.xml", "results/weights.pth", "results/label_schema.json"]
    steps = provenance.steps([*wanted, "results/val.json", "results/missing"], record_of)
    assert all(need < number for number, step in enumerate(steps) for need in step["needs"])
    told = {
        tuple(step["files"]): (
            step["name"],
            step["note"],
            [steps[n]["name"] for n in step["needs"]],
        )
        for step in steps
    }
    assert told == {
        ("results/openvino.xml",): ("export", "0:01:12", ["train"]),
        ("results/label_schema.json", "results/weights.pth"): (
            "train",
            "0:01:12, 3.1 GB of memory",
            ["prepare dataset"],
        ),
        ("results/train.json",): ("prepare dataset", "", ["own rule"]),
        ("data/a.json",): ("own rule", "", []),
        ("results/val.json",): ("prepare dataset", "", []),
    }
