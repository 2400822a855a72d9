"""Report what is found in a user's dataset: remarks that are kept, and refusals."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from detmake.errors import InputError, printable

_EXAMPLES = 5  # items that a message lists
_LONGEST = 240  # characters of an item that it shows

log = logging.getLogger("detmake")


class Findings:
    """Collects and logs remarks about a subset, or refuses it.

    Attributes:
        subject: the user's file or folder that messages begin with.
        remarks: what was found and repaired or left out.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.remarks: list[str] = []

    def refuse(self, what: str, items: Sequence[str], remedy: str) -> None:
        """Raise InputError if there are any items."""
        if items:
            raise InputError(f"{self.subject}: {listed(what, items)}\n{remedy}")

    def refuse_if_empty(self, entries: Sequence[Any], what: str) -> None:
        """Raise InputError if there are no entries, and quote the remarks, which may say why."""
        if not entries:
            raise InputError(
                "\n".join([f"{self.subject}: there are no {what}.", *self.remarks])
                + "\nEvery subset needs images with boxes: correct the annotations, or set `data` "
                "to another dataset."
            )

    def remark(self, what: str, items: Sequence[str], level: int = logging.WARNING) -> None:
        """Keep and log a remark if there are any items."""
        if items:
            self.note(listed(what, items), level)

    def note(self, sentence: str, level: int) -> None:
        """Keep and log a sentence."""
        self.remarks.append(sentence)
        log.log(level, "%s: %s", self.subject, sentence)


def listed(what: str, items: Sequence[str]) -> str:
    """Return a line with what the items are, their number, and the first of them."""
    more = ", …" if len(items) > _EXAMPLES else ""
    return printable(f"{what}: {len(items)} ({', '.join(map(_cut, items[:_EXAMPLES]))}{more})")


def _cut(item: str) -> str:
    """Return an item without its middle if it is long."""
    half = _LONGEST // 2
    return item if len(item) <= _LONGEST else f"{item[:half]}…{item[-half:]}"


def repeated(values: Iterable[Any]) -> list[str]:
    """Return the values that occur more than once, as they look in Python."""
    return [repr(value) for value, count in Counter(values).items() if count > 1]
