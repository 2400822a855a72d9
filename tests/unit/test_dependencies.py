"""Digests of imported modules, and lines that describe settings."""

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
def test_a_change_in_an_imported_module_changes_the_digest(script, module):
    before = source_digests(script)
    assert source_digests(script) == before
    append_comment(script.parent / module)
    assert source_digests(script) != before


@pytest.mark.parametrize("module", ["package/unrelated.py", "unrelated.py", "script.py"])
def test_a_module_that_is_not_imported_does_not_change_the_digest(script, module):
    before = source_digests(script)
    append_comment(script.parent / module)
    assert source_digests(script) == before


def test_another_import_changes_the_digest(script):
    before = source_digests(script)
    script.write_text(script.read_text() + "import package.unrelated\n")
    assert source_digests(script) != before


def test_the_folder_of_the_source_does_not_change_the_digest(script, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "scripts"
    shutil.copytree(script.parent, copy)
    assert source_digests(copy / "script.py") == source_digests(script)


def test_only_the_digest_of_the_changed_module_differs(script):
    before = source_digests(script)
    append_comment(script.parent / "package/member.py")
    changed = source_digests(script).items() - before.items()
    assert [name for name, _ in changed] == ["package/member.py"]
    assert "script.py" not in before


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
    modules = source_digests(SCRIPTS / f"{name}.py")
    assert "detmake/artifacts.py" in modules
    assert not [module for module in modules if module.split("/")[1] in packages]
