"""The store of finished trainings: what was trained comes back in seconds."""

import os
import re
import shutil

import pytest
import torch
from conftest import CONFIG

from detmake.training import lock

OUTPUTS = (
    "weights.pth",
    "label_schema.json",
    "confidence_threshold",
    "logs/scalars.csv",
    "logs/per_class.csv",
)
TARGET = "results/weights.pth"
RESTORED = "Restored from the store: results/weights.pth, trained on "


def epochs(number):
    return {"learning_parameters": CONFIG["learning_parameters"] | {"num_iters": number}}


def outputs(project):
    return {file: (project.folder / "results" / file).read_bytes() for file in OUTPUTS}


def log(project):
    return (project.folder / "results/logs/train.log").read_text()


def entries(project):
    return sorted(path.name for path in (project.folder / ".detmake/store").iterdir())


def test_a_failed_attempt_and_back(built):
    """An attempt removes the outputs that it was to replace."""
    before = outputs(built)
    (built.folder / "broken.pth").write_text("not a checkpoint")
    built.configure(pretrained="broken.pth")
    built.snakemake(TARGET, fails=True)
    assert not (built.folder / TARGET).exists()
    built.configure()
    built.snakemake(TARGET)
    assert RESTORED in log(built)
    assert "Learning parameters" not in log(built)
    assert outputs(built) == before
    assert built.stale(TARGET) == {}


@pytest.mark.slow
def test_an_annotation_file_broken_and_restored(built):
    before = outputs(built)
    path = built.folder / "data/valid/_annotations.coco.json"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    built.snakemake(TARGET, fails=True)
    path.write_bytes(content)
    built.snakemake(TARGET)
    assert RESTORED in log(built)
    assert outputs(built) == before


@pytest.mark.slow
def test_removed_results_of_a_renamed_template(built):
    """Everything comes back as it was, but with the template's present name."""
    before = outputs(built)
    shutil.rmtree(built.folder / "results")
    built.snakemake(TARGET)
    assert outputs(built) == before
    template = built.folder / "templates/atss_mobilenetv2.yaml"
    template.write_text(template.read_text().replace("name: ATSS-MobileNetV2", "name: Mine"))
    (built.folder / TARGET).unlink()
    built.snakemake(TARGET)
    assert RESTORED in log(built)
    snapshot = torch.load(built.folder / TARGET, weights_only=True)
    assert snapshot["template"]["name"] == "Mine"


@pytest.mark.slow
def test_the_store_is_listed_and_emptied(built):
    (name,) = entries(built)
    output = built.snakemake("store")
    row = rf"results/weights.pth +ATSS-MobileNetV2 .* {TARGET} +{name[:12]}"
    assert re.search(row, output), output
    assert "Finished trainings in .detmake/store: 1, " in output
    assert "of at most 10 GB" in output
    assert "Removed " in built.snakemake("clear_store")
    assert entries(built) == []


@pytest.mark.slow
def test_a_training_that_goes_on_from_the_previous_snapshot(built):
    """What is built stays until settings or data change, and comes back after it was removed."""
    (first,) = entries(built)
    built.configure(pretrained="previous")
    built.snakemake(TARGET)
    assert RESTORED in log(built)
    built.configure(**epochs(1), pretrained="previous")
    built.snakemake(TARGET)
    assert f"pretrained: previous: .detmake/store/{first}/weights.pth" in log(built)
    assert "Learning parameters" in log(built)
    assert built.stale(TARGET) == {}
    before = outputs(built)
    # An epoch is too short to learn from scratch, and the first snapshot was trained for more.
    assert torch.load(built.folder / TARGET, weights_only=True)["f_measure"] > 0.5
    shutil.rmtree(built.folder / "results")
    built.snakemake(TARGET)
    assert RESTORED in log(built)
    assert outputs(built) == before
    assert len(entries(built)) == 2


@pytest.mark.slow
def test_what_may_be_deleted_is_listed_and_what_is_named_is_removed(built):
    old = built.folder / "results/old"
    (old / "dataset").mkdir(parents=True)
    (old / "dataset/train.json").write_bytes(bytes(2_500_000))
    (built.folder / "results/notes").mkdir()
    checkpoints = built.folder / "results/checkpoints"
    checkpoints.mkdir()
    (checkpoints / "epoch_1.pth").write_bytes(bytes(1_500_000))
    (entry,) = entries(built)
    snapshot = built.folder / TARGET
    content = snapshot.read_bytes()

    def rows(output):
        found = (re.match(r"(\w+) +([\d.]+) +(\S+)", line) for line in output.splitlines())
        return {row[3]: (row[1], row[2]) for row in found if row}

    listed = built.snakemake("clean")
    assert (
        rows(listed).items()
        >= {
            "results/old": ("runs", "2.5"),
            "results/checkpoints": ("checkpoints", "1.5"),
        }.items()
    )
    assert f".detmake/store/{entry}" not in rows(listed)  # it is the snapshot of the results
    assert old.exists() and checkpoints.exists()
    (old / "weights.pth").touch()
    used = built.snakemake("clean", "--config", "pretrained=results/old/weights.pth")
    assert "results/old" not in rows(used)
    used = built.snakemake("clean", "--config", "weights=results/checkpoints/epoch_1.pth")
    assert "results/checkpoints" not in rows(used)
    used = built.snakemake("clean", "--config", f"pretrained=.detmake/store/{entry}/weights.pth")
    assert f".detmake/store/{entry}" not in rows(used)
    snapshot.write_bytes(b"another")
    assert rows(built.snakemake("clean"))[f".detmake/store/{entry}"][0] == "store"
    trial = built.folder / "results/search/2/07/weights.pth"
    trial.parent.mkdir(parents=True)
    trial.write_bytes(content)
    assert f".detmake/store/{entry}" not in rows(built.snakemake("clean"))
    shutil.rmtree(built.folder / "results/search")
    with lock.held(checkpoints):
        output = built.snakemake("clean", "--config", "clean=[checkpoints]", fails=True)
    assert "trains there" in output
    assert (checkpoints / "epoch_1.pth").exists()
    with lock.held(old / "checkpoints"):
        assert "trains there" in built.snakemake("clean", "--config", "clean=[runs]", fails=True)
    assert old.exists()
    snapshot.write_bytes(content)
    output = built.snakemake("clean", "--config", "clean=[checkpoints, caches, store, runs]")
    assert "MB: checkpoints, caches, store, runs" in output
    assert not old.exists() and not checkpoints.exists()
    assert (built.folder / "results/notes").exists()
    assert entries(built) == [entry]
    assert built.stale() == {}


@pytest.mark.slow
def test_a_damaged_entry_trains_again(built):
    built.configure(**epochs(1))
    built.snakemake(TARGET)
    folder = max((built.folder / ".detmake/store").iterdir(), key=os.path.getmtime)
    with (folder / "weights.pth").open("r+b") as file:
        file.write(b"damaged")
    (built.folder / TARGET).unlink()
    built.snakemake(TARGET)
    assert f"{folder.name}: removed from the store, since it is damaged" in log(built)
    assert "Learning parameters" in log(built)
    assert len(entries(built)) == 2


@pytest.mark.slow
def test_a_full_store_forgets_the_oldest(built):
    (oldest,) = (built.folder / ".detmake/store").iterdir()
    os.utime(oldest / "entry.json", (0, 0))
    built.configure(**epochs(1), store={"limit_gb": 0.001})
    built.snakemake(TARGET)
    (new,) = entries(built)
    assert new != oldest.name


@pytest.mark.slow
def test_a_store_that_is_off(built):
    (built.folder / TARGET).unlink()
    built.configure(**epochs(1), store={"enabled": False})
    built.snakemake(TARGET)
    assert len(entries(built)) == 1
    assert not (built.folder / "results/checkpoints").exists()
    (built.folder / TARGET).unlink()
    built.snakemake(TARGET)
    assert "Learning parameters" in log(built)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["pretrained", "weights"])
def test_a_snapshot_that_was_copied_here_is_not_lost(built, key):
    """Nor is one that was trained while the store was off: both are results without an entry."""
    before = outputs(built)
    shutil.rmtree(built.folder / ".detmake")
    shutil.rmtree(built.folder / ".snakemake")
    (built.folder / "broken.pth").write_text("not a checkpoint")
    built.configure(**{key: "broken.pth"})
    built.snakemake(TARGET, fails=True)
    assert not (built.folder / TARGET).exists()
    built.configure()
    built.snakemake(TARGET)
    assert RESTORED in log(built)
    assert outputs(built) == before


@pytest.mark.slow
def test_killed_after_the_training_is_stored(project):
    """The next call restores it, and removes the checkpoints."""
    script = project.folder / "scripts/detmake/training/job.py"
    save = re.search(r"^( +)store\.save\(.*\)\n", script.read_text(), re.MULTILINE)
    kill = f'{save[1]}if Path("kill").exists():\n{save[1]}    import os; os.kill(os.getpid(), 9)\n'
    script.write_text(script.read_text().replace(save[0], save[0] + kill))
    (project.folder / "kill").touch()
    project.configure(**epochs(1))
    project.snakemake(TARGET, fails=True)
    assert not (project.folder / TARGET).exists()
    assert (project.folder / "results/checkpoints").exists()
    assert len(entries(project)) == 1
    (project.folder / "kill").unlink()
    project.snakemake(TARGET)
    assert RESTORED in log(project)
    assert not (project.folder / "results/checkpoints").exists()
    assert project.stale(TARGET) == {}
