"""A camera of a simulated scene, whose arm another process simulates in real time."""

from __future__ import annotations

import time
from typing import NamedTuple

from robofb.deploy.cameras.camera import CameraLostError, Frame, frame_of
from robofb.deploy.ring import Record, Ring
from robofb.deploy.scene import stand, told
from robofb.errors import UserError, check_positive
from robofb.interfaces import SteeredTask
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.render import Renderer, check_camera

LOOK_S = 0.001


class View(NamedTuple):
    """What a camera of a simulated scene looks at.

    Attributes:
        states: of the scene, of dtype `scene.SCENE`.
        height, width: of its pictures [px].
    """

    states: Ring
    height: int
    width: int


class SimCamera:
    """Render a simulated scene as it stands in another process; satisfies `camera.Camera`.

    Its pictures are those of simulated time, pixel by pixel, and as large as the policy sees them. The stamp
    is when the scene came to stand so: where its process says nothing new, no picture comes. A scene that
    stands still gives the same pixels, which is no fault of a rendered picture.

    Args:
        name: of the scene's camera, and of the observation `image_<name>` that it is for.
        task: of the simulated arm; a copy of its scene is made here.
        view: what it looks at; a deployment says. None: there is nothing to see.
        fps: most pictures a second.
        timeout_s: after which `read` gives up where the scene's process says nothing new.

    Raises:
        UserError: a number that makes no sense.
    """

    def __init__(
        self,
        name: str,
        task: SteeredTask | None = None,
        view: View | None = None,
        fps: float = 30.0,
        timeout_s: float = 1.0,
    ) -> None:
        self.name, self.fps, self.timeout_s = name, fps, timeout_s
        check_positive(self, "fps", "timeout_s")
        self.source = "simulated scene"
        self._task, self._view = task, view
        self._renderer: Renderer | None = None
        self._number = -1  # of the last picture
        self._shown = 0  # number of the state that it shows
        self._due_s = float("-inf")

    def connect(self) -> None:
        """Make the copy of the scene, and what renders it.

        Raises:
            UserError: there is no simulated arm in real time, its scene has no such camera, or it cannot be
                rendered so or here.
        """
        if self._renderer is not None:
            return
        if self._view is None or not isinstance(self._task, SteeredTask):
            raise UserError(
                f"camera {self.name} (sim) sees the task of a simulated arm alone: say arm=sim realtime=true"
            )
        engine = MujocoEngine(self._task.build(), 1, num_threads=1)
        check_camera(engine.model, self.name)
        self._renderer = Renderer(engine, self._view.height, self._view.width)

    def read(self) -> Frame:
        """Wait until a picture is due, and render the newest state; see `camera.Camera`."""
        if self._renderer is None or self._view is None:
            raise CameraLostError(f"camera {self.name} (sim) is not connected")
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        state = self._next(self._view.states)
        self._due_s = time.monotonic() + 1 / self.fps
        self._shown = state.number
        self._number += 1
        stand(self._renderer.engine, told(state.value))
        image = self._renderer.frame(0, self.name)
        return frame_of(image, float(state.value["at_s"]), self._number)._replace(rendered=True)

    def close(self) -> None:
        """Let the scene go; safe twice."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer.engine.close()
            self._renderer = None

    def _next(self, states: Ring) -> Record:
        """Return the newest state, once there is one that was not shown yet.

        Raises:
            CameraLostError: none came in time.
        """
        until_s = time.monotonic() + self.timeout_s
        while time.monotonic() < until_s:
            state = states.latest()
            if state is not None and state.number > self._shown:
                return state
            time.sleep(LOOK_S)
        raise CameraLostError(
            f"camera {self.name} (sim): the simulated arm said nothing new for {self.timeout_s:g} s"
        )
