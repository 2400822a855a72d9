"""The exception for mistakes in the user's input."""


class InputError(Exception):
    """A mistake in the input that the user can correct.

    The message names the file or key, what was found, what is expected and how to fix it. Scripts
    print it without a traceback.
    """
