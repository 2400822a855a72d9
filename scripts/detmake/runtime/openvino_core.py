"""OpenVINO's core: one for the whole process."""

from functools import cache

from openvino import Core


@cache
def core() -> Core:
    """Return the core of this process, which lives as long as the process does.

    OpenVINO's CPU plugin gives the thread a stack for signal handlers, and each core has a plugin
    of its own. If two live at a time and the older one ends first, the thread keeps a stack that is
    gone (OpenVINO 2026.4). The next signal with a handler, such as Ctrl-C or the end of a process
    that loads images, then crashes this process, or overwrites other memory.
    """
    return Core()
