"""Write names into Markdown."""

import re

# What could begin a link, a picture, HTML, an entity, code, emphasis or deletion, or end a table's
# cell. An underscore within a word begins nothing.
_MARKUP = re.compile(r"[\\`*~\[\]<>&|]|(?<![^\W_])_|_(?![^\W_])")


def escaped(name: str) -> str:
    """Return a name as Markdown that shows it as it is."""
    return _MARKUP.sub(r"\\\g<0>", name)
