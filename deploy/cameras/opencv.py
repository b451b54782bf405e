"""Cameras that OpenCV reads: a device of this machine, a stream over HTTP, a video file."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from robofb.deploy.cameras.camera import CameraLostError
from robofb.deploy.cameras.packages import load_opencv
from robofb.deploy.cameras.reopening import Picture, ReopeningCamera, StampClock
from robofb.errors import UserError, check_positive

BY_ID = Path("/dev/v4l/by-id")
"""Where the kernel's names of cameras are that stay over restarts."""


class _Capture(ReopeningCamera):
    """Read an OpenCV capture. A subclass begins it, and says when each of its pictures was taken."""

    _capture: Any = None

    def _open(self) -> None:
        self._shut()
        self._capture = load_opencv().VideoCapture()
        try:
            self._begin(self._capture)
        except UserError:
            self._shut()
            raise

    def _next(self) -> Picture:
        cv2 = load_opencv()
        captured_s = None if self._capture is None else self._grab(self._capture)
        if captured_s is None:
            raise CameraLostError(f"{self} brings no picture{self._waited()}")
        got, image = self._capture.retrieve()
        if not got:
            raise CameraLostError(f"{self} brought a picture that cannot be decoded")
        return Picture(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), captured_s)

    def _shut(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _waited(self) -> str:
        """Return for how long a picture was waited for, in words."""
        return f" for {self.timeout_s:g} s"

    @abstractmethod
    def _begin(self, capture: Any) -> None:
        """Open a new capture.

        Raises:
            UserError: it cannot; says what to do.
        """

    @abstractmethod
    def _grab(self, capture: Any) -> float | None:
        """Wait for the next picture; return when it was captured [s], None where none came."""


class OpenCvCamera(_Capture):
    """Read a camera of this machine through V4L2 (Linux).

    A picture's stamp is the driver's, by the monotonic clock: for USB cameras of the kernel's uvcvideo when
    the exposure or its transfer began, as the camera says. Where a driver stamps by another clock it is
    the arrival.

    Args:
        name: of the observation `image_<name>` that it is for.
        source: number of the device, or its path; those in /dev/v4l/by-id stay over restarts.
        width, height: that it is asked for, and must have [px].
        fps: that it is asked for; its driver takes the nearest that it has.
        fourcc: of the pixels on the cable, such as MJPG, by which several cameras share one; null: as it is.
        timeout_s, tries, pause_s: see `ReopeningCamera`.

    Raises:
        UserError: a number or a fourcc that makes no sense.
    """

    def __init__(
        self,
        name: str,
        source: int | str = 0,
        width: int = 640,
        height: int = 480,
        fps: float = 30.0,
        fourcc: str | None = None,
        timeout_s: float = 1.0,
        tries: int = 3,
        pause_s: float = 0.5,
    ) -> None:
        super().__init__(name, timeout_s, tries, pause_s)
        self.device, self.width, self.height, self.fps = source, width, height, fps
        self.source = f"device {source}"
        check_positive(self, "width", "height", "fps")
        if fourcc is not None and len(fourcc) != 4:
            raise UserError(f"camera {name}: fourcc={fourcc} needs four letters, such as MJPG or YUYV")
        self.fourcc = fourcc

    def _begin(self, capture: Any) -> None:
        cv2 = load_opencv()
        if not capture.open(self.device, cv2.CAP_V4L2):
            raise UserError(f"{self} cannot be opened; {_devices()}")
        if self.fourcc is not None:
            code = cv2.VideoWriter_fourcc(*self.fourcc)
            capture.set(cv2.CAP_PROP_FOURCC, code)
            if round(capture.get(cv2.CAP_PROP_FOURCC)) != code:
                raise UserError(f"{self} has no pixels of fourcc={self.fourcc}; leave it null")
        width, height = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
        capture.set(width, self.width)
        capture.set(height, self.height)
        capture.set(cv2.CAP_PROP_FPS, self.fps)
        found = (round(capture.get(width)), round(capture.get(height)))
        if found != (self.width, self.height):
            raise UserError(
                f"{self} has no pictures of {self.width} x {self.height} pixels (width x height);"
                f" the nearest are {found[0]} x {found[1]}: set width and height to what it has"
            )
        self._clock = StampClock()

    def _grab(self, capture: Any) -> float | None:
        cv2 = load_opencv()
        try:  # a plain read would wait for ten seconds, as this does for the first picture alone
            ready, _ = cv2.VideoCapture.waitAny([capture], round(1e9 * self.timeout_s))
        except cv2.error:  # unplugged
            return None
        if not ready or not capture.grab():
            return None
        return self._clock.captured_s(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, time.monotonic())


class HttpCamera(_Capture):
    """Read a stream over HTTP, such as the MJPEG of a network camera or a phone.

    A picture's stamp is its arrival: exposure, compression and network came before.

    Args:
        name: of the observation `image_<name>` that it is for.
        url: of the stream, http or https.
        timeout_s, tries, pause_s: see `ReopeningCamera`.
        open_timeout_s: most that connecting may take.

    Raises:
        UserError: a number or a URL that makes no sense.
    """

    def __init__(
        self,
        name: str,
        url: str,
        timeout_s: float = 1.0,
        tries: int = 3,
        pause_s: float = 0.5,
        open_timeout_s: float = 5.0,
    ) -> None:
        super().__init__(name, timeout_s, tries, pause_s)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"camera {name}: url={url}: needs one that begins with http:// or https://")
        self.url, self.open_timeout_s = url, open_timeout_s
        check_positive(self, "open_timeout_s")
        self.source = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()  # no password

    def _begin(self, capture: Any) -> None:
        cv2 = load_opencv()
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(1000 * self.open_timeout_s)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * self.timeout_s)),
        ]
        if not capture.open(self.url, cv2.CAP_FFMPEG, limits):
            raise UserError(f"{self} cannot be opened: does it answer in a browser?")

    def _grab(self, capture: Any) -> float | None:
        return time.monotonic() if capture.grab() else None


class FileCamera(_Capture):
    """Play a video file once, at its own rate. A picture's stamp is when it was played.

    Args:
        name: of the observation `image_<name>` that it is for.
        path: of the file.
        fps: pictures a second; null: the file's own.

    Raises:
        UserError: a rate that makes no sense.
    """

    def __init__(self, name: str, path: str, fps: float | None = None) -> None:
        super().__init__(name, tries=0)  # opened again it would begin again
        self.path, self.fps = path, fps
        self.source = f"file {path}"
        if fps is not None:
            check_positive(self, "fps")
        self._period_s = self._due_s = 0.0

    def _begin(self, capture: Any) -> None:
        cv2 = load_opencv()
        if not Path(self.path).is_file():
            raise UserError(f"{self}: there is no such file")
        if not capture.open(self.path, cv2.CAP_FFMPEG):
            raise UserError(f"{self} holds no video that OpenCV can read")
        fps = self.fps or capture.get(cv2.CAP_PROP_FPS)
        if not fps > 0:
            raise UserError(f"{self} does not say its rate: set fps")
        self._period_s, self._due_s = 1 / fps, time.monotonic()

    def _grab(self, capture: Any) -> float | None:
        if not capture.grab():
            return None
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        played_s = time.monotonic()
        self._due_s = max(self._due_s + self._period_s, played_s)  # a late reader is not hurried
        return played_s

    def _waited(self) -> str:
        return " any more: it is at its end"


def by_number(source: int | str) -> Path | None:
    """Return the device of a camera that is named by its number; None where its name stays over restarts."""
    named = re.fullmatch(r"(?:/dev/video)?(\d+)", str(source))
    return Path(f"/dev/video{named[1]}") if named else None


def lasting_names(device: Path) -> list[str]:
    """Return the paths of a device that stay over restarts."""
    return [str(path) for path in sorted(BY_ID.glob("*")) if path.resolve() == device.resolve()]


def _devices() -> str:
    """Return which cameras this machine has, in words."""
    found = sorted(str(path) for path in BY_ID.glob("*"))
    found = found or sorted(str(path) for path in Path("/dev").glob("video*"))
    return f"there are {', '.join(found)}" if found else "this machine has none"
