"""RealSense cameras by recordings that librealsense makes and plays; skipped where it cannot be loaded."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from camera_makers import PATIENT, skip_without_realsense

from robofb.deploy.cameras import realsense
from robofb.deploy.cameras.camera import CameraLostError
from robofb.deploy.cameras.fitting import Intrinsics
from robofb.deploy.cameras.realsense import RealSenseCamera
from robofb.deploy.cameras.synthetic import number_in
from robofb.errors import UserError

SIZE: dict[str, Any] = {"width": 64, "height": 48}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    skip_without_realsense()
    from realsense_recording import record

    path = tmp_path_factory.mktemp("realsense") / "it.db3"
    record(path, 60, step=2)
    return str(path)


def test_pictures_lens_and_gaps_are_the_recordings(recording: str) -> None:
    camera = RealSenseCamera("wrist", recording=recording, **SIZE, **PATIENT)
    camera.connect()
    assert camera.intrinsics == Intrinsics(48, 64, 50.0, 51.0, 31.0, 23.0)
    frames = [camera.read() for _ in range(5)]
    assert all(frame.image.flags.owndata for frame in frames)  # it lends few buffers
    first = frames[0]
    for frame in frames[1:]:  # the frame numbers rise by two a picture
        assert frame.sequence - first.sequence == 2 * (number_in(frame.image) - number_in(first.image))
    assert re.fullmatch(r"camera wrist \(.*it.db3\) brings no picture for 2 s", read_to_end(camera))
    camera.close()


def read_to_end(camera: RealSenseCamera) -> str:
    while True:
        try:
            camera.read()
        except CameraLostError as error:
            return str(error)


def test_stamps_of_a_recording_are_their_arrival(recording: str) -> None:
    """They were made long before: believed, no picture would ever be new."""
    time.sleep(1.0)
    camera = RealSenseCamera("wrist", recording=recording, **SIZE)
    before_s = time.monotonic()
    camera.connect()
    assert before_s < camera.read().captured_s < time.monotonic()
    camera.close()


def test_a_size_that_it_has_not_is_refused(recording: str) -> None:
    with pytest.raises(UserError, match="cannot give 32 x 48 pixels .* at 30 a second"):
        RealSenseCamera("wrist", recording=recording, width=32, height=48).connect()


def test_a_recording_that_is_not_there_is_refused(recording: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such recording"):
        RealSenseCamera("wrist", recording=str(tmp_path / "no.db3")).connect()


def plugged_in(monkeypatch: pytest.MonkeyPatch, *serials: str) -> None:
    """Let librealsense find cameras of these serial numbers, none of which starts."""

    class Device:
        def __init__(self, serial: str) -> None:
            self.get_info = lambda key: serial

    class Config:
        def enable_device(self, serial: str) -> None:
            raise RuntimeError(f"would start {serial}")

    stand_in = SimpleNamespace(
        context=lambda: SimpleNamespace(query_devices=lambda: [Device(serial) for serial in serials]),
        camera_info=SimpleNamespace(serial_number="serial"),
        config=Config,
    )
    monkeypatch.setattr(realsense, "load_realsense", lambda: stand_in)


@pytest.mark.parametrize(
    ("serial", "there", "said"),
    [
        ("777", ("111", "222"), "camera wrist: no RealSense has serial=777; there are 111, 222"),
        ("", ("111", "222"), "camera wrist: serial says none of them; there are 111, 222"),
        ("777", (), "camera wrist: no RealSense is plugged in"),
    ],
)
def test_an_unknown_serial_number_says_which_there_are(
    serial: str, there: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged_in(monkeypatch, *there)
    with pytest.raises(UserError) as error:
        RealSenseCamera("wrist", serial).connect()
    assert str(error.value) == said


@pytest.mark.parametrize("serial", ["222", 222, ""])
def test_the_camera_that_is_meant_is_taken(serial: str | int, monkeypatch: pytest.MonkeyPatch) -> None:
    plugged_in(monkeypatch, *(["111", "222"] if serial else ["222"]))
    with pytest.raises(RuntimeError, match="would start 222"):
        RealSenseCamera("wrist", serial).connect()


def test_without_librealsense_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(UserError, match=r"pip install 'robofb\[realsense\]'.*apt install libusb-1.0-0"):
        RealSenseCamera("wrist").connect()
