"""Offscreen pictures of simulated worlds, for videos and image observations."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import mujoco
import numpy as np

from robofb.errors import UserError
from robofb.interfaces import Engine


class Renderer:
    """Render worlds of an engine from named cameras.

    Args:
        engine: whose worlds to show.
        height, width: of the picture [px].

    Raises:
        UserError: this machine has no OpenGL that works without a display.
    """

    def __init__(self, engine: Engine, height: int = 240, width: int = 320) -> None:
        self.engine = engine
        try:
            self._renderer: Any = mujoco.Renderer(engine.model, height, width)
        except Exception as error:  # each OpenGL backend raises its own kind
            raise UserError(
                f"cannot render: {(str(error).splitlines() or [type(error).__name__])[0]} "
                "(on Debian or Ubuntu: apt install libegl1 libegl-mesa0 libgl1-mesa-dri)"
            ) from error
        self._data = mujoco.MjData(engine.model)

    def frame(self, world: int, camera: str = "front") -> np.ndarray:
        """Return what a camera sees of one world, (H, W, 3) uint8 RGB.

        Raises:
            UserError: the scene has no camera of that name.
        """
        model = self.engine.model
        names = [model.camera(index).name for index in range(model.ncam)]
        if camera not in names:
            raise UserError(f"camera must be one of {', '.join(names)}, not {camera!r}")
        self._data.qpos[:] = self.engine.field("qpos")[world].cpu().numpy()
        mujoco.mj_forward(model, self._data)
        self._renderer.update_scene(self._data, camera)
        picture: np.ndarray = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the OpenGL context; safe twice."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_video(path: Path, frames: list[np.ndarray], frames_per_s: float) -> Path:
    """Write frames (H, W, 3) uint8 as an H.264 mp4 that every browser plays.

    Raises:
        ValueError: there are no frames.
        UserError: the file cannot be written.
    """
    import imageio.v2 as imageio  # imports slowly, and only videos need it

    if not frames:
        raise ValueError(f"no frames to write to {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with imageio.get_writer(
            path, fps=frames_per_s, codec="libx264", quality=7, macro_block_size=8
        ) as writer:
            for frame in frames:
                writer.append_data(frame)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path
