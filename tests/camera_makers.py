"""A camera of each config, ready to be held to the contract, and what takes its pictures away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytest
from mjpeg_peer import MjpegPeer
from numbered_scene import SIZE_PX, counting, numbered_task
from omegaconf import OmegaConf
from v4l2_stand_in import V4l2StandIn

from robofb.build import build
from robofb.deploy.cameras import opencv
from robofb.deploy.cameras.camera import Camera
from robofb.deploy.cameras.packages import load_realsense
from robofb.deploy.cameras.sim import SimCamera, View
from robofb.deploy.cameras.synthetic import numbered_picture
from robofb.deploy.ring import Ring
from robofb.deploy.scene import SCENE
from robofb.errors import UserError

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "camera"
QUICK = {"timeout_s": 0.5, "tries": 1, "pause_s": 0.0}
PATIENT = {**QUICK, "timeout_s": 2.0}  # where a busy machine may keep the pictures


class Made(NamedTuple):
    """A camera to be tested.

    Attributes:
        camera: not connected yet.
        lose: takes its pictures away, after which they do not come back.
    """

    camera: Camera
    lose: Callable[[], object]


def made_of(name: str, **values: Any) -> Camera:
    """Return the camera "front" of a config, with some values of its own."""
    entry = OmegaConf.load(CONFIGS / f"{name}.yaml").cameras.front
    camera: Camera = build(OmegaConf.merge(entry, values), "front")
    return camera


def write_video(path: Path, num_frames: int, fps: float = 50.0) -> None:
    """Write numbered pictures 0, 1, ... as a video."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (160, 120))
    for number in range(num_frames):
        writer.write(numbered_picture(number, 120, 160)[..., ::-1].copy())
    writer.release()


def skip_without_realsense() -> None:
    """Skip a test where librealsense cannot be loaded."""
    try:
        load_realsense()
    except UserError as error:
        pytest.skip(str(error))


@contextmanager
def _opencv(folder: Path) -> Iterator[Made]:
    device = V4l2StandIn()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opencv, "load_opencv", lambda: device.module)
        with closing(made_of("opencv", **QUICK)) as camera:
            yield Made(camera, lambda: setattr(device, "plugged", False))


@contextmanager
def _http(folder: Path) -> Iterator[Made]:
    with MjpegPeer() as peer, closing(made_of("http", url=peer.url, **PATIENT)) as camera:
        yield Made(camera, peer.die)


@contextmanager
def _file(folder: Path) -> Iterator[Made]:
    write_video(folder / "it.avi", 30)
    with closing(made_of("file", path=str(folder / "it.avi"))) as camera:
        yield Made(camera, lambda: None)  # it comes to its end


@contextmanager
def _realsense(folder: Path) -> Iterator[Made]:
    skip_without_realsense()
    from realsense_recording import FPS, HEIGHT, WIDTH, record

    record(folder / "it.db3", 60)
    values = {"recording": str(folder / "it.db3"), "height": HEIGHT, "width": WIDTH, "fps": FPS, **PATIENT}
    with closing(made_of("realsense", **values)) as camera:
        yield Made(camera, lambda: None)  # it comes to its end


@contextmanager
def _synthetic(folder: Path) -> Iterator[Made]:
    with closing(made_of("synthetic", fps=100.0)) as camera:
        yield Made(camera, lambda: setattr(camera, "lose_at", 0))


@contextmanager
def _sim(folder: Path) -> Iterator[Made]:
    with closing(Ring(SCENE)) as states, counting(states) as over:
        view = View(states, *SIZE_PX)
        with closing(SimCamera("front", numbered_task(), view, fps=100.0, timeout_s=0.5)) as camera:
            yield Made(camera, over.set)


MAKERS: dict[str, Callable[[Path], AbstractContextManager[Made]]] = {
    "opencv": _opencv,
    "http": _http,
    "file": _file,
    "realsense": _realsense,
    "sim": _sim,
    "synthetic": _synthetic,
}
