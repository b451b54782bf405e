"""Offscreen pictures of simulated worlds, for videos and image observations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Engine
from robofb.types import ArraySpec, Obs


class Renderer:
    """Render worlds of an engine from named cameras.

    Args:
        engine: whose worlds to show.
        height, width: of the picture [px].

    Raises:
        UserError: a size is below 1, or this machine has no OpenGL that works without a display.
    """

    def __init__(self, engine: Engine, height: int = 240, width: int = 320) -> None:
        if height < 1 or width < 1:
            raise UserError(f"a picture of {height} x {width} pixels cannot be rendered")
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
        self.check_camera(camera)
        self._data.qpos[:] = self.engine.field("qpos")[world].cpu().numpy()
        mujoco.mj_forward(self.engine.model, self._data)
        self._renderer.update_scene(self._data, camera)
        picture: np.ndarray = self._renderer.render()
        return picture

    def check_camera(self, name: str) -> None:
        """Raise UserError unless the scene has a camera of that name."""
        model = self.engine.model
        names = [model.camera(index).name for index in range(model.ncam)]
        if name not in names:
            raise UserError(f"camera must be one of {', '.join(names)}, not {name!r}")

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


class ImageObserver:
    """See worlds of an engine through cameras: image observations by the key `image_<camera>`.

    Args:
        engine: whose worlds to see.
        cameras: height and width [px] by the camera's name.

    Raises:
        UserError: the scene has no such camera, a size is below 1, or nothing can be rendered here.
    """

    def __init__(self, engine: Engine, cameras: Mapping[str, tuple[int, int]]) -> None:
        self.specs = {
            f"image_{name}": ArraySpec((3, *size), "uint8", "RGB, 0..255") for name, size in cameras.items()
        }
        self._renderers = {name: Renderer(engine, *size) for name, size in cameras.items()}
        for name, renderer in self._renderers.items():
            renderer.check_camera(name)

    def observe(self, ids: Tensor) -> Obs:
        """Return what every camera sees of worlds `ids` (n,): (n, 3, H, W) uint8 on the CPU."""
        return {
            f"image_{name}": torch.stack(
                [torch.from_numpy(renderer.frame(world, name)).permute(2, 0, 1) for world in ids.tolist()]
            )
            for name, renderer in self._renderers.items()
        }

    def close(self) -> None:
        """Free the OpenGL contexts; safe twice."""
        for renderer in self._renderers.values():
            renderer.close()


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
