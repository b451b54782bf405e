"""Settings that no SO-101 can have, and what a calibration comes to."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from arm_makers import config_of

from robofb.build import build
from robofb.deploy.arms.so101 import So101Arm
from robofb.deploy.arms.so101_servo import Servo
from robofb.errors import UserError


def settings(**changed: Any) -> dict[str, Any]:
    joints = {"id": 1, "drive_mode": 0, "homing_offset": 5, "range_min": 1000, "range_max": 3000}
    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    made: dict[str, Any] = {
        "port": "/dev/null",
        "baudrate": 1_000_000,
        "joints": {name: {**joints, "id": number} for number, name in enumerate(names, 1)},
        "home_rad": [0.0] * 5,
        "max_joint_rad_s": 2.0,
        "gripper_torque": 0.5,
        "answer_s": 0.1,
        "retries": 3,
        "release": False,
    }
    for path, value in changed.items():
        *way, last = path.split("__")
        inner = made
        for key in way:
            inner = inner[key]
        inner[last] = value
    return made


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"joints__elbow_flex__homing_offset": None}, "joints.elbow_flex.homing_offset=None: needs a whole"),
        ({"joints__elbow_flex__homing_offset": 2048}, "from -2047 to 2047"),
        ({"joints__elbow_flex__drive_mode": 2}, "drive_mode=2: needs a whole number from 0 to 1"),
        ({"joints__elbow_flex__range_min": 1000.5}, "range_min=1000.5"),
        ({"joints__elbow_flex__range_max": 4096}, "range_max=4096"),
        ({"joints__elbow_flex__range_max": 900}, "must lie at least 200 steps above range_min=1000"),
        ({"joints__elbow_flex__id": 2}, "joints.elbow_flex.id=2: is shoulder_lift's already"),
        ({"joints__elbow_flex__id": True}, "id=True"),
        ({"joints__elbow_flex__sign": 1}, "joints.elbow_flex has id, drive_mode"),
        ({"joints__elbow": {}}, "needs shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, wrist_roll"),
        ({"home_rad": [0.0] * 4}, "needs 5 finite numbers"),
        ({"home_rad": [0.0, 0.0, 0.0, 1.6, 0.0]}, "wrist_flex=1.6 is beyond what its joint reaches, -1.51"),
        ({"baudrate": 9600}, "baudrate=9600: must be one of 38400"),
        ({"gripper_torque": 1.5}, "gripper_torque=1.5"),
        ({"max_joint_rad_s": 0.0}, "max_joint_rad_s=0.0"),
        ({"answer_s": math.nan}, "answer_s=nan"),
        ({"retries": -1}, "retries=-1"),
    ],
)
def test_settings_that_no_arm_can_have_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        So101Arm(**settings(**changed))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_the_config_needs_the_calibration_of_ones_own_arm() -> None:
    with pytest.raises(UserError, match="homing_offset=None.*copy it from the calibration of this very arm"):
        build(config_of("so101").arm)


def test_a_position_is_an_angle_from_the_middle_of_the_range() -> None:
    """4096 steps a turn: 1024 above the middle, 2000, is a quarter of one."""
    servo = Servo(1, 0, 0, 1000, 3000)
    assert servo.angle_rad(3024) == pytest.approx(math.pi / 2)
    assert servo.position(-math.pi / 4) == 2000 - 512
    assert servo.position(3.0) == 3000 and servo.position(-3.0) == 1000
    assert servo.reach_rad == pytest.approx(math.pi / 2 * 1000 / 1024)
    other_way = Servo(1, 1, 0, 1000, 3000)
    assert other_way.angle_rad(3024) == pytest.approx(-math.pi / 2)
    assert other_way.position(-math.pi / 4) == 2000 + 512


def test_a_gripper_is_closed_at_the_lower_end() -> None:
    servo = Servo(6, 0, 0, 2000, 3000)
    assert (servo.closing(1.0), servo.closing(-1.0), servo.closing(0.0)) == (2000, 3000, 2500)
    assert (servo.closed(2000), servo.closed(2750), servo.closed(3100)) == (1.0, -0.5, -1.0)
    other_way = Servo(6, 1, 0, 2000, 3000)
    assert other_way.closing(1.0) == 3000 and other_way.closed(3000) == 1.0


def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="port=/dev/no-such-port: .*is the arm plugged in"):
        So101Arm(**settings(port="/dev/no-such-port")).connect()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scservo_sdk", None)
    with pytest.raises(UserError, match="feetech-servo-sdk is missing: pip install 'robofb\\[deploy\\]'"):
        So101Arm(**settings()).connect()
