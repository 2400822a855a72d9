"""Describe in words which jobs of a build are stale, and why."""

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 100
_ROOM_FOR_REASON = 14  # columns beside the files
_MAX_REASONS = 6  # per job; a new template changes dozens of parameters
_MAX_OF_SECTION = 4  # changes of one configuration section that are listed one by one
_MAX_VALUE = 32
_LINE = re.compile(r"([^:]+): (.*)", re.DOTALL)
_DIGEST = re.compile(r"[0-9a-f]{16}")  # of contents; its value is of no use to a reader


@dataclass(frozen=True)
class Job:
    """A step of the build."""

    name: str  # description of the step
    files: Sequence[str]  # those that it writes
    needs: Sequence[int] = ()  # indices, among the same jobs, of those whose files it reads
    reasons: Sequence[str] = ()  # why it must run; empty if only other jobs make it stale
    follows: Sequence[str] = ()  # files that it reads and that another stale job writes first
    note: str = "up to date"  # what to say of it if it is not stale

    @property
    def stale(self) -> bool:
        """Whether the build would run this job."""
        return bool(self.reasons or self.follows)

    @property
    def mark(self) -> str:
        """ "make" if the job is stale, otherwise "ok"."""
        return "make" if self.stale else "ok"

    @property
    def reason(self) -> str:
        """Why the job is stale, in one line, or its note."""
        told = list(self.reasons)
        if len(told) > _MAX_REASONS:
            told[_MAX_REASONS:] = [f"{len(told) - _MAX_REASONS} more"]
        elif not told and self.follows:
            told = [f"follows {abridged(self.follows)}"]
        return printable("; ".join(told) or self.note)


def summary(jobs: Sequence[Job]) -> str:
    """Say how many jobs would run."""
    return f"{sum(job.stale for job in jobs)} of {len(jobs)} jobs to run"


def text(jobs: Sequence[Job], title: str) -> str:
    """List the jobs in build order, 100 columns wide.

    Each job has a line with its mark (`make` or `ok`), name, files and reason. A reason that does
    not fit is wrapped onto lines of its own.
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
            wrapped = textwrap.wrap(job.reason, _WIDTH - 6, break_on_hyphens=False)
            lines += [f"      {part}" for part in wrapped]
    return "\n".join(lines) + "\n"


def build_order(jobs: Sequence[Job]) -> list[int]:
    """Return the indices of the jobs, each after the jobs that it needs and close to them."""
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
    """Name the first file, cut at its start if it is too long, and count the others."""
    if not files:
        return ""
    more = f" +{len(files) - 1}" if len(files) > 1 else ""
    return shortened(printable(files[0]), length - len(more), keep_end=True) + more


def shortened(line: str, length: int, keep_end: bool = False) -> str:
    """Cut a line to `length` characters, ellipsis included."""
    if len(line) <= length:
        return line
    return f"…{line[len(line) - length + 1 :]}" if keep_end else f"{line[: length - 1].rstrip()}…"


def printable(line: str) -> str:
    """Replace characters that are allowed in a file name but not in a line of text or in XML."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def parameter_changes(
    before: Collection[str], now: Collection[str], named: Mapping[str, Any]
) -> list[str]:
    """Describe which parameters of a job have changed, and how.

    Parameters of the form `name: value` are matched by that name. The build records no names of
    other parameters, so that only their present value is known.

    Args:
        before: values that only the last run had, as `repr` writes them.
        now: values that only the present run has, likewise.
        named: all present parameters by name.

    Returns:
        For example `['learning_parameters.seed: 0 → 1', 'detmake/evaluation/metrics.py changed']`.
    """
    old, new = _told(before), _told(now)
    present = _told(map(repr, named.values()))
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
        if value is not None and repr(value) in now and not _told([repr(value)])
    ]
    for section, abouts in sections.items():
        if len(abouts) > _MAX_OF_SECTION:
            told.append(f"{section}: {len(abouts)} values changed")
        else:
            told += [changes[about] for about in abouts]
    return told or ["parameters changed"]


def _told(literals: Iterable[str]) -> dict[str, str]:
    """Return the value of each `name: value` line among some literals, by name."""
    strings = (ast.literal_eval(literal) for literal in literals if literal[0] in "'\"")
    return dict(match.groups() for text in strings if (match := _LINE.fullmatch(text)))


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
    """Describe which input files are new and which are no longer used."""
    before, now = set(before), set(now)
    new = [f"new input {file}" for file in sorted(now - before)]
    return new + [f"no longer an input: {file}" for file in sorted(before - now)]
