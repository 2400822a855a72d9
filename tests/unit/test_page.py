"""The report's page, from invented runs."""

import base64
import functools
import json
import re
import shutil
import weakref
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from report_case import ASSETS, HOSTILE, PROVENANCE, write_run
from test_metrics import RED, detections, subset

from detmake.evaluation import bootstrap
from detmake.evaluation.missed import smallest_quarter
from detmake.evaluation.overlaps import overlaps
from detmake.report import advice, gallery, page, run
from detmake.runtime import figures

SECTIONS = [
    *("verdict", "classes", "curves", "confusion", "errors", "gallery", "labels", "agreement"),
    *("training", "data", "provenance"),
]


class Reader(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def values(self, attribute):
        return [found[attribute] for _, found in self.tags if attribute in found]


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", 20)
        found = functools.cache(figures.packages_distributions)
        patch.setattr(figures, "packages_distributions", found)
        yield


def render(results):
    return page.render(run.read(results), ASSETS, PROVENANCE)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return render(write_run(tmp_path_factory.mktemp("run"), HOSTILE))


def test_it_has_all_sections_and_nothing_is_missing(written, tmp_path):
    reader = Reader(written.html)
    sections = [found["id"] for tag, found in reader.tags if tag == "section"]
    assert sections == SECTIONS
    assert "Missing here" not in written.html
    assert len(written.suspects) > 0
    for figure in ("F-measure", "Precision", "Recall"):
        assert f"{figure} of each class" in written.html
    for table in ("Subsets", "Image sizes", "Classes", "Sizes of boxes"):
        assert f"<summary>{table}</summary>" in written.html


def test_it_stands_alone(written):
    reader = Reader(written.html)
    links = reader.values("href") + reader.values("src")
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", written.html)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    targets = [link[1:] for link in links if link.startswith("#")]
    targets += re.findall(r"url\(#([^)]*)\)", written.html)
    assert set(targets) <= set(ids)


def test_class_names_are_text(written):
    reader = Reader(written.html)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    text = "".join(reader.words)
    for name in HOSTILE:
        assert name in text
    assert "<b>mine</b>" in text


def test_pictures_have_texts(written):
    for tag, found in Reader(written.html).tags:
        if tag == "img":
            assert found["alt"]
        if tag == "svg":
            assert found["role"] == "img"
            assert found["aria-label"]


def test_the_chosen_epoch_is_the_best_one(written):
    assert "best after epoch 1: 0.800" in written.html


def test_a_model_that_finds_something_else_has_the_image_that_differs_most(written):
    tags = Reader(written.html).tags
    differing = written.html.count("<summary>Images that differ most")
    texts = [found["aria-label"] for tag, found in tags if tag == "svg"]
    couples = [found.get("class") for _, found in tags].count("couple")
    assert couples == differing > 0
    assert sum(text.startswith("Found by the snapshot in image <") for text in texts) == couples
    assert [tag for tag, _ in tags].count("image") <= 24


def test_the_steps_have_a_picture_and_their_times(written):
    pictures = [found for tag, found in Reader(written.html).tags if tag == "img"]
    encoded = next(found["src"] for found in pictures if found.get("class") == "steps")
    svg = base64.b64decode(encoded.removeprefix("data:image/svg+xml;base64,")).decode()
    assert svg.count('class="job') == 2
    assert "0:26:12" in svg
    assert re.search(r"train</th><td>0:26:12.*?snakemake results/weights.pth", written.html)
    assert "not measured" in written.html


def test_the_verdict(written):
    assert written.verdict.startswith("The snapshot has an F-measure of 0.")
    assert "int8 (POT) keeps its budget: it loses 0.3 of at most 1 points" in written.verdict
    for model in ("snapshot", "IR", "int8 (POT)", "int8 (NNCF)"):
        assert f"| {model} " in written.verdict


def test_eighty_classes(tmp_path):
    names = [f"class {k}" for k in range(80)]
    html = render(write_run(tmp_path, names, images=4, nncf=False)).html
    assert '<table class="matrix">' not in html
    assert "int8 (NNCF)" not in html


def test_models_that_find_nothing(tmp_path):
    results = write_run(tmp_path, ["red"], found=False, nncf=False)
    file = results / "pot/performance.json"
    content = json.loads(file.read_text())
    content["measured_with"]["int8_instructions"] = None
    content["quantization"]["drop_points"] = -0.001
    file.write_text(json.dumps(content))
    written = render(results)
    assert "int8 instructions: unknown" in written.html
    assert "<small>0.00 of 1 points</small>" in written.html
    assert "F-measure of 0.000" in written.verdict
    assert '<table class="matrix">' in written.html
    assert set(written.suspects.kind) == {"not found"}


def test_the_speed_of_another_model(tmp_path):
    results = write_run(tmp_path, ["red"])
    speed = pd.read_csv(results / "speed.csv")
    speed.loc[1, "sha256"] = speed.sha256[0]
    speed.to_csv(results / "speed.csv", index=False)
    built = run.read(results)
    assert [bool(model.speed) for model in built.models] == [True, False, True, True]
    assert built.missing == [
        f"latency of the IR: {results}/speed.csv speaks of another model; "
        f"snakemake {results}/speed.csv"
    ]


def test_the_speed_of_copied_results(tmp_path):
    results = write_run(tmp_path, ["red"])
    copied = results.rename(tmp_path / "copied")
    built = run.read(copied)
    assert [model.speed["latency_ms"] for model in built.models] == [40, 20, 40 / 3, 10]
    assert built.missing == []


def test_images_that_are_not_there(tmp_path):
    results = write_run(tmp_path, ["red"])
    (tmp_path / "images/image <0>.png").write_text("damaged")
    assert len(gallery.worst_images(*_overlaps(run.read(results)), ["red"])) == 7
    (tmp_path / "images").rename(tmp_path / "moved")
    html = render(results).html
    assert f": 8. Their files cannot be read in <code>{tmp_path}/images</code>" in html
    assert "No image has an error" not in html


def _overlaps(built):
    root = Path(built.coco["info"]["image_root"])
    return overlaps(built.coco, built.models[0].evaluation.detections), root


def test_figures_of_images_that_also_chose_the_model(tmp_path):
    results = write_run(tmp_path, ["red"])
    warning = "The figures are of the images that also chose the weights"
    assert warning not in render(results).html
    shutil.copy(results / "dataset/test.json", results / "dataset/val.json")
    assert warning in render(results).html


def test_what_is_missing(tmp_path):
    results = write_run(tmp_path, ["red"])
    (results / "performance.json").unlink()
    (results / "pot/predictions.json").write_text("[]")
    (results / "speed.csv").unlink()
    (results / "dataset/batch.jpg").unlink()
    built = run.read(results)
    assert [model.name for model in built.models] == ["IR", "int8 (NNCF)"]
    assert [text.split(":")[0] for text in built.missing] == [
        "figures of the snapshot",
        "figures of the int8 (POT)",
        "latency",
        "first batch of the training",
    ]
    html = page.render(built, ASSETS, PROVENANCE).html
    assert "Classes of the IR" in html
    assert f"snakemake {results}/speed.csv" in html
    (results / "openvino/performance.json").write_text('{"f-meas')
    (said,) = (text for text in run.read(results, ["--cores", "1"]).missing if "the IR" in text)
    assert "performance.json cannot be read as JSON" in said
    assert said.endswith(f"; snakemake -f {results}/openvino/performance.json --cores 1")
    empty = page.render(run.read(tmp_path / "nothing"), ASSETS, PROVENANCE)
    assert empty.verdict == "No model of this run is measured yet."


@pytest.mark.parametrize(("budget", "all_fit"), [(250_000, True), (60_000, False)])
def test_pictures_keep_their_budget(tmp_path, monkeypatch, budget, all_fit):
    """Of images of noise, which compress badly."""
    results = run.read(write_run(tmp_path, HOSTILE))
    images = overlaps(results.coco, results.models[0].evaluation.detections)
    monkeypatch.setattr(gallery, "BUDGET", budget)
    worst = gallery.worst_images(images, tmp_path / "images", HOSTILE)
    assert sum(len(item["picture"]) for item in worst) <= budget
    assert len(worst) > 0
    assert (len(worst) == len(images)) == all_fit
    costs = [item["cost"] for item in worst]
    assert costs == sorted(costs, reverse=True)


def test_pictures_hold_one_image_at_a_time(tmp_path, monkeypatch):
    results = run.read(write_run(tmp_path, HOSTILE))
    images = overlaps(results.coco, results.models[0].evaluation.detections)
    read, held = gallery.read_image, []

    def counted(path):
        assert not [one for one in held if one() is not None]
        image = read(path)
        held.append(weakref.ref(image))
        return image

    monkeypatch.setattr(gallery, "read_image", counted)
    gallery.worst_images(images, tmp_path / "images", HOSTILE)
    assert len(held) > 1


@pytest.mark.parametrize(
    ("box", "seen"),
    [  # what is seen of the image: x1, y1, x2, y2 in the cut-out
        ((0, 0, 300, 200), (58, 72, 142, 128)),  # 720 pixels shrink to 200
        ((0, 0, 50, 50), (58, 58, 200, 200)),  # 120 grow to 200
        ((290, 190, 10, 10), (0, 0, 126, 126)),  # 38 grow to 200
    ],
)
def test_a_cut_out_shows_the_box_and_what_is_around(tmp_path, box, seen):
    """Of a white image of 300×200 pixels; beyond its edge all is grey."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 300, 3), 255, np.uint8))
    names = ("file_name", "x", "y", "width", "height")
    (cut,) = gallery.cutouts(pd.DataFrame([("a.png", *box)], columns=names), tmp_path)
    encoded = np.frombuffer(base64.b64decode(cut.split(",")[1]), np.uint8)
    part = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert part.shape == (200, 200, 3)
    left, top, right, bottom = seen
    grey = np.abs(part.astype(int) - 128).max(axis=2) < 20
    inside = grey[top + 8 : bottom - 8, left + 8 : right - 8]
    assert np.mean(inside) < 0.03  # the outline of the box may blend with white
    area = (right - left) * (bottom - top) / grey.size
    assert np.mean(grey) == pytest.approx(1 - area, abs=0.03)


def test_what_the_errors_of_an_image_cost():
    """Of 3 boxes, 2 are found, one with a false alarm: F-measure is 2·2/6, and 2·3/6 without."""
    box, other = (0, 0, 20, 20), (50, 0, 70, 20)
    coco = subset({1: [(RED, box), (RED, other)], 2: [(RED, box)]})
    found = {
        1: detections((RED, box, 0.9), (RED, (100, 50, 120, 70), 0.8)),
        2: detections((RED, box, 0.9)),
    }
    costs = gallery.image_costs(overlaps(coco, found))
    assert costs == pytest.approx([1 - 4 / 6, 0])
    assert np.all(gallery.image_costs(overlaps(coco, {})) > 0)


def test_a_budget_in_words():
    undecided = {"within_budget": True, "undecided": True}
    assert advice.passed({}) == "–"
    assert advice.passed(undecided) == "passed, but too few images to be sure"
    assert advice.passed({"within_budget": False}) == "not passed"


def test_what_is_missed_of_the_smallest_quarter():
    """Of 8 red squares of 10 to 80 pixels, those of 10 and 20 are the smallest quarter."""
    sides = range(10, 90, 10)
    coco = subset({side: [(RED, (0, 0, side, side))] for side in sides})
    found = {side: detections((RED, (0, 0, side, side), 0.9)) for side in sides if side > 10}
    table = smallest_quarter(overlaps(coco, found), ["red", "white"])
    assert table.loc["red"].tolist() == [27.5, 2, 1, 6, 0]
    assert table.loc["white"].fillna(0).tolist() == [0, 0, 0, 0, 0]
    assert len(smallest_quarter([], ["red"])) == 1


def test_advice_on_classes():
    columns = ["ground_truths", "precision", "recall", "small", "medium", "large"]
    columns += ["side", "smallest", "smallest_missed", "larger", "larger_missed"]
    rows = {
        "rare": [9, 0.1, 0.9, 0.1, 0.9, 0.9, 12.3, 2, 2, 7, 0],
        "tiny": [50, 0.9, 0.9, 0.2, 0.6, 0.5, 12.3, 12, 9, 38, 3],
        "small": [50, 0.9, 0.9, 0.2, 0.6, 0.5, 12.3, 12, 2, 38, 3],
        "missed": [50, 0.9, 0.5, None, 0.6, 0.5, 12.3, 12, 6, 38, 19],
        "good": [50, 0.9, 0.9, None, 0.6, None, 12.3, 0, 0, 50, 5],
    }
    remarks = advice.classes(pd.DataFrame.from_dict(rows, "index", columns=columns))
    assert remarks == [
        "classes with fewer than 10 boxes, too few to judge: 1 (rare)",
        "tiny: of the boxes below 12 pixels (square root of the area), 9 of 12 are missed, of the "
        "others 8 %: try a larger input_size, or tiling.",
        "small: weakest at small objects (AP 0.20, against 0.60 at medium ones): "
        "try a larger input_size, or tiling.",
        "missed: misses more than it invents; a lower threshold finds more.",
    ]
