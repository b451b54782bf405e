"""robofb: teach an arm a precise task from demonstrations, then make it reliable."""

import ctypes
import os
import sys

__version__ = "0.1.0"


def _choose_opengl() -> None:
    """Name an OpenGL library that works without a display, if there is one.

    MuJoCo picks its library once, when first imported, and breaks on one that is not there.
    """
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    for name, library in (("egl", "libEGL.so.1"), ("osmesa", "libOSMesa.so.8"), ("osmesa", "libOSMesa.so.6")):
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        os.environ.setdefault("MUJOCO_GL", name)
        return


_choose_opengl()
