"""robofb: teach an arm a precise task from demonstrations, then make it reliable."""

import os
import sys

__version__ = "0.1.0"

# MuJoCo picks its OpenGL library once, when first imported: without a display it must be told.
if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("MUJOCO_GL", "egl")
