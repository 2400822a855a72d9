"""The decisions of `snakemake suggest`, for given boxes, times and machines."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from dataset_case import Dataset

from detmake.build import configuration
from detmake.data import checking, sources, subsets
from detmake.errors import InputError
from detmake.suggestion import choice, dataset, experiment, machine, overhead, search, split
from detmake.suggestion.machine import Machine

ROOT = Path(__file__).parents[2]
WORK = choice.Work(train=256, val=64, test=32, calibration=256)
OVERHEAD = choice.Overhead(
    start=20, data=10, evaluation=20, export=10, quantization=60, quantized_model=25
)


def candidate(template="yolox_tiny", iteration=1.0, size=(416, 320), **changes):
    values = {
        "batch_size": 8,
        "normalization": 1.0,
        "validated_image": 0.046875,
        "checkpoint": 1.0,
        "memory": 2**30,
    }
    return choice.Candidate(template, size, iteration=iteration, **(values | changes))


def boxes(side: float, image=(640, 480), count=100, name="cell") -> pd.DataFrame:
    """Square boxes of one size in pixels of the image."""
    width, height = np.divide(side, image)
    return pd.DataFrame({"class": name, "width": [width] * count, "height": height})


@pytest.mark.parametrize(
    ("side", "largest", "smallest"),
    [
        (26.4, (416, 320), (320, 256)),  # 16 px at 388 of 640 pixels; 8 px at 194, below the least
        (200, (320, 256), (320, 256)),
        (12, (640, 480), (448, 320)),  # never 16 px: as large as the image
        (3, (640, 480), (640, 480)),  # too small at any size
    ],
)
def test_the_input_size_follows_from_the_smaller_boxes(side, largest, smallest):
    sizes = list(choice.suitable_sizes(boxes(side), (640, 480)))
    assert (sizes[0], sizes[-1]) == (largest, smallest)


def test_a_small_class_counts_but_not_a_rare_one():
    large = boxes(200, name="large", count=1000)
    small, rare = boxes(26.4, name="small", count=50), boxes(4, name="rare", count=5)
    both = choice.suitable_sizes(pd.concat([large, small, rare]), (640, 480))
    assert list(both) == list(choice.suitable_sizes(small, (640, 480)))


def test_input_sizes_keep_about_the_ratio_of_the_image_and_are_valid():
    for image in [(640, 480), (480, 640), (1920, 1080), (100, 80), (4000, 200)]:
        for width, height in choice.input_sizes(image):
            assert width % 32 == height % 32 == 0
            assert 64 <= min(width, height) <= max(width, height) <= 1024
            assert abs(height - width * image[1] / image[0]) <= 64


def test_the_best_template_is_trained_if_there_is_time_for_it():
    sizes = [(416, 320), (384, 288), (320, 256)]
    measured = [candidate("ssd_mobilenetv2", 0.25), candidate("yolox_tiny", 1.0)]
    assert choice.best(measured, sizes, 1500) == ("yolox_tiny", (416, 320), True)
    assert choice.best(measured, sizes, 1275) == ("yolox_tiny", (384, 288), True)
    assert choice.best(measured, sizes, 900) == ("ssd_mobilenetv2", (416, 320), True)
    assert choice.best(measured, sizes, 90) == ("ssd_mobilenetv2", (320, 256), False)


def test_without_time_the_best_of_the_fastest_is_trained():
    names = {"yolox_nano": 0.5, "yolox_nano_relu": 0.7, "ssd_mobilenetv2": 0.7, "yolox_tiny": 0.8}
    measured = [candidate(name, iteration) for name, iteration in names.items()]
    assert choice.best(measured, [(320, 256)], 60) == ("yolox_nano_relu", (320, 256), False)
    assert choice.best(measured[:1], [(320, 256)], 60) == ("yolox_nano", (320, 256), False)


def test_a_template_of_the_users_own_can_be_the_only_one():
    mine = candidate("mine.yaml", 9.0)
    assert choice.best([mine], [(64, 64)], 10) == ("mine.yaml", (64, 64), False)


def test_epochs_fill_the_time():
    # 32 iterations of 1 s, 64 validated images of 1/16 s every second epoch, 1 s for a checkpoint
    assert candidate().epoch(WORK, 2) == 35
    assert choice.epochs_in(700, candidate(), WORK, 2) == 20
    assert choice.epochs_in(3, candidate(), WORK, 2) == 1
    assert choice.epochs_in(10**9, candidate(), WORK, 2) == 300


def test_the_batch_fits_into_memory_and_train_subset():
    assert choice.batch_size(8, memory_of_batch=2, memory=10, images=100) == 8
    assert choice.batch_size(8, memory_of_batch=10, memory=10, images=100) == 4
    assert choice.batch_size(8, memory_of_batch=2, memory=10, images=5) == 4
    assert choice.batch_size(4, memory_of_batch=10**9, memory=10, images=100) == 1


def test_a_gpu_takes_larger_batches():
    assert Machine("a CPU", 2**34).batch_size == 4
    assert Machine("a CPU", 2**34, "a GPU", 2**33).batch_size == 8


def test_tiles_are_suggested_only_for_boxes_that_the_network_cannot_see():
    """12 of 2000 pixels are 6 of 1024, and 20 are 10."""
    assert choice.suggest_tiling(boxes(26), (640, 480)) is None
    assert choice.suggest_tiling(boxes(20, (2000, 1500)), (2000, 1500)) is None
    assert choice.suggest_tiling(boxes(12, (2000, 1500)), (2000, 1500)) is not None


def write_coco(folder: Path, classes: list[list[int]]) -> dict:
    """Draw an image for each list of class numbers, with a box of each; return `data`."""
    rng = np.random.default_rng(0)
    dataset_case = Dataset(folder)
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "common"}]}
    coco["categories"].append({"id": 2, "name": "rare"})
    for index, numbers in enumerate(classes):
        name = f"{index}.png"
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (32, 48, 3), np.uint8))
        coco["images"].append({"id": index, "file_name": name, "width": 48, "height": 32})
        for number in numbers:
            box = {"id": len(coco["annotations"]), "image_id": index, "category_id": number}
            coco["annotations"].append(box | {"bbox": [4, 4, 20, 12], "iscrowd": 0})
    dataset_case.write({"_annotations.coco.json": json.dumps(coco)})
    return coco


@pytest.fixture
def rare_class(tmp_path) -> dict:
    """The key `data`: 60 images without a val subset, of which 6 have the rare class."""
    write_coco(tmp_path / "set", [[1, 1, 2] if index % 10 == 0 else [1] for index in range(60)])
    return sources.with_val(str(tmp_path / "set"))


def test_data_without_val_is_split_and_other_data_is_left_alone(rare_class, tmp_path):
    folder = rare_class["source"]
    assert rare_class == {"source": folder, "split": "auto"}
    whole = {"ann-files": f"{folder}/_annotations.coco.json"}
    given = {"train": whole, "val": whole}
    assert sources.with_val(given) == given
    assert sources.with_val({"train": whole}) == {"train": whole, "split": "auto"}
    with pytest.raises(InputError, match="found no annotations"):
        sources.with_val(str(tmp_path))


def test_the_seed_spreads_a_rare_class_and_the_build_splits_alike(rare_class):
    read = dataset.read(rare_class)
    names = {
        subset: {image["file_name"] for image in coco["images"]}
        for subset, coco in read.subsets.items()
    }
    for subset, source in sources.locate(read.data).items():
        built = checking.prepare(source, ["common", "rare"], subset)
        assert {image["file_name"] for image in built["images"]} == names[subset]
        rare = [entry for entry in built["annotations"] if entry["category_id"] == 2]
        assert len(rare) >= 1
    found = sources.locate(rare_class)
    whole = checking.prepare(replace(found["train"], share=None), None)
    counts = [
        np.unique(split.subset_names(found, whole, {}, seed), return_counts=True)
        for seed in range(3)
    ]
    assert len({str(count) for count in counts}) > 1  # seeds differ, so that there is a choice


def test_a_split_without_a_test_subset(rare_class):
    read = dataset.read(rare_class | {"split": {"val": 0.3}})
    assert read.subsets.keys() == {"train", "val"}
    assert read.test is read.subsets["val"]
    built = checking.prepare(sources.locate(read.data)["val"], ["common", "rare"], "val")
    names = [[image["file_name"] for image in coco["images"]] for coco in (built, read.test)]
    assert names[0] == names[1] != []


def test_near_duplicates_get_groups_and_stay_together(tmp_path):
    folder = tmp_path / "set"
    coco = write_coco(folder, [[1, 2]] * 60)
    for number in (10, 20, 30):  # near-duplicates of 1: 4 of 60 images
        pixels = cv2.imread(str(folder / "1.png"))
        pixels[0, 0] = number
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    data = sources.with_val(str(folder))
    read = dataset.read(data)
    assert read.groups == dict.fromkeys(("1.png", "10.png", "20.png", "30.png"), "1.png")
    file = tmp_path / "groups.csv"
    file.write_text(read.groups_csv(), encoding="utf-8")
    built = {
        subset: checking.prepare(source, ["common", "rare"], subset)
        for subset, source in sources.locate(read.with_groups(file).data).items()
    }
    where = {
        image["file_name"]: subset for subset, coco in built.items() for image in coco["images"]
    }
    assert where == {
        image["file_name"]: subset
        for subset, coco in read.subsets.items()
        for image in coco["images"]
    }
    assert len({where[name] for name in read.groups}) == 1
    assert len(where) == len(coco["images"])
    for number in range(40, 53):  # 17 of 60 images
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    many = dataset.read(data)
    assert many.groups == {}
    assert many.near_duplicates == 17 / 60
    assert "like another one. `snakemake inspect` lists them" in experiment.text(
        suggestion(many), {}
    )
    grouped = dataset.read({**data, "group": "(.)"})
    assert grouped.groups == {}
    texts = [experiment.text(suggestion(one), {}) for one in (many, grouped)]
    assert ["add `group`" in text for text in texts] == [True, False]


def test_a_split_of_few_images_leaves_no_subset_empty_or_says_so(tmp_path):
    write_coco(tmp_path / "set", [[1, 2]] * 3)
    data = {"source": str(tmp_path / "set"), "split": "auto"}
    assert [len(coco["images"]) for coco in dataset.read(data).subsets.values()] == [1, 1, 1]
    with pytest.raises(InputError, match=r"3 images leaves none with boxes to val\. Add images"):
        dataset.read({**data, "group": "png"})


def test_a_seed_of_the_user_stays(rare_class):
    given = dataset.read({**rare_class, "seed": 7})
    assert given.data["seed"] == 7
    texts = [experiment.text(suggestion(one), {}) for one in (given, dataset.read(rare_class))]
    assert ["Of 100 seeds" in text for text in texts] == [False, True]


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> dataset.Dataset:
    """The dataset of the class that is rare, with its seed."""
    folder = tmp_path_factory.mktemp("rare") / "set"
    write_coco(folder, [[1, 1, 2] if index % 10 == 0 else [1] for index in range(60)])
    return dataset.read({"source": str(folder), "split": "auto", "seed": 1})


def suggestion(read, minutes=30.0, epochs=40, **changes) -> experiment.Suggestion:
    values = {
        "dataset": read,
        "machine": Machine("a CPU, 2 threads", 16 * 2**30),
        "minutes": minutes,
        "chosen": candidate(),
        "has_time": True,
        "measured": [candidate("ssd_mobilenetv2", 0.5), candidate()],
        "work": WORK,
        "overhead": OVERHEAD,
        "epochs": epochs,
        "validation_interval": 2,
    }
    return experiment.Suggestion(**(values | changes))


def test_the_search_fills_the_minutes_with_what_it_measured(read, monkeypatch, tmp_path):
    monkeypatch.setattr(overhead, "measure", lambda *_: OVERHEAD)
    calls = []

    def measure(template, size, batch_size):
        calls.append((template, size, batch_size))
        if template == "ssd_mobilenetv2":
            raise InputError("too few boxes")
        iteration = {"atss_mobilenetv2": 0.5, "yolox_tiny": 0.25}[template]
        return candidate(template, iteration, size, batch_size=batch_size)

    def found(minutes, templates, size=None):
        machine = Machine("a CPU", 16 * 2**30)
        return search.search(
            *(
                read,
                machine,
                minutes,
                templates,
                size,
                300,
                measure,
                lambda: tmp_path,
                lambda _: 5,
                0,
                2,
            )
        )

    three = ["atss_mobilenetv2", "ssd_mobilenetv2", "yolox_tiny"]
    first = found(30, three)
    largest = (320, 224)  # of images of 48×32 pixels
    assert calls == [(name, largest, 4) for name in [*three, "yolox_tiny"]]
    assert [one.template for one in first.measured] == ["atss_mobilenetv2", "yolox_tiny"]
    train, val = len(read.subsets["train"]["images"]), len(read.subsets["val"]["images"])
    epoch = -(-train // 4) * 0.25 + (1 + 0.046875 * val) / 5 + 1
    assert first.epochs == 300
    assert found(10, three).epochs == int((600 - 120) / epoch)
    assert found(10, three).seconds <= 600
    assert found(30, three, (64, 64)).chosen.input_size == (64, 64)
    with pytest.raises(InputError, match="ssd_mobilenetv2: too few boxes"):
        found(30, ["ssd_mobilenetv2"])


def test_a_container_has_the_least_memory_of_its_control_groups(monkeypatch, tmp_path):
    own = tmp_path / "job/step"
    own.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/job/step\n")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_GROUP", tmp_path / "own")
    (own / "memory.max").write_text("max\n")
    physical = machine.total_memory()
    assert physical > 2**28
    (tmp_path / "job/memory.max").write_text(f"{2**28}\n")
    assert machine.total_memory() == 2**28
    monkeypatch.setattr(machine, "_OWN_GROUP", tmp_path / "none")
    assert machine.total_memory() == physical


def test_the_search_tries_smaller_batches_where_memory_ends(read, monkeypatch, tmp_path):
    monkeypatch.setattr(overhead, "measure", lambda *_: OVERHEAD)
    fitting = {"atss_mobilenetv2": 0, "yolox_tiny": 3}

    def measure(template, size, batch_size):
        if batch_size > fitting[template]:
            raise MemoryError
        return candidate(template, 0.25, size, batch_size=batch_size)

    def found(*templates):
        machine = Machine("a CPU", 16 * 2**30, "a GPU", 4 * 2**30)
        places = (measure, lambda: tmp_path, lambda _: 5, 0, 2)
        return search.search(read, machine, 10, templates, None, 300, *places)

    suggested = found("atss_mobilenetv2", "yolox_tiny")
    assert [(one.template, one.batch_size) for one in suggested.measured] == [("yolox_tiny", 2)]
    assert "s an iteration of 2" in experiment.text(suggested, {})
    with pytest.raises(InputError, match="the GPU has too little memory for one image at 320×224"):
        found("atss_mobilenetv2")


def test_the_suggestion_is_a_valid_experiment_that_says_what_it_takes(read):
    text = experiment.text(suggestion(read), {"device": "cpu"})
    written = yaml.safe_load(text)
    settings = configuration.resolve(written, {}, ROOT / "rules/schema.yaml", ROOT / "templates")[
        ""
    ]
    assert settings["template"] != settings["name"] == "YOLOX-tiny"
    assert settings["input_size"] == [416, 320]
    assert settings["learning_parameters"]["num_iters"] == 40
    assert settings["device"] == "cpu"
    assert settings["pretrained"] is None
    # 40 epochs of 35 s, and 120 s of the rest
    assert "Expected time of the whole build: 25.3 minutes" in text
    assert "tiling" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_published_weights_are_mentioned_where_there_are_some(read):
    without = suggestion(read)
    some = replace(without, chosen=replace(without.chosen, has_weights=True))
    assert "Delete this line to start from published weights" in experiment.text(some, {})
    assert "no published weights of this template" in experiment.text(without, {})


@pytest.mark.parametrize(("small", "balance"), [(4, "repeat"), (5, "none"), (0, "none")])
def test_rare_classes_are_balanced(read, small, balance):
    coco = read.subsets["train"]
    ids = [image["id"] for image in coco["images"][:40]]
    entries = [{**coco["annotations"][0], "image_id": image, "category_id": 1} for image in ids]
    entries += [entry | {"category_id": 2} for entry in entries[:small] * 9]
    train = coco | {"annotations": entries}
    text = experiment.text(suggestion(replace(read, subsets=read.subsets | {"train": train})), {})
    assert yaml.safe_load(text)["learning_parameters"].get("balance", "none") == balance
    assert (f"common is on 40 images, rare on {small}" in text) == (balance == "repeat")


def test_small_boxes_get_tiles_as_a_comment(read):
    coco = read.subsets["train"]
    small = [entry | {"bbox": [4, 4, 2, 2]} for entry in coco["annotations"]]
    images = [image | {"width": 2000, "height": 1500} for image in coco["images"]]
    subsets_of_tiny = {"train": coco | {"annotations": small, "images": images}}
    tiny = replace(read, subsets={**read.subsets, **subsets_of_tiny})
    tiny = experiment.text(suggestion(tiny), {})
    assert "#   tiling: {size: auto, overlap: 0.2, whole_image: true}" in tiny
    assert "tiling" not in yaml.safe_load(tiny)


def test_quantization_is_bounded_by_the_expected_time(read):
    # a quarter of 1520 s has time for 15 models of 25 s more
    assert suggestion(read).max_models() == 16
    assert suggestion(read, epochs=8).max_models() == 2 + 4
    assert suggestion(read, epochs=1).max_models() == 4
    text = experiment.text(suggestion(read), {"pot_parameters": {"max_models": 7}})
    assert yaml.safe_load(text)["pot_parameters"] == {"max_models": 7}
    assert "up to 7 are tried" in text.replace("\n# ", " ")


def test_a_wish_that_is_too_short_is_called_so(read):
    assert "One epoch does not fit" in experiment.text(suggestion(read, 1, 1), {})


def test_some_images_of_a_subset_keep_their_boxes(read):
    coco = read.subsets["train"]
    few = subsets.some_images(coco, 4)
    ids = {image["id"] for image in few["images"]}
    assert len(ids) == 4
    assert few["annotations"] == [e for e in coco["annotations"] if e["image_id"] in ids]
