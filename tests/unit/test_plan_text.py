"""Text and pictures of plans."""

import math
from xml.etree import ElementTree

import pytest

from detmake.build import plan
from detmake.build.plan import Job
from detmake.report import plan_drawing

SVG = "{http://www.w3.org/2000/svg}"

JOBS = [
    Job("Evaluating", ["out/performance.json"], needs=[2, 1], follows=["out/weights.pth"]),
    Job("Checking the data", ["out/train.json", "out/images.txt"]),
    Job("Training", ["out/weights.pth"], needs=[1], reasons=["learning_rate: 0.1 → 0.2"]),
]


def test_the_text_lists_jobs_in_build_order():
    assert plan.text(JOBS, "Plan of all").splitlines() == [
        "Plan of all: 2 of 3 jobs to run",
        "",
        "ok    Checking the data  out/train.json +1",
        "make  Training           out/weights.pth       learning_rate: 0.1 → 0.2",
        "make  Evaluating         out/performance.json  follows out/weights.pth",
    ]


def test_a_picture_of_steps_that_were_run():
    steps = [
        {"name": "train", "files": ["w.pth"], "needs": [1], "note": "0:26:12"},
        {"name": "prepare", "files": ["t.json"], "needs": [], "note": ""},
    ]
    svg = plan_drawing.of_steps(steps, "Steps to results", "With their times")
    boxes, edges = read(svg)
    assert len(boxes) == 2
    assert len(edges) == 1
    assert "0:26:12" in svg
    assert "up to date" not in svg
    assert "to run" not in svg


def test_nothing_to_do():
    text = plan.text([Job("Checking", ["a.json"])], "Plan")
    assert text == "Plan: 0 of 1 jobs to run\n\nok    Checking  a.json\n"


def test_long_names_and_reasons_stay_within_100_columns():
    reasons = [f"learning_parameters.key_{index}: before → after" for index in range(9)]
    job = Job("Quantizing my_results/large", [f"{'very/' * 30}end.xml"] * 3, reasons=reasons)
    lines = plan.text([job], "Plan").splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[2].endswith("very/end.xml +2")
    told = " ".join(" ".join(lines[3:]).split())
    assert told == "; ".join([*reasons[:6], "3 more"])


PARAMETERS = {
    "a value": (
        ["'train.rate: 0.1'"],
        ["'train.rate: 0.2'"],
        ["train.rate: 0.1 → 0.2"],
    ),
    "a word": (["'p.preset: \"a\"'"], ["'p.preset: \"b\"'"], ["p.preset: a → b"]),
    "a new one": ([], ["'train.seed: 1'"], ["train.seed: now 1"]),
    "a removed one": (["'train.seed: 1'"], [], ["train.seed: no longer 1"]),
    "contents": (
        [f"'code/a.py: {'0' * 16}'", f"'code/b.py: {'0' * 16}'"],
        [f"'code/a.py: {'f' * 16}'"],
        ["code/a.py changed", "code/b.py changed"],
    ),
    "contents that the build has written": (
        ["None"],
        [f"'images in data/train: {'f' * 16}'"],
        ["images in data/train changed"],
    ),
    "many of one section": (
        [f"'model.head.key{index}: 1'" for index in range(9)],
        [f"'model.neck.key{index}: 2'" for index in range(9)],
        ["model: 18 values changed"],
    ),
    "values without a name of their own": (
        ["'x'"],
        ["'y'", "inf"],
        ["url: now 'y'", "seconds: now inf"],
    ),
    "no named value": (["'x'"], [], ["parameters changed"]),
}


@pytest.mark.parametrize("before, now, told", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_changed_parameters(before, now, told):
    lines = [literal.strip("'") for literal in now if ": " in literal]
    named = {"same": 1, "nothing": None, "url": "y", "seconds": math.inf}
    named |= {f"line {index}": line for index, line in enumerate(lines)}
    assert plan.parameter_changes(before, now, named) == told


def test_changed_files():
    assert plan.file_changes(["a", "b"], ["b", "c"]) == ["new input c", "no longer an input: a"]


def read(svg: str) -> tuple[list[ElementTree.Element], set[tuple[int, int]]]:
    """Return the boxes and the edges of a picture."""
    root = ElementTree.fromstring(svg)
    boxes = [group for group in root.iter(f"{SVG}g") if "job" in group.get("class").split()]
    edges = [path for path in root.iter(f"{SVG}path") if "edge" in path.get("class", "").split()]
    return boxes, {(int(edge.get("data-from")), int(edge.get("data-to"))) for edge in edges}


def test_the_picture_has_a_box_for_each_job_and_an_edge_for_each_dependency():
    boxes, edges = read(plan_drawing.svg(JOBS, "Plan"))
    assert edges == {(2, 0), (1, 0), (1, 2)}
    lines = [{text.get("class"): text.text for text in box.iter(f"{SVG}text")} for box in boxes]
    assert [tuple(line[kind] for kind in ("mark", "name", "file", "reason")) for line in lines] == [
        ("make", "Evaluating", "out/performance.json", "follows out/weights.pth"),
        ("ok", "Checking the data", "out/train.json +1", "up to date"),
        ("make", "Training", "out/weights.pth", "learning_rate: 0.1 → 0.2"),
    ]
    kinds = [box.get("class") for box in boxes]
    assert kinds == ["job stale", "job fresh", "job stale cause"]


def test_the_tooltip_has_the_full_text_of_a_box():
    files = [f"{'long/' * 20}{name}" for name in ("a.xml", "b.xml")]
    job = Job("Training " + "x" * 99, files, reasons=["key: now " + "y" * 99])
    (box,), _ = read(plan_drawing.svg([job], "Plan"))
    assert all(len(text.text) < 60 for text in box.iter(f"{SVG}text"))
    tooltip = box.find(f"{SVG}title").text
    assert all(whole in tooltip for whole in (job.name, *files, *job.reasons))


def test_boxes_do_not_overlap_and_lie_within_the_picture():
    jobs = [Job(f"Job {index}", ["f"], needs=range(max(index - 3, 0), index)) for index in range(9)]
    jobs += [Job(f"Leaf {index}", ["f"], needs=[0]) for index in range(7)]
    svg = plan_drawing.svg(jobs, "Plan")
    root = ElementTree.fromstring(svg)
    *_, width, height = map(float, root.get("viewBox").split())
    places = []
    for box in read(svg)[0]:
        rectangle = box.find(f"{SVG}rect")
        x, y, w, h = (float(rectangle.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        places.append((x, y, w, h))
    for index, (x, y, w, h) in enumerate(places):
        for other_x, other_y, _, _ in places[:index]:
            assert abs(x - other_x) >= w or abs(y - other_y) >= h


@pytest.mark.parametrize("name", ["<b>&\"'", "a\nb", "bell\a", "\udcff"], ids=ascii)
def test_any_file_name(name):
    job = Job(name, [name], reasons=[f"{name} missing"])
    svg = plan_drawing.svg([job], name)
    svg.encode("utf-8")
    assert len(read(svg)[0]) == 1
    assert len(plan.text([job], "Plan").splitlines()) == 3
