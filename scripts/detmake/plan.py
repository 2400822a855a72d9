"""What a build would do: its jobs, which of them are stale, and why, in words."""

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 100
#: Reasons of one job that are told; a new template changes dozens of parameters.
_MAX_REASONS = 6
_MAX_VALUE = 32
#: What a parameter says of contents: a path, and a digest that means nothing to a reader.
_DIGEST = re.compile(r"(?P<path>.+) [0-9a-f]{12,64}")


@dataclass(frozen=True)
class Job:
    """A step of the build.

    Attributes:
        name: what it does, in words.
        files: what it makes.
        needs: indices of the jobs, in the sequence that this one is part of, whose files it reads.
        reasons: why it has to run, apart from other jobs; empty where nothing of its own is stale.
        follows: files that it reads and that another job makes first.
    """

    name: str
    files: Sequence[str]
    needs: Sequence[int] = ()
    reasons: Sequence[str] = ()
    follows: Sequence[str] = ()

    @property
    def stale(self) -> bool:
        """Whether the build would run it."""
        return bool(self.reasons or self.follows)

    @property
    def reason(self) -> str:
        """Why it is stale, in one line; "up to date" where it is not."""
        told = list(self.reasons[:_MAX_REASONS])
        if more := len(self.reasons) - len(told):
            told.append(f"{more} more")
        if not told and self.follows:
            told = [f"follows {abridged(self.follows)}"]
        return printable("; ".join(told) or "up to date")


def summary(jobs: Sequence[Job]) -> str:
    """Say how many jobs would run."""
    stale = sum(job.stale for job in jobs)
    if not stale:
        return f"Nothing to do: all {len(jobs)} jobs are up to date."
    return f"{stale} of {len(jobs)} jobs to run."


def text(jobs: Sequence[Job], title: str) -> str:
    """List the jobs in an order in which they can run, at most 100 columns wide where names allow.

    Each has a line of mark (`make` or `ok`), name and files; the reason follows in lines of its own.
    """
    depth = depths(jobs)
    width = max((len(printable(job.name)) for job in jobs), default=0)
    lines = [f"{title}: {summary(jobs)}", ""]
    for index in sorted(range(len(jobs)), key=lambda index: depth[index]):
        job = jobs[index]
        mark = "make" if job.stale else "ok"
        room = max(_WIDTH - width - 8, 30)
        lines.append(f"{mark:4}  {printable(job.name):{width}}  {abridged(job.files, room)}")
        if job.stale:
            lines += textwrap.wrap(
                job.reason,
                _WIDTH,
                initial_indent=" " * 8,
                subsequent_indent=" " * 10,
                break_on_hyphens=False,
            )
    return "\n".join(lines) + "\n"


def depths(jobs: Sequence[Job]) -> list[int]:
    """For each job, the length of the longest chain of jobs that it needs."""
    known: dict[int, int] = {}

    def depth(index: int) -> int:
        if index not in known:
            known[index] = max((depth(need) + 1 for need in jobs[index].needs), default=0)
        return known[index]

    return [depth(index) for index in range(len(jobs))]


def abridged(files: Sequence[str], length: int = _WIDTH) -> str:
    """Name the first of some files, from its end where it is too long, and count the others."""
    if not files:
        return ""
    more = f" +{len(files) - 1}" if len(files) > 1 else ""
    return shortened(printable(files[0]), length - len(more), keep_end=True) + more


def shortened(line: str, length: int, keep_end: bool = False) -> str:
    """Cut a line to a number of characters, the ellipsis included."""
    if len(line) <= length:
        return line
    return f"…{line[len(line) - length + 1 :]}" if keep_end else f"{line[: length - 1].rstrip()}…"


def printable(line: str) -> str:
    """Replace characters that a file name may have but a line of text or XML may not."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def parameter_changes(
    before: Collection[str], now: Collection[str], named: Mapping[str, Any]
) -> list[str]:
    """Say which parameters of a job have changed, and how.

    Recorded parameters have no names, so a mapping is compared with the one that shares most keys
    with it, and any other value with the only one that is left.

    Args:
        before: values that only the last run had, as Python literals.
        now: values that it did not have, as Python literals.
        named: all present parameters that have a name.

    Returns:
        For example `["learning_parameters.seed: 0 → 1", "detmake/metrics.py changed"]`.
    """
    changes: list[str] = []
    old, new = ([_value(literal) for literal in sorted(literals)] for literals in (before, now))
    contents = {_path(value): None for value in [*old, *new] if _path(value)}
    changes += [f"{path} changed" for path in contents]
    old = [value for value in old if not _path(value)]
    names = {
        name: value for name, value in named.items() if repr(value) in now and not _path(value)
    }
    nested: list[str] = []
    for name, value in names.items():
        if isinstance(value, Mapping):
            known = [other for other in old if isinstance(other, Mapping)]
            partner = max(known, key=lambda other: len(other.keys() & value.keys()), default=None)
            if partner is not None and partner.keys() & value.keys():
                old.remove(partner)
                nested += _differences(name, partner, value)
            else:
                nested.append(f"{name} changed")
    plain = [name for name, value in names.items() if not isinstance(value, Mapping)]
    others = [value for value in old if not isinstance(value, Mapping)]
    for name in plain:
        was = f"{_shown(others[0])} → " if len(plain) == len(others) == 1 else "now "
        changes.append(f"{name}: {was}{_shown(names[name])}")
    changes += nested
    return changes or ["parameters changed"]


def _value(literal: str) -> Any:
    try:
        return ast.literal_eval(literal)
    except ValueError:  # not a number, for example
        return literal


def _path(value: Any) -> str | None:
    """The path in a parameter that tells of a path's contents."""
    match = _DIGEST.fullmatch(value) if isinstance(value, str) else None
    return match["path"] if match else None


def _differences(name: str, before: Mapping, now: Mapping) -> Iterator[str]:
    for key in dict.fromkeys([*now, *before]):
        dotted = f"{name}.{key}"
        if key not in before:
            yield f"{dotted}: now {_shown(now[key])}"
        elif key not in now:
            yield f"{dotted}: no longer set"
        elif isinstance(before[key], Mapping) and isinstance(now[key], Mapping):
            yield from _differences(dotted, before[key], now[key])
        elif before[key] != now[key]:
            yield f"{dotted}: {_shown(before[key])} → {_shown(now[key])}"


def _shown(value: Any) -> str:
    return shortened(value if isinstance(value, str) and value else repr(value), _MAX_VALUE)


def file_changes(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """Say which input files a job did not have or has no longer."""
    before, now = set(before), set(now)
    return [f"new input {file}" for file in sorted(now - before)] + [
        f"no longer an input: {file}" for file in sorted(before - now)
    ]
