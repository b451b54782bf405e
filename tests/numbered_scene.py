"""A scene whose picture is a `numbered_picture`: its joints bring white squares to light, one a bit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np

from robofb.deploy.cameras.synthetic import BAR_COLOURS
from robofb.deploy.ring import Ring
from robofb.deploy.scene import tell
from robofb.envs import make_task

SIZE_PX = (48, 64)
BITS, COLUMNS = 32, 16
HALF_WIDTH = SIZE_PX[1] / SIZE_PX[0]  # of what is seen, which is 2 high
STEP_S = 0.002


def numbered_task() -> Any:
    """Return a task whose scene is this one."""
    task: Any = make_task("one_leg_insert")
    task.build = _build
    return task


@contextmanager
def counting(states: Ring) -> Iterator[threading.Event]:
    """Let the scene count, with a state for each number, until the event that is given is set."""
    over = threading.Event()

    def count() -> None:
        number = 0
        while not over.wait(STEP_S):
            tell(states, (number >> np.arange(BITS)) & 1, time.monotonic())
            number += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join()


def _build() -> mujoco.MjModel:
    """Return the scene: seen from above, bits in the upper half and bars in the lower."""
    spec = mujoco.MjSpec()
    light = spec.visual.headlight
    light.ambient, light.diffuse, light.specular = [1.0] * 3, [0.0] * 3, [0.0] * 3
    spec.worldbody.add_camera(
        name="front", pos=[0, 0, 5], fovy=2.0, proj=mujoco.mjtProjection.mjPROJ_ORTHOGRAPHIC
    )
    size = [HALF_WIDTH / COLUMNS, 0.25, 0.01]
    for bit in range(BITS):
        row, column = divmod(bit, COLUMNS)
        place = [(2 * column + 1) * size[0] - HALF_WIDTH, 0.75 - 0.5 * row, -1.0]
        body = spec.worldbody.add_body(pos=place)
        body.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1])
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=size, rgba=[1, 1, 1, 1])
    cover = [HALF_WIDTH, 0.5, 0.01]
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=cover, pos=[0, 0.5, -0.5], rgba=[0, 0, 0, 1])
    for bar, colour in enumerate(BAR_COLOURS):
        place = [HALF_WIDTH * (2 * bar - 2) / 3, -0.5, 0]
        rgba = [*(value / 255 for value in colour), 1]
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=[HALF_WIDTH / 3, 0.5, 0.01], pos=place, rgba=rgba
        )
    return spec.compile()
