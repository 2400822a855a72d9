"""detmake as a module of the user's own workflow, in a folder of its own."""

import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import CONFIG, CORES
from test_own_folder import CODE_TRIGGER, clone, snakemake  # noqa: F401

SNAKEFILE = """
configfile: "config/config.yaml"

rule use_model:
    input:
        "out/openvino/openvino.xml",
        "out/openvino/openvino.bin",
    output:
        "size.txt",
    shell:
        "wc -c {{input}} > {{output}}"

module detmake:
    snakefile: {snakefile}
    config: config["detector"]

use rule * from detmake as detmake_*

rule make_data:
    output:
        annotations="made/{{subset}}{annotations}",
        {images}
    script:
        "make.py"
"""


def quoted(folder: Path) -> str:
    """The path of a clone's Snakefile, as Python writes it."""
    return repr(str(folder / "Snakefile"))


# Draws squares, and writes their annotations.
SCRIPT = """
import json
from pathlib import Path

import cv2
import numpy as np

folder = Path("made") / snakemake.wildcards.subset
folder.mkdir(parents=True, exist_ok=True)
coco = {"categories": [{"id": 1, "name": "square"}], "images": [], "annotations": []}
shade = 80 + sum(folder.name.encode()) % 60  # subsets differ
for index in range(4):
    image = np.full((96, 128, 3), shade, np.uint8)
    x, y = 10 + 8 * index, 20
    image[y : y + 30, x : x + 30] = 255
    cv2.imwrite(str(folder / f"{index}.png"), image)
    file = {"file_name": f"{index}.png", "width": 128, "height": 96}
    box = {"image_id": index, "category_id": 1, "bbox": [x, y, 30, 30], "iscrowd": 0}
    coco["images"].append({"id": index, **file})
    coco["annotations"].append({"id": index, **box})
Path(snakemake.output.annotations).write_text(json.dumps(coco))
"""

SUBSETS = {
    name: {"ann-files": f"made/{folder}.json", "data-roots": f"made/{folder}"}
    for name, folder in {"train": "train", "val": "valid"}.items()
}
# With this seed, each of the three subsets gets one image or two.
ONE_SET = {
    "source": "made/train/_annotations.coco.json",
    "split": {"val": 0.2, "test": 0.3},
    "seed": 1,
}
# The outputs of `make_data` are annotations and an image folder, or annotations beside the images.
LAYOUTS = {
    "apart": (".json", 'images=directory("made/{subset}")', SUBSETS),
    "together": ("/_annotations.coco.json", "", "made"),
    "split": ("/_annotations.coco.json", "", ONE_SET),
}
PREPARED = ["out/dataset/train.json", "out/dataset/val.json", "out/dataset/test.json"]


@pytest.fixture
def make(clone, tmp_path):  # noqa: F811
    """Write a folder with a workflow of the user's own that imports detmake."""

    def make(layout: str) -> Path:
        annotations, images, data = LAYOUTS[layout]
        text = SNAKEFILE.format(snakefile=quoted(clone), annotations=annotations, images=images)
        (tmp_path / "Snakefile").write_text(text)
        (tmp_path / "make.py").write_text(SCRIPT)
        (tmp_path / "config").mkdir()
        short = {"batch_size": 4, "num_iters": 1, "learning_rate_warmup_iters": 1}
        config = CONFIG | {"data": data, "results": "out", "learning_parameters": short}
        (tmp_path / "config/config.yaml").write_text(
            yaml.safe_dump({"own": 1, "detector": config}), encoding="utf-8"
        )
        return tmp_path

    return make


@pytest.mark.slow
def test_detmake_runs_between_rules_of_the_users_own(make):
    own = make("apart")
    snakemake(own, "--cores", CORES)
    assert "out/openvino/openvino.bin" in (own / "size.txt").read_text()
    assert "Nothing to be done" in snakemake(own, "--dry-run")
    assert "to run" in snakemake(own, "detmake_plan", "--cores", "1")
    assert "ok    Training" in (own / "out/plan.txt").read_text()
    assert "ATSS-MobileNetV2" in snakemake(own, "--cores", "1", "detmake_templates")
    with (own / "make.py").open("a") as script:
        script.write("# edited\n")
    output = snakemake(own, "--dry-run")
    assert "make_data" in output
    assert "detmake_train" in output


@pytest.mark.parametrize(
    "layout",
    ["apart", *(pytest.param(name, marks=pytest.mark.slow) for name in ("together", "split"))],
)
def test_a_dataset_made_by_a_rule_of_the_users_own_is_up_to_date(make, layout):
    own = make(layout)
    assert snakemake(own, "--cores", CORES, *PREPARED).count(CODE_TRIGGER) == 1
    assert "Nothing to be done" in snakemake(own, "--dry-run", *PREPARED)
    # That call wrote the records of the first one, and this one gives them back.
    (own / ".snakemake").rename(own / "away")
    assert "Nothing to be done" in snakemake(own, "--dry-run", *PREPARED)
    records = {path.name for path in (own / ".snakemake/metadata").iterdir()}
    assert len(records & {path.name for path in (own / "away/metadata").iterdir()}) == 3


def test_a_wrong_path_stops_a_finished_build(make):
    """Even where only a rule of the user's own uses the results."""
    own = make("together")
    (own / "out/openvino").mkdir(parents=True)
    for name in ("out/openvino/openvino.xml", "out/openvino/openvino.bin", "size.txt"):
        (own / name).touch()
    output = snakemake(own, "--dry-run", "--config", "detector={data: maid}", fails=True)
    assert "data: maid does not exist" in output


def test_a_target_can_be_named_by_its_rule(make):
    own = make("apart")
    assert "Completing out:" in snakemake(own, "--dry-run", "detmake_all")
    assert "Wrote profiles/default/config.yaml" in snakemake(own, "--cores", "1", "detmake_init")
    profile = yaml.safe_load((own / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    assert "snakefile" not in profile  # so that the folder's own Snakefile runs


def test_the_command_line_overrides_a_key(make):
    own = make("apart")
    output = snakemake(own, "--dry-run", "detmake_all", "--config", "detector={results: other}")
    assert "Completing other:" in output


def refused(folder: Path, definition: str) -> str:
    (folder / "Snakefile").write_text(
        f"module detmake:\n    {definition}\n\nuse rule * from detmake\n"
    )
    return snakemake(folder, "--dry-run", fails=True)


def test_a_prefix_is_refused(clone, tmp_path):  # noqa: F811
    for prefix in ('prefix: "there"', 'replace_prefix: {"results/": "there/"}'):
        output = refused(
            tmp_path, f"snakefile: {quoted(clone)}\n    config: {CONFIG}\n    {prefix}"
        )
        assert "has a `prefix:` or `replace_prefix:` that changes results/" in output
        assert "by the key `results` of the module's `config:`" in output


def test_a_module_without_configuration_is_refused(clone, tmp_path):  # noqa: F811
    output = refused(tmp_path, f"snakefile: {quoted(clone)}")
    assert "Add `config: config` to it." in output
    output = refused(tmp_path, f"snakefile: {quoted(clone)}\n    config: config")
    assert "data: missing" in output


def test_a_module_that_is_not_a_local_clone_is_refused(project, tmp_path, monkeypatch):
    """One comes from GitHub, by way of Snakemake's cache; the other from a commit of a clone."""
    cached = tmp_path / "cache/snakemake/snakemake/source-cache/snakemake-git-cache/github.com/a/b"
    for command in (
        ["init", "--quiet", "--initial-branch", "main", "."],
        ["add", "--force", "Snakefile", "rules", "scripts", "config", "templates"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "a"],
        ["tag", "v1"],
        ["clone", "--quiet", "--bare", ".", cached],
    ):
        subprocess.run(["git", *command], cwd=project.folder, check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for file in (
        'github("a/b", path="Snakefile", tag="v1")',
        f'gitfile("{project.folder}", path="Snakefile", tag="v1")',
    ):
        output = refused(tmp_path, f"snakefile: {file}\n    config: {CONFIG}")
        assert "runs from a local clone only" in output
        assert "Clone the repository and name the Snakefile in the clone" in output


def test_pip_in_environments_of_the_users_own_installs_dependencies(make, monkeypatch):
    monkeypatch.delenv("PIP_NO_DEPS", raising=False)
    own = make("apart")
    with (own / "Snakefile").open("a") as snakefile:
        snakefile.write('\nprint("PIP_NO_DEPS:", os.environ.get("PIP_NO_DEPS"))\n')
    assert "PIP_NO_DEPS: None" in snakemake(own, "--dry-run", "detmake_all")
