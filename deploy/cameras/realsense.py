"""An Intel RealSense camera: its colour pictures."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from robofb.deploy.cameras.camera import CameraLostError
from robofb.deploy.cameras.fitting import Intrinsics
from robofb.deploy.cameras.packages import load_realsense
from robofb.deploy.cameras.reopening import Picture, ReopeningCamera, StampClock
from robofb.errors import UserError, check_positive


class RealSenseCamera(ReopeningCamera):
    """Read the colour pictures of a RealSense, found by its serial number.

    A picture's stamp is the device's, of its exposure, which librealsense has brought to this machine's
    clock; where it has not (a recording, or `global_time_enabled` off) it is the arrival.

    Args:
        name: of the observation `image_<name>` that it is for.
        serial: on the camera's back; empty takes the only one there is.
        width, height, fps: of its colour stream, one of those that it has.
        recording: a file of librealsense's recorder that is played instead, once.
        timeout_s, tries, pause_s: see `ReopeningCamera`; a recording is not opened again.

    Attributes:
        intrinsics: of its pictures, once connected.

    Raises:
        UserError: a number that makes no sense.
    """

    intrinsics: Intrinsics

    def __init__(
        self,
        name: str,
        serial: str | int = "",
        width: int = 640,
        height: int = 480,
        fps: int = 30,
        recording: str | None = None,
        timeout_s: float = 1.0,
        tries: int = 3,
        pause_s: float = 0.5,
    ) -> None:
        super().__init__(name, timeout_s, tries if recording is None else 0, pause_s)
        self.serial, self.width, self.height, self.fps = str(serial), width, height, fps
        check_positive(self, "width", "height", "fps")
        self.recording = recording
        self.source = f"RealSense {self.serial or 'of any serial'}" if recording is None else recording
        self._pipeline: Any = None

    def _open(self) -> None:
        self._shut()
        rs = load_realsense()
        config = rs.config()
        if self.recording is None:
            config.enable_device(self._found(rs))
        elif Path(self.recording).is_file():
            config.enable_device_from_file(self.recording, False)
        else:
            raise UserError(f"{self}: there is no such recording")
        config.enable_stream(rs.stream.color, self.width, self.height, rs.format.rgb8, self.fps)
        pipeline = rs.pipeline()
        try:
            profile = pipeline.start(config)
        except RuntimeError as error:
            raise UserError(
                f"{self} cannot give {self.width} x {self.height} pixels (width x height) at {self.fps} a"
                f" second: {error}"
            ) from error
        self._pipeline, self._clock = pipeline, StampClock()
        lens = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
        self.intrinsics = Intrinsics(lens.height, lens.width, lens.fx, lens.fy, lens.ppx, lens.ppy)

    def _next(self) -> Picture:
        frame = self._colour_frame()
        if not frame:
            raise CameraLostError(f"{self} brings no picture for {self.timeout_s:g} s")
        arrived_s = time.monotonic()
        ago_s = time.time() - frame.get_timestamp() / 1000  # its clock is the one of the day
        captured_s = self._clock.captured_s(arrived_s - ago_s, arrived_s)
        image = np.array(frame.get_data())  # a copy: librealsense lends few buffers
        return Picture(image, captured_s, frame.get_frame_number())

    def _colour_frame(self) -> Any:
        """Wait for the next frame; None where none came."""
        if self._pipeline is None:
            return None
        try:
            came, frames = self._pipeline.try_wait_for_frames(round(1000 * self.timeout_s))
        except RuntimeError:  # unplugged
            return None
        return frames.get_color_frame() if came else None

    def _shut(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            with suppress(RuntimeError):  # stopping what is gone already
                pipeline.stop()

    def _found(self, rs: Any) -> str:
        """Return the serial number of the camera that is meant.

        Raises:
            UserError: it is not there, or there are several to choose from.
        """
        info = rs.camera_info.serial_number
        there = [device.get_info(info) for device in rs.context().query_devices()]
        if self.serial in there:
            return self.serial
        if not self.serial and len(there) == 1:
            return str(there[0])
        wanted = f"no RealSense has serial={self.serial}" if self.serial else "serial says none of them"
        raise UserError(
            f"camera {self.name}: {wanted}; there are {', '.join(there)}"
            if there
            else f"camera {self.name}: no RealSense is plugged in"
        )
