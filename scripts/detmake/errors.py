"""The exception for mistakes in the user's input."""


class InputError(Exception):
    """A mistake in the input that the user can correct.

    The message names the file or key, what was found, what is expected and how to fix it. Scripts
    print it without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(printable, message.split("\n"))))


def printable(text: str) -> str:
    """Return a text in which all that does not print is escaped, as in Python's `repr`.

    Names of a stranger's files may hold line breaks, codes that a terminal obeys, marks that
    reverse the text after them, and bytes that are no UTF-8.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
