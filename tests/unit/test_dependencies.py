"""Which changes of the source are changes of a result."""

import shutil
from pathlib import Path

import pytest

from detmake.build.dependencies import lines, source_digests

SCRIPTS = Path(__file__).parents[2] / "scripts"

PACKAGE = {
    "script.py": """\
        import json
        import uninstalled_package
        from package import member
        from package.direct import function
        """,
    "package/__init__.py": "",
    "package/direct.py": "from package import transitive\n",
    "package/transitive.py": "def function():\n    from package.inner import late\n",
    "package/member.py": "value = 1\n",
    "package/inner/__init__.py": "",
    "package/inner/late.py": "",
    "package/unrelated.py": "",
    "unrelated.py": "import package.unrelated\n",
}


@pytest.fixture
def script(tmp_path):
    for name, source in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "\n".join(line.strip() for line in source.splitlines()) + "\n"
            if name == "script.py"
            else source
        )
    return tmp_path / "script.py"


def append_comment(path):
    with path.open("a", encoding="utf-8") as file:
        file.write("# changed\n")


@pytest.mark.parametrize(
    "module",
    [
        "package/__init__.py",
        "package/direct.py",
        "package/transitive.py",
        "package/member.py",
        "package/inner/__init__.py",
        "package/inner/late.py",
    ],
)
def test_a_changed_module_that_is_imported_changes_the_digest(script, module):
    before = source_digests(script)
    assert source_digests(script) == before
    append_comment(script.parent / module)
    assert source_digests(script) != before


@pytest.mark.parametrize("module", ["package/unrelated.py", "unrelated.py", "script.py"])
def test_other_changes_do_not(script, module):
    before = source_digests(script)
    append_comment(script.parent / module)
    assert source_digests(script) == before


def test_another_import_changes_the_digest(script):
    before = source_digests(script)
    script.write_text(script.read_text() + "import package.unrelated\n")
    assert source_digests(script) != before


def test_the_place_of_the_source_does_not_matter(script, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "scripts"
    shutil.copytree(script.parent, copy)
    assert source_digests(copy / "script.py") == source_digests(script)


def test_a_changed_module_is_the_one_whose_digest_changes(script):
    before = source_digests(script)
    append_comment(script.parent / "package/member.py")
    changed = source_digests(script).items() - before.items()
    assert [name for name, _ in changed] == ["package/member.py"]
    assert "script.py" not in before


def test_lines_of_a_setting():
    section = {"rate": 0.1, "on": True, "none": None, "deep": {"list": [1, {"a": "ä"}]}, "void": {}}
    assert lines("section", section) == {
        "section.rate": "section.rate: 0.1",
        "section.on": "section.on: true",
        "section.none": "section.none: null",
        "section.deep.list": 'section.deep.list: [1, {"a": "ä"}]',
        "section.void": "section.void: {}",
    }
    assert lines("name", "x") == {"name": 'name: "x"'}


@pytest.mark.parametrize(
    "one, other", [("1", 1), (None, "null"), ({}, []), (True, "true"), (1, 1.5)]
)
def test_lines_of_different_values_differ(one, other):
    assert lines("key", one) != lines("key", other)


@pytest.fixture
def scripts(tmp_path):
    """A copy of the project's scripts, to change."""
    return shutil.copytree(
        SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )


@pytest.mark.parametrize(
    ("name", "depends", "depends_not"),
    [
        (
            "evaluate_ir",
            [
                "evaluation/metrics",
                "evaluation/performance",
                "runtime/inference",
                "detections",
                "artifacts",
                "errors",
            ],
            [
                "training/train",
                "model/snapshot",
                "model/network",
                "model/decoder",
                "model/mmcv_ops",
                "model/ir",
                "quantization/post_training",
            ],
        ),
        (
            "evaluate_snapshot",
            [
                "evaluation/metrics",
                "evaluation/performance",
                "model/snapshot",
                "model/network",
                "model/mmcv_ops",
            ],
            [
                "training/train",
                "model/decoder",
                "model/ir",
                "quantization/post_training",
                "runtime/inference",
            ],
        ),
        (
            "train",
            [
                "training/train",
                "training/process",
                "training/recipe",
                "training/resume",
                "training/runner",
                "training/schedule",
                "training/validation",
                "evaluation/metrics",
                "model/snapshot",
                "model/network",
                "model/mmcv_ops",
                "data/subsets",
            ],
            [
                "model/decoder",
                "model/ir",
                "quantization/post_training",
                "runtime/inference",
                "evaluation/performance",
            ],
        ),
        (
            "export",
            [
                "model/ir",
                "model/decoder",
                "runtime/model_folder",
                "model/snapshot",
                "model/network",
            ],
            [
                "training/train",
                "quantization/post_training",
                "runtime/inference",
                "evaluation/performance",
            ],
        ),
        (
            "quantize_pot",
            [
                "quantization/post_training",
                "quantization/budget",
                "evaluation/metrics",
                "runtime/model_folder",
                "runtime/inference",
            ],
            [
                "training/train",
                "model/snapshot",
                "model/network",
                "model/mmcv_ops",
                "evaluation/performance",
            ],
        ),
        (
            "prepare_dataset",
            ["data/checking", "data/subsets", "errors"],
            ["training/train", "evaluation/metrics", "model/network"],
        ),
    ],
)
def test_results_depend_on_the_modules_that_make_them(scripts, name, depends, depends_not):
    script = scripts / f"{name}.py"
    digest = source_digests(script)
    for module in depends_not:
        append_comment(scripts / "detmake" / f"{module}.py")
        assert source_digests(script) == digest, module
    for module in depends:
        append_comment(scripts / "detmake" / f"{module}.py")
        changed = source_digests(script)
        assert changed != digest, module
        digest = changed
