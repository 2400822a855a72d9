"""Digests of syntax: what counts as a change of code."""

import ast

import pytest

from detmake.build import syntax

SOURCE = '''\
"""A module."""

import asyncio
from functools import cache as cached

RATES: dict[str, float] = {"a": 1e-3, **{}}


@cached
def function(x: int, /, *rest, key: str | None = None, **others) -> list[int]:
    """A function."""
    def inner(y=(1, -2.5, 3j)):
        return lambda z, *, w=b"\\0": (x, y, z, w)
    if (n := len(rest)) > 10:
        print(f"{n=} {x!r:>{n}.{x}} {{}} {'ä' 'ß'}", rf"\\d{n:}", u"text")
    match others:
        case {"type": "a" | "b" as kind, **more} if kind:
            return [*more, ...]
        case [1, None, *_] | Path(name=True):
            global RATES
            del RATES
    return [a async for a in x if a] if inner else {a: b for a, b in rest}


class Case(Path, metaclass=type):
    """A class."""

    async def method(self):
        try:
            async with self as a, self: await asyncio.sleep(0)
        except* (OSError, ValueError) as error:
            raise RuntimeError from error
        else:
            while True: break
        yield self[1:2, ::3], not self, self @ self, 1 < 2 <= 3
'''


def digest(source: str) -> str:
    return syntax.digest(ast.parse(source))


def test_a_digest_is_the_same_with_every_python():
    """Pinned: a digest that another Python, or another detmake, writes would make all stale."""
    assert digest(SOURCE) == "549ac929f497bc5d"


UNCHANGED = {
    "comment": lambda source: (
        "# A comment.\n" + source.replace("    if (n", "    # One.\n    if (n")
    ),
    "lines": lambda source: "\n\n\n" + source,
    "docstrings": lambda source: source.replace('"""A ', '"""Another '),
    "no docstring of a module": lambda source: source.removeprefix('"""A module."""'),
    "no docstring of a function": lambda source: source.replace('    """A function."""\n', ""),
    "quotes": lambda source: source.replace('u"text"', "'text'").replace("'ä' 'ß'", "'äß'"),
    "formatting": lambda source: ast.unparse(ast.parse(source)),
    "parentheses": lambda source: source.replace("return [*more, ...]", "return ([*more, (...)])"),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_how_a_module_is_written_does_not_count(change):
    changed = change(SOURCE)
    assert changed != SOURCE
    assert digest(changed) == digest(SOURCE)


CHANGED = {
    "a text": ('u"text"', 'u"Text"'),
    "a text that is no docstring": ("    match others", '    "A text."\n    match others'),
    "an empty text": ('u"text"', '""'),
    "a text of an f-string": ("{{}}", "{{ }}"),
    "a format": (":>{n}", ":<{n}"),
    "a conversion": ("!r", "!s"),
    "a number": ("1e-3", "2e-3"),
    "the type of a number": ("case [1,", "case [1.0,"),
    "a truth value": ("Path(name=True)", "Path(name=1)"),
    "bytes": ('b"\\0"', '"\\0"'),
    "nothing": ("key: str | None = None", "key: str | None"),
    "a key": ("**{}", '"b": {}'),
    "a name": ("as kind, **more", "as kind, **less"),
    "a type hint": ("x: int", "x: float"),
    "a decorator": ("@cached\n", ""),
    "an order": ('"a" | "b"', '"b" | "a"'),
    "a statement": ("del RATES", "del RATES\n            pass"),
    "an operator": ("1 < 2 <= 3", "1 < 2 < 3"),
}


@pytest.mark.parametrize("old, new", CHANGED.values(), ids=CHANGED.keys())
def test_what_a_module_says_counts(old, new):
    assert SOURCE.count(old) == 1
    assert digest(SOURCE.replace(old, new)) != digest(SOURCE)


def test_imports():
    source = """
import json, a.b as c
from d import e as f, g
from . import h
from ..i.j import k

def function():
    if False:
        from l import *
"""
    assert syntax.imports(ast.parse(source), "x.y") == {
        *("json", "a.b", "d", "d.e", "d.g"),
        *("x.y", "x.y.h", "x.i.j", "x.i.j.k", "l", "l.*"),
    }
