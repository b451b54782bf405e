"""The choice of an OpenGL library when robofb is imported, in fresh processes."""

import os
import subprocess
import sys

import pytest

PROBE = "import robofb, os; print(os.environ.get('MUJOCO_GL'))"
HIDE = "import ctypes\ndef refuse(name): raise OSError(name)\nkept, ctypes.CDLL = ctypes.CDLL, refuse\n"


def backend(code: str, **environment: str) -> str:
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need no choice")
def test_choice():
    assert backend(PROBE) in ("egl", "osmesa", "None")
    assert backend(HIDE + PROBE) == "None"  # none is there: MuJoCo must still import
    assert backend(PROBE, MUJOCO_GL="osmesa") == "osmesa"  # the user's word counts
    assert backend(PROBE, DISPLAY=":0") == "None"  # a desktop has its own


def test_rendering_without_opengl_is_refused_in_one_line():
    code = HIDE + (
        "import robofb\nctypes.CDLL = kept\nfrom robofb.envs import make_task\n"
        "from robofb.errors import UserError\n"
        "from robofb.sim.render import Renderer\nfrom robofb.sim.vec_env import SimVecEnv\n"
        "try:\n    Renderer(SimVecEnv(make_task('one_leg_insert'), 1).engine)\n"
        "except UserError as error:\n    print(str(error).count(chr(10)), 'apt install' in str(error))\n"
    )
    assert backend(code) == "0 True"
