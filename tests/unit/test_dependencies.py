"""What a script runs, the versions of its packages, and lines that describe settings."""

import ast
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from detmake.build import dependencies, syntax
from detmake.build.dependencies import code_of_scripts, lines, versions
from detmake.packages import COMPUTING

SCRIPTS = Path(__file__).parents[2] / "scripts"

PACKAGE = {
    "script.py": (
        "import json\n"
        "import uninstalled_package\n"
        "from package import member\n"
        "from package.direct import function\n"
    ),
    "other/cv2_tools.py": "import cv2.ximgproc\n",
    "other/__init__.py": "",
    "apart/script.py": "from numpy import array\nfrom package.inner import late\n",
    "package/__init__.py": "",
    "package/direct.py": "from package import transitive\n",
    "package/transitive.py": "def function():\n    from package.inner import late\n",
    "package/member.py": "from PIL import Image\nimport tqdm\nfrom . import relative\n",
    "package/relative.py": "",
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
        path.write_text(source)
    return tmp_path / "script.py"


def edit(path):
    path.write_text(path.read_text() + "EDITED = 1\n")


def digests_of(script):
    return code_of_scripts(script.parent)["script.py"].files


def test_the_code_of_a_script_is_the_script_and_the_modules_that_it_imports(script):
    assert list(digests_of(script)) == [
        "package/__init__.py",
        "package/direct.py",
        "package/inner/__init__.py",
        "package/inner/late.py",
        "package/member.py",
        "package/relative.py",
        "package/transitive.py",
        "script.py",
    ]


def test_scripts_are_the_files_outside_of_packages(script):
    scripts = code_of_scripts(script.parent)
    assert set(scripts) == {"script.py", "unrelated.py", "apart/script.py"}
    assert "package/inner/late.py" in scripts["apart/script.py"].files


def test_packages_are_those_that_a_script_or_its_modules_import_and_compute_with(script):
    scripts = code_of_scripts(script.parent)
    assert scripts["script.py"].packages == ["pillow"]
    assert scripts["apart/script.py"].packages == ["numpy"]
    (script.parent / "package/inner/late.py").write_text("import other.cv2_tools\n")
    scripts = code_of_scripts(script.parent)
    assert scripts["apart/script.py"].packages == ["numpy", "opencv-python-headless"]


def test_an_edit_changes_the_digest_of_that_file_alone(script):
    before = digests_of(script)
    for file in before:
        original = (script.parent / file).read_text()
        edit(script.parent / file)
        assert {name for name, _ in digests_of(script).items() - before.items()} == {file}
        (script.parent / file).write_text(original)
    for file in ("package/unrelated.py", "unrelated.py"):
        edit(script.parent / file)
    assert digests_of(script) == before


def test_a_comment_changes_no_digest(script):
    before = digests_of(script)
    for file in before:
        path = script.parent / file
        path.write_text(f"# A comment.\n{path.read_text()}")
    assert digests_of(script) == before


def test_another_import_changes_the_code(script):
    script.write_text(script.read_text() + "import package.unrelated\n")
    assert "package/unrelated.py" in digests_of(script)


def test_the_folder_of_the_source_does_not_change_the_digest(script, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "scripts"
    shutil.copytree(script.parent, copy)
    assert digests_of(copy / "script.py") == digests_of(script)


def test_a_locked_file_of_an_editor_is_no_script(script):
    (script.parent / ".#script.py").symlink_to("me@here.1234")
    assert ".#script.py" not in code_of_scripts(script.parent)


def read_anew(monkeypatch):
    """Count how often the sources are read."""
    reads = []
    parse = dependencies.ast.parse
    monkeypatch.setattr(
        dependencies.ast,
        "parse",
        lambda *args, **named: reads.append(args) or parse(*args, **named),
    )
    return reads


def test_sources_that_stay_as_they_are_are_read_once(script, tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("snakemake") / "state/code"
    first = code_of_scripts(script.parent, cache)
    reads = read_anew(monkeypatch)
    assert code_of_scripts(script.parent, cache) == first == code_of_scripts(script.parent)
    assert len(reads) == len(PACKAGE)  # by the call without a cache


CHANGES = {
    "edited": edit,
    "edited within its old time": lambda path: keeping_time(path, edit),
    "of the same size and time": lambda path: keeping_time(
        path, lambda path: path.write_text(path.read_text().replace("array", "asarr"))
    ),
    "removed": os.remove,
    "touched": lambda path: os.utime(path, (1, 1)),
}


def keeping_time(path, change):
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_known_of_other_sources_is_not_used(script, tmp_path_factory, change):
    cache = tmp_path_factory.mktemp("snakemake") / "code"
    code_of_scripts(script.parent, cache)
    change(script.parent / "apart/script.py")
    assert code_of_scripts(script.parent, cache) == code_of_scripts(script.parent)


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 9, b"[1]", b'{"state": 1}', b'{"state": ', b"\xff"]
)
def test_a_damaged_cache_is_made_anew(script, tmp_path_factory, monkeypatch, damage):
    cache = tmp_path_factory.mktemp("snakemake") / "code"
    expected = code_of_scripts(script.parent, cache)
    content = cache.read_bytes()
    cache.write_bytes(damage or content[: len(content) // 2])
    assert code_of_scripts(script.parent, cache) == expected
    assert cache.read_bytes() == content


def test_a_cache_that_cannot_be_written_does_no_harm(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("snakemake")
    (folder / "file").write_text("")
    assert code_of_scripts(script.parent, folder / "file/code") == code_of_scripts(script.parent)


ENVIRONMENT = """\
dependencies:
  - python=3.11
  - pip:
      - numpy==1.2.3+cpu
      - tqdm==4.0
      - onedl-mmcv==2.3.6
"""


@pytest.fixture
def environment(tmp_path):
    file = tmp_path / "training.yaml"
    file.write_text(ENVIRONMENT)
    return file


def test_versions_of_a_conda_environment_are_those_that_it_pins(environment):
    packages = ["numpy", "onedl-mmcv", "torch"]
    assert versions(packages, environment, installed=False) == {
        "numpy": "1.2.3",
        "onedl-mmcv": "2.3.6",
    }


def test_versions_of_installed_packages_are_public(environment, tmp_path, monkeypatch):
    found = versions(["onedl-mmcv"], environment, installed=True)
    assert found == {"onedl-mmcv": metadata.version("onedl-mmcv")}
    environment.write_text("- stand-in==1.0\n")
    folder = tmp_path / "stand_in-9.9.9.dist-info"
    folder.mkdir()
    text = "Metadata-Version: 2.1\nName: stand-in\nVersion: 9.9.9+cu130\n\nVersion: 1\n"
    (folder / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert versions(["stand-in"], environment, installed=True) == {"stand-in": "9.9.9"}


def test_a_package_that_is_not_installed(environment):
    environment.write_text("- absent-package==1.0\n")
    assert versions(["absent-package"], environment, installed=True) == {
        "absent-package": "not installed"
    }


def test_each_package_that_is_imported_computes_or_is_known_not_to():
    imports = {
        name.partition(".")[0]
        for file in SCRIPTS.rglob("*.py")
        for name in syntax.imports(ast.parse(file.read_text(encoding="utf-8")), "detmake")
    }
    others = imports - sys.stdlib_module_names - {"detmake"} - COMPUTING.keys()
    # SciPy draws the plan, Jinja2 and Matplotlib the report.
    assert others == {
        *("jinja2", "jsonschema", "matplotlib", "pandas", "requests", "scipy", "snakemake"),
        *("tabulate", "tqdm", "yaml"),
    }


def test_each_package_that_computes_is_pinned():
    """By this very name, or its version would silently not count."""
    lock = (SCRIPTS.parent / "requirements.txt").read_text(encoding="utf-8")
    for package in COMPUTING.values():
        assert f"\n{package}==" in lock


def test_a_setting_has_one_line_per_value():
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


# Packages that a script must not import. All these steps follow training, so that a dry-run, where
# they run again in any case, cannot show such an import.
@pytest.mark.parametrize(
    "name, packages",
    [
        ("evaluate_snapshot", ["training", "quantization"]),
        ("export", ["training", "quantization"]),
        ("quantize_pot", ["training", "model"]),
        ("evaluate_ir", ["training", "model", "quantization"]),
    ],
)
def test_a_script_after_training_imports_no_more_than_its_step(name, packages):
    modules = code_of_scripts(SCRIPTS)[f"{name}.py"].files
    assert "detmake/artifacts.py" in modules
    others = tuple(f"detmake/{package}/" for package in packages)
    assert not [module for module in modules if module.startswith(others)]
