"""Write names into Markdown."""

import re

# What could begin a link, a picture, HTML, an entity, code or emphasis, or end a table's cell.
_MARKUP = re.compile(r"[\\`*\[\]<>&|]")


def escaped(name: str) -> str:
    """Return a name as Markdown that shows it as it is."""
    return _MARKUP.sub(r"\\\g<0>", name)
