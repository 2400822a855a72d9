"""Read Python source: what it says, regardless of how it is written, and what it imports."""

import ast
import hashlib
from importlib.util import resolve_name
from typing import Any

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# `ctx` follows from the place of a node; `kind` is the prefix of a string.
_LEFT_OUT = {"ctx", "kind"}


def digest(tree: ast.Module) -> str:
    """Hash the syntax of a module.

    Comments, docstrings, formatting and line numbers do not count. The digest is the same with any
    Python that detmake supports.

    Returns:
        The first 16 hexadecimal digits of a SHA-256.
    """
    # Not ast.dump, which Python's versions write differently; ASCII, since what counts as printable
    # depends on the version, too.
    return hashlib.sha256(ascii(_form(tree)).encode()).hexdigest()[:16]


def imports(tree: ast.Module, package: str) -> set[str]:
    """Return the dotted names of all that a module imports, also within functions.

    Args:
        tree: the module.
        package: dotted name of its package, from which relative imports count; empty for a script.

    Returns:
        Modules and, after `from`, their members, which may be modules.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def _form(value: Any) -> Any:
    """Return a value of a syntax tree as nested tuples, without fields that are empty."""
    if isinstance(value, list):
        return tuple(map(_form, value))
    if not isinstance(value, ast.AST):
        return value
    fields = dict(ast.iter_fields(value))
    if isinstance(value, _DOCUMENTED) and ast.get_docstring(value, clean=False) is not None:
        fields["body"] = value.body[1:]
    if isinstance(value, ast.JoinedStr):
        # Python 3.12 writes empty texts between the values of a format.
        fields["values"] = [part for part in value.values if getattr(part, "value", None) != ""]
    return type(value).__name__, *(
        (name, _form(field))
        for name, field in fields.items()
        if name not in _LEFT_OUT and field is not None and field != []
    )
