"""Devices (by a stand-in), streams (from a server in a process of its own) and files through OpenCV."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from camera_makers import QUICK, write_video
from mjpeg_peer import MjpegPeer
from v4l2_stand_in import MJPG, V4l2StandIn

from robofb.deploy.cameras import opencv
from robofb.deploy.cameras.camera import Camera, CameraLostError, Frame
from robofb.deploy.cameras.freshness import Freshness
from robofb.deploy.cameras.opencv import FileCamera, HttpCamera, OpenCvCamera
from robofb.deploy.cameras.packages import load_opencv
from robofb.deploy.cameras.synthetic import number_in
from robofb.errors import UserError

MANY = 500


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> V4l2StandIn:
    stand_in = V4l2StandIn()
    monkeypatch.setattr(opencv, "load_opencv", lambda: stand_in.module)
    return stand_in


@pytest.fixture
def peer() -> Iterator[MjpegPeer]:
    with MjpegPeer() as peer:
        yield peer


def lost(camera: Camera) -> str:
    """Read until nothing comes; return what was said."""
    for _ in range(MANY):
        try:
            camera.read()
        except CameraLostError as error:
            return str(error)
    raise AssertionError("it was never lost")


def recovered(camera: Camera) -> Frame:
    """Read as the process of a camera does, again and again, until a picture comes."""
    for _ in range(20):
        try:
            return camera.read()
        except CameraLostError:
            continue
    raise AssertionError("it did not come back")


def test_the_drivers_stamp_is_believed_where_its_clock_is_ours(device: V4l2StandIn) -> None:
    camera = OpenCvCamera("front")
    camera.connect()
    frame = camera.read()
    assert camera._capture.stamp_s == pytest.approx(frame.captured_s, abs=1e-6)
    device.stamp_ahead_s = 1e6  # another clock, by the next opening
    camera.close()
    camera.connect()
    assert frame.captured_s < camera.read().captured_s < frame.captured_s + 1e5


def test_a_device_is_asked_for_what_it_shall_give(device: V4l2StandIn) -> None:
    camera = OpenCvCamera("front", "/dev/v4l/by-id/it", 320, 240, 15.0, "MJPG")
    camera.connect()
    cv2 = load_opencv()
    values = camera._capture.values
    assert values[cv2.CAP_PROP_FPS] == 15
    assert values[cv2.CAP_PROP_FOURCC] == MJPG
    assert camera.read().image.shape == (240, 320, 3)


def test_a_device_without_such_pictures_says_which_it_has(device: V4l2StandIn) -> None:
    with pytest.raises(UserError, match=r"camera front \(device 0\) has no .*1280 x 720 .*are 640 x 480"):
        OpenCvCamera("front", 0, 1280, 720).connect()


def test_a_device_without_such_pixels_says_so(device: V4l2StandIn) -> None:
    with pytest.raises(UserError, match="has no pixels of fourcc=YUYV"):
        OpenCvCamera("front", fourcc="YUYV").connect()


def test_an_unplugged_device_is_opened_again(device: V4l2StandIn, caplog: pytest.LogCaptureFixture) -> None:
    camera = OpenCvCamera("front", **QUICK)  # type: ignore[arg-type]
    camera.connect()
    before = camera.read()
    device.plugged = False
    assert "camera front (device 0) cannot be opened" in lost(camera)
    assert device.opened == 2  # one try
    device.plugged = True
    with caplog.at_level(logging.WARNING):
        after = camera.read()
    assert after.sequence > before.sequence and camera.reopened == 1
    assert "camera front (device 0) brings no picture" in caplog.text and "try 1 of 1" in caplog.text


def test_a_frozen_device_is_lost_after_its_tries(device: V4l2StandIn) -> None:
    camera = OpenCvCamera("front", timeout_s=0.05, tries=3, pause_s=0.0)
    camera.connect()
    camera.read()
    device.frozen = True
    assert lost(camera) == "camera front (device 0) brings no picture for 0.05 s"
    assert (device.opened, camera.reopened) == (4, 3)


def test_a_device_that_is_not_there_says_which_are() -> None:
    with pytest.raises(
        UserError, match=r"camera front \(device 97\) cannot be opened; (there are|this machine)"
    ):
        OpenCvCamera("front", 97).connect()


def test_a_mute_stream_is_lost_and_comes_back(peer: MjpegPeer) -> None:
    camera = HttpCamera("front", peer.url, open_timeout_s=0.5, **QUICK)  # type: ignore[arg-type]
    camera.connect()
    before = recovered(camera)
    peer.tell("mute")
    assert lost(camera) == f"camera front ({peer.url}) cannot be opened: does it answer in a browser?"
    peer.tell("run")
    recovered(camera)
    after = recovered(camera)
    assert after.sequence > before.sequence and number_in(after.image) > number_in(before.image)
    assert camera.reopened >= 1
    camera.close()


def test_a_frozen_stream_that_greets_with_its_old_picture_is_no_news(peer: MjpegPeer) -> None:
    """Each time that it is opened again it brings a picture, with a new stamp, but the same pixels."""
    fresh = Freshness("front")
    camera = HttpCamera("front", peer.url, **QUICK)  # type: ignore[arg-type]
    camera.connect()
    fresh.see(frame := recovered(camera), frame.captured_s)
    peer.tell("freeze")
    while camera.reopened < 4:
        fresh.see(frame := recovered(camera), frame.captured_s)
    assert fresh.age_s(frame.captured_s) > 2 * QUICK["timeout_s"] and fresh.why.startswith("same pixels")
    peer.tell("run")
    while fresh.why:
        fresh.see(frame := recovered(camera), frame.captured_s)
    assert fresh.age_s(frame.captured_s) == 0
    camera.close()


def test_a_server_that_hangs_up_or_dies_is_connected_to_again(peer: MjpegPeer) -> None:
    camera = HttpCamera("front", peer.url, timeout_s=5.0, tries=1, pause_s=0.1)
    camera.connect()
    before = camera.read()
    peer.die()
    lost(camera)
    with MjpegPeer(peer.port) as heir:
        after = recovered(camera)
        assert after.sequence > before.sequence
        heir.tell("hang up")
        lost(camera)
        heir.tell("run")
        assert recovered(camera).sequence > after.sequence
    camera.close()


def test_a_repeated_picture_is_no_news(peer: MjpegPeer) -> None:
    fresh = Freshness("front", repeats=3)
    camera = HttpCamera("front", peer.url, timeout_s=5.0)
    camera.connect()
    fresh.see(frame := camera.read(), frame.captured_s)
    peer.tell("repeat")
    while fresh.age_s(frame.captured_s) < 0.2:
        fresh.see(frame := camera.read(), frame.captured_s)
    assert fresh.why.startswith("same pixels") and camera.reopened == 0
    peer.tell("run")
    while fresh.why:
        fresh.see(frame := camera.read(), frame.captured_s)
    assert fresh.age_s(frame.captured_s) == 0
    camera.close()


def test_a_stream_that_is_not_there_says_so_without_its_password() -> None:
    with pytest.raises(UserError, match=r"camera front \(http://127.0.0.1:9/v\) cannot be opened") as error:
        HttpCamera("front", "http://me:secret@127.0.0.1:9/v").connect()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["ftp://x/", "camera", "http://", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="camera front: url="):
        HttpCamera("front", url)


def test_a_file_shows_every_picture_once_at_its_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "it.avi", 10, fps=50.0)
    camera = FileCamera("front", str(tmp_path / "it.avi"))
    start_s = time.monotonic()
    camera.connect()
    frames = [camera.read() for _ in range(10)]
    assert (
        [number_in(frame.image) for frame in frames]
        == [frame.sequence for frame in frames]
        == list(range(10))
    )
    assert all(frame.captured_s >= start_s + frame.sequence / 50 - 1e-6 for frame in frames)
    assert lost(camera).endswith("it.avi) brings no picture any more: it is at its end")
    assert camera.reopened == 0


def test_a_file_that_is_missing_or_no_video_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        FileCamera("front", str(tmp_path / "no.avi")).connect()
    (tmp_path / "text.avi").write_text("words")
    with pytest.raises(UserError, match="holds no video"):
        FileCamera("front", str(tmp_path / "text.avi")).connect()


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"pip install 'robofb\[deploy\]'"):
        OpenCvCamera("front").connect()
