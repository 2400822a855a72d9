"""The one exception that stands for a mistake in the user's input."""


class InputError(Exception):
    """An input that the user can mend.

    The message names the file or key, what was found, what is expected and how to fix it. Scripts
    print it alone, without a traceback.
    """
