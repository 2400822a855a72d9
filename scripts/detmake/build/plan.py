"""What a build would do: its jobs, which of them are stale, and why, in words."""

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 100
#: Room that files leave to a short reason beside them.
_ROOM_FOR_REASON = 14
#: Reasons of one job that are told; a new template changes dozens of parameters.
_MAX_REASONS = 6
_MAX_VALUE = 32
#: Changes of one section of the configuration that are told one by one.
_MAX_OF_SECTION = 4
#: A parameter that says what it is about.
_LINE = re.compile(r"(?P<about>[^:]+): (?P<value>.*)", re.DOTALL)
#: A value that stands for contents, and means nothing to a reader.
_DIGEST = re.compile(r"[0-9a-f]{16}")


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
    def mark(self) -> str:
        """What the build does with it, in a word."""
        return "make" if self.stale else "ok"

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
    return f"{sum(job.stale for job in jobs)} of {len(jobs)} jobs to run"


def text(jobs: Sequence[Job], title: str) -> str:
    """List the jobs in an order in which they can run, 100 columns wide.

    Each has a line of mark (`make` or `ok`), name, files and the reason, which goes into lines of
    its own where there is no room for it.
    """
    names = [printable(job.name) for job in jobs]
    width = max(map(len, names), default=0)
    room = max(_WIDTH - width - 8 - _ROOM_FOR_REASON, 24)
    listed = [abridged(job.files, room) for job in jobs]
    files = max(map(len, listed), default=0)
    lines = [f"{title}: {summary(jobs)}", ""]
    for index in build_order(jobs):
        job = jobs[index]
        line = f"{job.mark:4}  {names[index]:{width}}  {listed[index]:{files}}"
        if job.stale and len(line) + 2 + len(job.reason) <= _WIDTH:
            line = f"{line}  {job.reason}"
        lines.append(line.rstrip())
        if job.stale and not line.endswith(job.reason):
            indent = " " * 6
            lines += textwrap.wrap(
                job.reason,
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
    return "\n".join(lines) + "\n"


def build_order(jobs: Sequence[Job]) -> list[int]:
    """Indices of the jobs, each after those that it needs and close to them."""
    order: dict[int, None] = {}

    def visit(index: int) -> None:
        if index not in order:
            for need in jobs[index].needs:
                visit(need)
            order[index] = None

    needed = {need for job in jobs for need in job.needs}
    for index in sorted(range(len(jobs)), key=lambda index: index in needed):
        visit(index)
    return list(order)


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

    Parameters that are lines of the form `what: value` are compared by what they are about. Of
    others the build keeps no names, so that only the present value can be told.

    Args:
        before: values that only the last run had, as Python writes them (`repr`).
        now: values that it did not have, likewise.
        named: all present parameters.

    Returns:
        For example `['learning_parameters.seed: 0 → 1', 'detmake/metrics.py changed']`.
    """
    old, new = _told(before), _told(now)
    present = [match["about"] for value in named.values() if (match := _line(value))]
    changes = {
        about: _change(about, old.get(about), new.get(about))
        for about in dict.fromkeys([*present, *sorted(old)])
        if about in old or about in new
    }
    sections: dict[str, list[str]] = {}
    for about in changes:
        section = about.partition(".")[0]
        sections.setdefault(section if "/" not in about else about, []).append(about)
    told = [
        f"{name}: now {_shown(repr(value))}"
        for name, value in named.items()
        if value is not None and repr(value) in now and not _line(value)
    ]
    for section, abouts in sections.items():
        if len(abouts) > _MAX_OF_SECTION:
            told.append(f"{section}: {len(abouts)} values changed")
        else:
            told += [changes[about] for about in abouts]
    return told or ["parameters changed"]


def _told(literals: Iterable[str]) -> dict[str, str]:
    """The lines among some literals: what they are about, and the value."""
    strings = (ast.literal_eval(literal) for literal in literals if literal[0] in "'\"")
    matches = map(_line, strings)
    return {match["about"]: match["value"] for match in matches if match}


def _line(value: Any) -> re.Match | None:
    return _LINE.fullmatch(value) if isinstance(value, str) else None


def _change(about: str, before: str | None, now: str | None) -> str:
    if _DIGEST.fullmatch(now or before or ""):
        return f"{about} changed"
    if before is None:
        return f"{about}: now {_shown(now)}"
    if now is None:
        return f"{about}: no longer {_shown(before)}"
    return f"{about}: {_shown(before)} → {_shown(now)}"


def _shown(value: str) -> str:
    return shortened(value.strip('"') or value, _MAX_VALUE)


def file_changes(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """Say which input files a job did not have or has no longer."""
    before, now = set(before), set(now)
    return [f"new input {file}" for file in sorted(now - before)] + [
        f"no longer an input: {file}" for file in sorted(before - now)
    ]
