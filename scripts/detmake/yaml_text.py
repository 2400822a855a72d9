"""Parse YAML strictly: what other readers take in silence is an error with its lines."""

import re
from typing import Any

import yaml

#: Values that a text may have, with those that its aliases repeat: a few lines can make billions.
_MAX_VALUES = 1_000_000
#: Lists and mappings that may be in one another. libyaml crashes at some ten thousand.
_MAX_DEPTH = 50
#: Digits of an integer. Python does not print more than 4300.
_MAX_DIGITS = 1000


# libyaml is several times faster; PyYAML may be built without it.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML 1.1, except that 1e-3 is a number and no key is repeated, as in YAML 1.2."""

    def construct_document(self, node: yaml.Node) -> Any:
        _check(node, {})  # first, since the merge of `<<` changes nodes
        return super().construct_document(node)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.\d+|\d+\.?\d*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def parse(text: str | bytes) -> Any:
    """Parse YAML; unlike PyYAML, read 1e-3 as a number, and refuse repeated keys.

    Raises:
        yaml.YAMLError: the text is not YAML; a mapping has a key twice; a value is none of its
            type, such as a date in month 13; values are nested too deeply; an alias repeats itself,
            or too much.
    """
    depth = 0
    try:
        for event in yaml.parse(text, _Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise yaml.YAMLError(f"found more than {_MAX_DEPTH} values that hold each other")
        return yaml.load(text, _Loader)
    except (ValueError, OverflowError, KeyError, AttributeError, TypeError) as error:
        # PyYAML lets these pass: for a date in month 13, a value that its tag does not allow, or
        # half of a UTF-16 character.
        raise yaml.YAMLError(f"found a value that cannot be read ({error})") from None


def _check(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Refuse what `parse` says; return the number of values in a node, and their depth.

    Args:
        node: the node.
        known: the results of nodes that were checked, None for one that is being checked.
    """
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith(":int") and len(node.value) > _MAX_DIGITS:
            raise yaml.YAMLError(f"found a number of {len(node.value)} digits in line {line}")
        return 1, 0
    if id(node) not in known:
        known[id(node)] = None
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
            _refuse_repeated(children[::2])
        sizes, depths = zip((1, 0), *(_check(child, known) for child in children), strict=True)
        known[id(node)] = sum(sizes), 1 + max(depths)
    size, depth = known[id(node)] or (_MAX_VALUES + 1, 0)
    if size > _MAX_VALUES or depth > _MAX_DEPTH:
        raise yaml.YAMLError(f"found aliases that repeat without end in line {line}")
    return size, depth


def _refuse_repeated(keys: list[yaml.Node]) -> None:
    lines: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise yaml.YAMLError(
                f"found the key {key.value} in lines {lines[key.value]} and {line}. Expected each "
                "key once in its section: remove one of them."
            )
        lines[key.value] = line
