"""Every key that a message or the documentation names is one of the configuration."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "rules/schema.yaml").read_text(encoding="utf-8"))
SECTIONS = {name: part for name, part in SCHEMA["properties"].items() if "properties" in part}
#: `section.key`, but not a name of a file, such as data.yaml, or a call.
KEY = re.compile(rf"(?<![\w./])({'|'.join(SECTIONS)})\.([a-z_]\w*)(?!\w*[(/])")
SUFFIXES = {"yaml", "yml", "json", "csv", "py", "smk", "zip", "md", "png", "jpg", "txt", "html"}


def unknown(text: str) -> set[str]:
    """Keys in a text that the schema does not have."""
    return {
        f"{section}.{key}"
        for section, key in KEY.findall(text)
        if key not in SECTIONS[section]["properties"]
        and key not in SUFFIXES
        and not (ROOT / f"scripts/detmake/{section}/{key}.py").exists()
    }


def messages(file: Path) -> Iterator[str]:
    """The texts in a Python file, except docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


def test_keys_in_messages():
    files = [*(ROOT / "scripts").rglob("*.py")]
    texts = {file: "\n".join(messages(file)) for file in files}
    rules = [*(ROOT / "rules").iterdir(), ROOT / "Snakefile"]
    texts |= {file: file.read_text(encoding="utf-8") for file in rules}
    assert sum(len(KEY.findall(text)) for text in texts.values()) > 10
    found = {str(file): unknown(text) for file, text in texts.items() if unknown(text)}
    assert found == {}


@pytest.mark.parametrize("folder", ["docs", "config", "rules", "scripts", "README.md"])
def test_keys_in_documentation(folder):
    files = {ROOT / folder, *(ROOT / folder).rglob("*")}
    files -= {ROOT / "docs/architecture.md"}  # it names modules, as in store.describe
    texts = {f: f.read_text(encoding="utf-8") for f in files if f.suffix in {".md", ".html"}}
    wrong = set().union(*map(unknown, texts.values()))
    assert wrong <= {"learning_parameters.batchsize"}  # the manual's example of a mistake


def test_a_wrong_key_would_be_found():
    assert unknown("Raise pot_parameters.num_iters or data.yaml.") == {"pot_parameters.num_iters"}
