"""A window on a display, by Python's own Tk."""

import base64

import cv2
import numpy as np

from detmake.errors import InputError


class Window:
    """Shows one picture after the other.

    Args:
        title: title of the window.

    Raises:
        InputError: there is no display, or this Python has no Tk.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter

            self._root = tkinter.Tk()
        except Exception as error:  # ImportError or TclError
            raise InputError(
                f"--show: expected a display and Python's tkinter, found none: {error}"
            ) from error
        self._tkinter = tkinter
        self._root.title(title)
        self._label = tkinter.Label(self._root)
        self._label.pack()

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, (H, W, 3) uint8, BGR; does nothing once the window is closed."""
        data = base64.b64encode(cv2.imencode(".png", picture)[1].tobytes())
        try:
            image = self._tkinter.PhotoImage(data=data, master=self._root)
            self._label.configure(image=image)
            self._label.image = image  # Tk holds no reference
            self._root.update()
        except self._tkinter.TclError:
            return
