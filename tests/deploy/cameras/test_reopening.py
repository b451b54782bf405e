"""Stamps of a device's clock, and numbers over reconnections."""

from __future__ import annotations

import numpy as np
import pytest

from robofb.deploy.cameras.camera import CameraLostError
from robofb.deploy.cameras.reopening import Picture, ReopeningCamera, StampClock
from robofb.errors import UserError

IMAGE = np.zeros((1, 1, 3), np.uint8)


class Scripted(ReopeningCamera):
    """Bring pictures of given numbers; "gone": none comes, "absent": nor can it be opened."""

    source = "script"

    def __init__(self, *script: int | str | None, tries: int = 2) -> None:
        super().__init__("front", tries=tries, pause_s=0.0)
        self.script = list(script)
        self.shut = 0

    def _open(self) -> None:
        if self.script[0] == "absent":
            self.script.pop(0)
            raise UserError("it is not there")

    def _next(self) -> Picture:
        number = self.script.pop(0)
        if number == "gone":
            raise CameraLostError("no picture")
        return Picture(IMAGE, 0.0, number)  # type: ignore[arg-type]

    def _shut(self) -> None:
        self.shut += 1


def sequences(camera: Scripted, count: int) -> list[int]:
    camera.connect()
    return [camera.read().sequence for _ in range(count)]


def test_gaps_of_the_devices_numbers_stay_and_a_new_count_goes_on() -> None:
    assert sequences(Scripted(7, 8, 11, "gone", 1, 2), 5) == [0, 1, 4, 5, 6]
    assert sequences(Scripted(None, None, None), 3) == [0, 1, 2]


def test_a_lost_device_is_tried_again_so_often_and_no_more() -> None:
    camera = Scripted(1, "gone", "absent", "gone", "gone", 5, tries=2)
    assert sequences(camera, 1) == [0]
    with pytest.raises(CameraLostError, match="no picture"):
        camera.read()
    assert camera.shut == 2 and camera.reopened == 1  # once it could not be opened
    assert camera.read().sequence == 1 and camera.reopened == 2  # another call tries again


def test_what_cannot_be_opened_at_first_is_the_users_to_mend() -> None:
    camera = Scripted("absent", 1)
    with pytest.raises(UserError, match="it is not there"):
        camera.connect()
    with pytest.raises(CameraLostError, match="not connected"):
        camera.read()


def test_stamps_are_believed_where_the_first_is_young() -> None:
    clock = StampClock(believable_s=1.0)
    assert clock.captured_s(9.9, arrived_s=10.0) == 9.9
    assert clock.captured_s(8.0, arrived_s=12.0) == 8.0  # an old picture that had waited
    assert clock.captured_s(13.0, arrived_s=12.5) == 12.5


@pytest.mark.parametrize("first_s", [0.0, 8.9, 10.5, 1e9])
def test_stamps_of_another_clock_are_not(first_s: float) -> None:
    clock = StampClock(believable_s=1.0)
    assert clock.captured_s(first_s, arrived_s=10.0) == 10.0
    assert clock.captured_s(10.9, arrived_s=11.0) == 11.0
