"""The store of finished trainings: entries are whole or absent, and the oldest go first."""

import json
import os
import shutil
from pathlib import Path

import pytest

from detmake import store as store_module
from detmake.errors import InputError
from detmake.store import Entry, Store, describe
from detmake.training import previous

LONG_AGO = 1_000_000_000  # seconds since 1970


@pytest.fixture
def store(tmp_path):
    return Store(True, 10, tmp_path / "store")


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "weights.pth").write_bytes(1000 * b"w")
    (folder / "scalars.csv").write_text("loss\n0.5\n")
    return folder


def entry(target="results/weights.pth"):
    return Entry(target, "ATSS", f_measure=0.8, minutes=12.34, finished="2026-11-25 03:40")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def restore(store, identity, tmp_path):
    target = tmp_path / "restored"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return store.restore(identity, ["weights.pth", "scalars.csv"], target)


def folder_of(store, target):
    (folder,) = [folder for folder, found in store.entries().items() if found.target == target]
    return folder


def test_what_is_saved_is_restored(store, made, tmp_path):
    store.save("identity", entry(), made)
    found = restore(store, "identity", tmp_path)
    assert (found.target, found.f_measure) == ("results/weights.pth", 0.8)
    for name in names(made):
        assert (tmp_path / "restored" / name).read_bytes() == (made / name).read_bytes()
    assert restore(store, "another", tmp_path) is None
    (folder,) = store.entries()
    assert (folder / "identity.json").read_text() == "identity"
    assert names(store.folder) == [folder.name]


def test_it_says_what_it_restores(store, made, tmp_path, caplog):
    caplog.set_level("INFO", "detmake")
    store.save("identity", entry(), made)
    restore(store, "identity", tmp_path)
    line = "results/weights.pth, trained on 2026-11-25 03:40 in 12.3 minutes"
    assert f"Restored from the store: {line}" in caplog.text


def test_copies_share_nothing_with_the_store(store, made, tmp_path):
    store.save("identity", entry(), made)
    for folder in (made, tmp_path / "restored"):
        restore(store, "identity", tmp_path)
        with (folder / "weights.pth").open("r+b") as file:
            file.write(b"changed in place")
    restore(store, "identity", tmp_path)
    assert (tmp_path / "restored/weights.pth").read_bytes() == 1000 * b"w"


def test_others_can_read_an_entry_if_the_folder_is_shared(store, made, tmp_path):
    """The files come from a scratch folder, which only its owner can read."""
    made.chmod(0o700)
    store.save("identity", entry(), made)
    (folder,) = store.entries()
    (tmp_path / "any").mkdir()
    assert folder.stat().st_mode == (tmp_path / "any").stat().st_mode


DAMAGE = {
    "a changed byte": lambda folder: (folder / "weights.pth").write_bytes(999 * b"w" + b"v"),
    "a file cut short": lambda folder: os.truncate(folder / "weights.pth", 500),
    "a missing file": lambda folder: (folder / "scalars.csv").unlink(),
    "no list of files": lambda folder: (folder / "entry.json").unlink(),
    "half a list": lambda folder: os.truncate(folder / "entry.json", 40),
    "another list": lambda folder: (folder / "entry.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_removed_with_a_warning(store, made, tmp_path, caplog, damage):
    store.save("identity", entry(), made)
    (folder,) = store.entries()
    damage(folder)
    assert restore(store, "identity", tmp_path) is None
    assert f"{folder}: removed from the store, since it is damaged" in caplog.text
    assert names(store.folder) == []
    store.save("identity", entry(), made)
    assert restore(store, "identity", tmp_path)


def test_an_entry_with_other_files_does_not_count(store, made, tmp_path):
    (made / "weights.pth").unlink()
    store.save("identity", entry(), made)
    assert restore(store, "identity", tmp_path) is None


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_nothing(store, made, monkeypatch, caplog, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(store_module, "write_json", fail)
    if isinstance(error, OSError):  # the training itself has succeeded
        store.save("identity", entry(), made)
        assert "disk full" in caplog.text
    else:
        with pytest.raises(KeyboardInterrupt):
            store.save("identity", entry(), made)
    assert names(store.folder) == []


def test_two_jobs_save_the_same(store, made, caplog):
    store.save("identity", entry(), made)
    store.save("identity", entry("results/slow/weights.pth"), made)
    assert [found.target for found in store.entries().values()] == ["results/weights.pth"]
    assert not caplog.records


def test_the_entry_that_was_not_used_for_longest_goes_first(store, made, tmp_path):
    for age, target in ((300, "a"), (200, "b"), (100, "c")):
        store.save(target, entry(target), made)
        os.utime(folder_of(store, target) / "entry.json", 2 * (LONG_AGO - age,))
    restore(store, "a", tmp_path)
    small = Store(True, 2.5 * store_module.size(folder_of(store, "a")) / 1e9, store.folder)
    small.save("d", entry("d"), made)
    assert {found.target for found in store.entries().values()} == {"a", "d"}


def test_the_new_entry_and_those_in_use_stay(store, made, tmp_path):
    tiny = Store(True, 1e-9, store.folder)
    store.save("in use by another job", entry("other"), made)
    tiny.save("identity", entry("own"), made)
    assert {found.target for found in store.entries().values()} == {"own", "other"}


def test_what_a_killed_job_left_goes_as_well(store, made):
    left = store.folder / ".new-killed" / "entry"
    left.mkdir(parents=True)
    (left / "weights.pth").write_bytes(b"half")
    os.utime(left.parent, 2 * (LONG_AGO,))
    assert store.entries() == {}
    Store(True, 1e-9, store.folder).save("identity", entry(), made)
    assert not left.exists()
    assert len(names(store.folder)) == 1


def test_a_store_that_is_off(store, made, tmp_path):
    store.save("identity", entry(), made)
    off = Store(False, 10, store.folder)
    assert restore(off, "identity", tmp_path) is None
    off.save("another", entry(), made)
    assert len(store.entries()) == 1


def test_the_last_used_is_listed_first_and_clear_removes_all(store, made, tmp_path):
    for age, target in ((300, "a"), (200, "b")):
        store.save(target, entry(target), made)
        os.utime(folder_of(store, target) / "entry.json", 2 * (LONG_AGO - age,))
    assert [found.target for found in store.entries().values()] == ["b", "a"]
    restore(store, "a", tmp_path)
    assert [found.target for found in store.entries().values()] == ["a", "b"]
    store.clear()
    assert names(store.folder) == []
    store.clear()


# Trainings that were not stored when they ended


@pytest.fixture
def note(made):
    """A note of a training whose files are in two folders."""
    (made / "logs").mkdir()
    (made / "scalars.csv").rename(made / "logs/scalars.csv")
    files = [made / "weights.pth", made / "logs/scalars.csv"]
    describe(made / "logs/train.json", "identity", entry(), files)
    return made / "logs/train.json"


def test_a_training_is_taken_from_where_its_files_lie(store, note, tmp_path):
    moved = note.parents[1].rename(tmp_path / "copied") / "logs/train.json"
    store.take(moved)
    assert restore(store, "identity", tmp_path).f_measure == 0.8
    for file in ("weights.pth", "logs/scalars.csv"):
        content = (tmp_path / "copied" / file).read_bytes()
        assert (tmp_path / "restored" / os.path.basename(file)).read_bytes() == content


@pytest.mark.parametrize("alter", [lambda file: file.write_bytes(b"other"), os.remove])
def test_changed_files_are_not_taken(store, note, alter):
    alter(note.parents[1] / "weights.pth")
    store.take(note)
    assert store.entries() == {}


def test_a_training_is_not_taken_twice_nor_if_the_store_is_off(store, note, monkeypatch):
    Store(False, 10, store.folder).take(note)
    assert store.entries() == {}
    store.take(note)
    monkeypatch.setattr(store_module, "sha256", None)  # nothing is read again
    store.take(note)
    assert len(store.entries()) == 1


def test_entries_of_present_snapshots_are_known_by_digest_or_note(store, note):
    snapshot, none = note.parents[1] / "weights.pth", Path("none")
    store.take(note)
    (folder,) = store.entries()
    assert store.kept_for([none, snapshot], [none]) == {folder: snapshot}
    snapshot.write_bytes(b"of a renamed template")
    assert store.kept_for([snapshot], [note]) == {}
    describe(note, "identity", entry(), [snapshot, note.parent / "scalars.csv"])
    assert store.kept_for([snapshot], [note]) == {folder: snapshot}


@pytest.mark.parametrize("text", ["", "[]", '{"entry": {}}'])
def test_a_damaged_note_is_a_warning(store, note, caplog, text):
    note.write_text(text)
    store.take(note)
    store.take(note.with_name("none.json"))
    assert [record.args[0] for record in caplog.records] == [note]


# pretrained: previous


@pytest.fixture
def chain(store, made):
    """Two trainings of one run, the second from the first, and one of another run."""

    def save(identity, target, weights):
        (made / "weights.pth").write_bytes(weights)
        store.save(identity, entry(target), made)

    save("data 1", "results/weights.pth", b"first")
    save("data 2 from first", "results/weights.pth", b"second")
    save("other", "results/other/weights.pth", b"other")
    for age, (folder, found) in enumerate(sorted(store.entries().items(), key=digest_of)):
        os.utime(folder / "entry.json", (LONG_AGO - age, LONG_AGO - age))
        assert found
    return store


def digest_of(item):
    """Newest first: second, first, other."""
    order = [b"second", b"first", b"other"]
    return order.index((item[0] / "weights.pth").read_bytes())


def start(store, data, target="results/weights.pth", note=Path("none.json"), begun=None):
    def identity(file):
        return f"{data} from {file.read_text()}" if file else data

    def has_begun(file):
        return begun is not None and identity(file) == begun

    chosen = previous.start(store, target, note, identity, has_begun)
    return chosen and chosen.read_text()


@pytest.mark.parametrize(
    "data, expected",
    [
        ("data 3", "second"),  # new data: the last snapshot
        ("data 2", "first"),  # the store has this training, from its own start
        ("data 1", None),  # and this one, from scratch
    ],
)
def test_a_training_goes_on_from_the_last_snapshot_unless_it_was_made_before(chain, data, expected):
    assert start(chain, data) == expected


def test_a_training_that_has_begun_goes_on_from_its_own_start(chain):
    assert start(chain, "data 3", begun="data 3 from first") == "first"
    assert start(chain, "data 3", begun="data 3") is None
    assert start(chain, "data 3", begun="data 0 from first") == "second"


def test_other_runs_and_damaged_snapshots_are_no_start(chain):
    assert start(chain, "data 3", "results/new/weights.pth") is None
    last = next(iter(chain.entries()))
    (last / "weights.pth").write_bytes(b"damaged")
    assert start(chain, "data 3") == "first"


def test_a_snapshot_that_was_made_for_another_run_is_the_last_of_this_one(chain, tmp_path):
    """The run's training was restored from the store."""
    note = tmp_path / "train.json"
    note.write_text(json.dumps({"identity": "other"}))
    assert start(chain, "data 3", note=note) == "other"
    note.write_text("damaged")
    assert start(chain, "data 3", note=note) == "second"


def test_without_a_store_there_is_no_previous_snapshot(tmp_path):
    with pytest.raises(InputError, match=r"pretrained: found previous.*store\.enabled is false"):
        previous.start(
            Store(False, 10, tmp_path / "store"), "results/weights.pth", Path(), str, bool
        )
