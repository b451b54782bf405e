"""Offscreen pictures of simulated worlds, for videos and image observations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Engine, RenderingEngine
from robofb.normalize import is_image
from robofb.rng import VISUALS_STREAM, EpisodeRng, derive_seeds
from robofb.sim.visuals import VisualRandomization, WorldLooks
from robofb.types import ArraySpec, EnvSpec, Obs

FIGURE_CAMERA = "figure"
"""Name of a scene's camera for pictures in papers, from afar: nobody drives by it."""

_IMAGE_KEY = "image_"  # and the camera's name


class Renderer:
    """Render worlds of an engine from named cameras.

    Args:
        engine: whose worlds to show.
        height, width: of the picture [px].
        looks: of each world; None: the scene's own.

    Raises:
        UserError: a size that the scene cannot render, or no OpenGL here that works without a display.
    """

    def __init__(
        self, engine: Engine, height: int = 240, width: int = 320, looks: WorldLooks | None = None
    ) -> None:
        self.engine, self._looks = engine, looks
        self._model = engine.model if looks is None else looks.model
        buffer = engine.model.vis.global_
        if not (1 <= height <= buffer.offheight and 1 <= width <= buffer.offwidth):
            raise UserError(
                f"a picture of {height} x {width} pixels (height x width) cannot be rendered: "
                f"this scene allows up to {buffer.offheight} x {buffer.offwidth}"
            )
        try:
            self._renderer: Any = mujoco.Renderer(self._model, height, width)
        except Exception as error:  # each OpenGL backend raises its own kind
            raise UserError(
                f"cannot render: {(str(error).splitlines() or [type(error).__name__])[0]} "
                "(on Debian or Ubuntu: apt install libegl1 libegl-mesa0 libgl1-mesa-dri)"
            ) from error
        self._data = mujoco.MjData(self._model)
        self._shown = shown_fields(engine.model)

    def frame(self, world: int, camera: str = "front") -> np.ndarray:
        """Return what a camera sees of one world, (H, W, 3) uint8 RGB.

        Raises:
            UserError: the scene has no camera of that name.
        """
        model = self._model
        check_camera(model, camera)
        if self._looks is not None:
            self._looks.show(world)
        for name in self._shown:
            getattr(self._data, name)[:] = self.engine.field(name)[world].cpu().numpy()
        mujoco.mj_kinematics(model, self._data)
        mujoco.mj_comPos(model, self._data)  # lights and cameras may follow a centre of mass
        mujoco.mj_camlight(model, self._data)
        self._renderer.update_scene(self._data, camera)
        picture: np.ndarray = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the OpenGL context; safe twice."""
        if self._renderer is not None:
            context = self._renderer._gl_context
            if context is not None:
                context.make_current()  # MuJoCo frees its buffers in whatever context is current
            self._renderer.close()
            self._renderer = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shown_fields(model: mujoco.MjModel) -> tuple[str, ...]:
    """Return the fields of a world's state that a picture of it hangs on."""
    return ("qpos", "mocap_pos", "mocap_quat") if model.nmocap else ("qpos",)


def check_camera(model: mujoco.MjModel, name: str) -> None:
    """Raise UserError unless a scene has a camera of that name."""
    names = [model.camera(index).name for index in range(model.ncam)]
    if name not in names:
        raise UserError(f"camera must be one of {', '.join(names)}, not {name!r}")


class ImageObserver:
    """See worlds of an engine through cameras: image observations by the key `image_<camera>`.

    Args:
        engine: whose worlds to see.
        cameras: height and width [px] by the camera's name.
        visuals: how far the looks of episodes go from the scene's own; None: they do not.

    Attributes:
        specs: of the images, by key.
        facts: per camera what a dataset should tell of it: size [px], focal length [px], where it is fixed;
            of the scene's own, about which `visuals` vary.
        visuals: as given.

    Raises:
        UserError: the scene has no such camera, or cannot be rendered so or here; looks cannot vary where an
            engine renders all worlds at once.
    """

    def __init__(
        self,
        engine: Engine,
        cameras: Mapping[str, tuple[int, int]],
        visuals: VisualRandomization | None = None,
    ) -> None:
        self.visuals = visuals
        self._looks = None if visuals is None else WorldLooks(engine.model, visuals, engine.num_worlds)
        for name in cameras:
            check_camera(engine.model, name)
        self.facts = {name: _facts(engine.model, name, *size) for name, size in cameras.items()}
        self._renderers: dict[str, Renderer] = {}
        self._worlds = engine.renderer_of(cameras) if isinstance(engine, RenderingEngine) else None
        if self.traced and visuals is not None:
            raise UserError("engine.renderer=warp: looks do not vary there; say engine.renderer=mujoco")
        with ExitStack() as undo:
            for name, size in ({} if self.traced else cameras).items():
                self._renderers[name] = undo.enter_context(Renderer(engine, *size, self._looks))
            undo.pop_all()
        self.specs = {
            f"{_IMAGE_KEY}{name}": ArraySpec((3, *size), "uint8", "RGB, 0..255")
            for name, size in cameras.items()
        }

    @property
    def traced(self) -> bool:
        """Whether the engine renders them, and not OpenGL."""
        return self._worlds is not None

    def begin(self, ids: Tensor, seeds: Tensor) -> None:
        """Draw the looks of the episodes with `seeds` (n,) that begin in worlds `ids` (n,)."""
        if self._looks is not None:
            self._looks.draw(ids, EpisodeRng(derive_seeds(seeds, VISUALS_STREAM).cpu()))

    def observe(self, ids: Tensor) -> Obs:
        """Return what every camera sees of worlds `ids` (n,): (n, 3, H, W) uint8.

        On the CPU, or on the engine's device where that renders.
        """
        if self._worlds is not None:
            return {f"{_IMAGE_KEY}{name}": seen[ids] for name, seen in self._worlds.frames().items()}
        return {
            f"{_IMAGE_KEY}{name}": torch.stack(
                [torch.from_numpy(renderer.frame(world, name)).permute(2, 0, 1) for world in ids.tolist()]
            )
            for name, renderer in self._renderers.items()
        }

    def close(self) -> None:
        """Free the OpenGL contexts; safe twice."""
        for renderer in self._renderers.values():
            renderer.close()


def camera_names(keys: Iterable[str]) -> list[str]:
    """Return the cameras whose images are among observations of these keys."""
    return [key.removeprefix(_IMAGE_KEY) for key in keys if key.startswith(_IMAGE_KEY)]


def image_facts(env: Any) -> dict[str, Any]:
    """Return what a dataset should tell of how an env's images are made; nothing where it renders none."""
    images = getattr(env, "images", None)
    if images is None:
        return {}
    varied = {} if images.visuals is None else {"visuals": asdict(images.visuals)}
    return {"cameras": images.facts, **varied, **({"renderer": "warp"} if images.traced else {})}


def cameras_of(spec: EnvSpec) -> dict[str, tuple[int, int]]:
    """Return height and width [px] of the images that a spec holds, by the camera's name."""
    return {
        key.removeprefix(_IMAGE_KEY): (array.shape[1], array.shape[2])
        for key, array in spec.obs.items()
        if is_image(array)
    }


def _facts(model: mujoco.MjModel, name: str, height: int, width: int) -> dict[str, Any]:
    """Return size and pinhole intrinsics of a camera [px]; pixels are square, the centre is the middle."""
    camera = model.camera(name)
    focal_px = 0.5 * height / math.tan(0.5 * math.radians(float(camera.fovy[0])))
    return {
        "height_px": height,
        "width_px": width,
        "focal_px": focal_px,
        "fixed_to": model.body(int(camera.bodyid[0])).name,
        "pos_m": camera.pos.tolist(),
        "quat_wxyz": camera.quat.tolist(),
    }


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
    except (RuntimeError, ImportError) as error:  # imageio finds no ffmpeg for this machine
        raise UserError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    return path
