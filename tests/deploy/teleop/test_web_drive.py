"""From messages and silence to commands, with a clock of the test's own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from page_clients import message

from robofb.deploy.teleop.web_drive import DriveState, Speeds
from robofb.deploy.teleop.web_messages import BadMessageError
from robofb.errors import DeviceLostError
from robofb.geometry import matrix_to_quat, quat_to_matrix, rotation_angle, rotvec_to_matrix

SPEEDS = Speeds(linear_m_s=0.2, angular_rad_s=0.5, hand_m_s=0.5, hand_rad_s=2.0)
DT_S = 0.1


class Browser:
    """Say things to a state at times that the test chooses."""

    def __init__(self) -> None:
        self.now_s, self.seq = 50.0, 0
        self.state = DriveState(SPEEDS, DT_S, clock=lambda: self.now_s)
        self.state.join()
        self.say()  # released: from now on the switch counts

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def say(self, late_s: float = 0.0, **values) -> None:
        self.seq += 1
        self.state.hear(message(seq=self.seq, t_ms=1e3 * (self.now_s - late_s), **values))


def hand(position_m=(0.0, 0.0, 0.0), quaternion=(1.0, 0.0, 0.0, 0.0), grip=1):
    return {"position_m": list(position_m), "quaternion": list(quaternion), "grip": grip}


def test_shares_become_speeds():
    browser = Browser()
    browser.say(engaged=True, linear=[0.5, 0, 0], angular=[0, 0, -1], gripper=1)
    command = browser.state.read()
    assert command.twist == pytest.approx([0.1, 0, 0, 0, 0, -0.5])
    assert (command.engaged, command.gripper, command.event) == (True, 1, "")


def test_a_diagonal_is_no_faster_than_an_axis():
    browser = Browser()
    browser.say(engaged=True, linear=[1, 1, 1], angular=[1, 1, 0])
    twist = browser.state.read().twist
    assert np.linalg.norm(twist[:3]) == pytest.approx(0.2)
    assert np.linalg.norm(twist[3:]) == pytest.approx(0.5)


def test_nothing_moves_without_the_dead_man():
    browser = Browser()
    browser.say(engaged=False, linear=[1, 0, 0], angular=[0, 1, 0], gripper=1, hand=hand())
    command = browser.state.read()
    assert not command.engaged and not command.twist.any() and command.gripper == 0


def test_silence_stops_after_a_quarter_second_and_loses_after_one():
    browser = Browser()
    browser.say(engaged=True, linear=[1, 0, 0])
    browser.wait(0.24)
    assert browser.state.read().engaged
    browser.wait(0.02)
    command = browser.state.read()
    assert not command.engaged and not command.twist.any()
    browser.wait(0.7)
    assert not browser.state.read().engaged
    browser.wait(0.1)
    with pytest.raises(DeviceLostError, match="nothing for 1.1 s"):
        browser.state.read()


def test_after_a_loss_the_switch_must_be_let_go_first():
    browser = Browser()
    browser.say(engaged=True, linear=[1, 0, 0])
    browser.wait(1.5)
    browser.say(engaged=True, linear=[1, 0, 0])
    assert not browser.state.read().engaged
    browser.say()
    browser.say(engaged=True, linear=[1, 0, 0])
    assert browser.state.read().engaged


def test_a_browser_that_joins_with_the_switch_held_does_not_move():
    browser = Browser()
    browser.state.leave("gone")
    browser.state.join()
    browser.say(engaged=True, linear=[1, 0, 0])
    assert not browser.state.read().engaged


def test_absence_is_told_at_once_with_its_reason():
    browser = Browser()
    browser.say(engaged=True, linear=[1, 0, 0], event="success")
    browser.state.leave("the browser has left")
    with pytest.raises(DeviceLostError, match="the browser has left"):
        browser.state.read()
    browser.state.join()
    assert browser.state.read().event == ""  # what the last one said is forgotten


def test_messages_that_were_held_up_do_not_move():
    """A link stalls for 0.6 s, then everything that was said meanwhile arrives at once."""
    browser = Browser()
    browser.say(engaged=True, linear=[1, 0, 0])
    browser.wait(0.6)
    for late_s in (0.5, 0.4, 0.3):
        browser.say(late_s=late_s, engaged=True, linear=[1, 0, 0])
        assert not browser.state.read().engaged
    browser.say(late_s=0.1, engaged=True, linear=[1, 0, 0])
    assert browser.state.read().engaged


def test_slow_clock_drift_is_not_taken_for_delay():
    """The browser's clock loses half a second in a thousand."""
    browser = Browser()
    drift_s = 0.0
    for _ in range(8000):
        browser.wait(0.2)
        drift_s += 0.2 * 5e-4
        browser.say(late_s=drift_s, engaged=True, linear=[1, 0, 0])
    assert drift_s == pytest.approx(0.8)
    assert browser.state.read().engaged


def test_a_tap_between_two_reads_counts_once():
    browser = Browser()
    browser.say(engaged=True, linear=[0, 1, 0], gripper=-1)
    browser.say(engaged=True)
    first, second = browser.state.read(), browser.state.read()
    assert first.twist == pytest.approx([0, 0.2, 0, 0, 0, 0]) and first.gripper == -1
    assert not second.twist.any() and second.gripper == 0


def test_a_tap_is_dropped_with_the_switch():
    browser = Browser()
    browser.say(engaged=True, linear=[0, 1, 0], gripper=1)
    browser.say()
    browser.say(engaged=True)
    command = browser.state.read()
    assert command.engaged and not command.twist.any() and command.gripper == 0


def test_events_come_once_each_in_order_and_a_flood_is_bounded():
    browser = Browser()
    for event in ("start", "success"):
        browser.say(event=event)
    assert [browser.state.read().event for _ in range(3)] == ["start", "success", ""]
    for _ in range(1000):
        browser.say(event="undo")
    assert sum(browser.state.read().event == "undo" for _ in range(100)) == 16


@pytest.mark.parametrize("again", [{"seq": 1, "t_ms": 60_000.0}, {"seq": 9, "t_ms": 1.0}])
def test_refuses_messages_out_of_order(again):
    browser = Browser()
    with pytest.raises(BadMessageError, match="must grow"):
        browser.state.hear(message(**again))


def test_a_slow_hand_is_followed_exactly():
    browser = Browser()
    browser.say(engaged=True, hand=hand())
    assert not browser.state.read().twist.any()  # pressing the clutch moves nothing
    browser.say(engaged=True, hand=hand((0.03, 0, -0.01), (math.cos(0.05), 0, 0, math.sin(0.05))))
    assert browser.state.read().twist == pytest.approx([0.3, 0, -0.1, 0, 0, 1.0])
    assert browser.state.read().twist == pytest.approx(np.zeros(6))


def test_a_fast_hand_is_followed_at_the_highest_speed_until_caught_up():
    browser = Browser()
    browser.say(engaged=True, hand=hand())
    browser.say(engaged=True, hand=hand((0.12, 0, 0)))  # 0.5 m/s for 0.1 s are 0.05 m
    shifts_m = [browser.state.read().twist[0] * DT_S for _ in range(4)]
    assert shifts_m == pytest.approx([0.05, 0.05, 0.02, 0])


def test_a_leap_of_the_tracking_is_cut_short():
    browser = Browser()
    browser.say(engaged=True, hand=hand())
    browser.say(engaged=True, hand=hand((90.0, 0, 0)))
    shifts_m = [browser.state.read().twist[0] * DT_S for _ in range(10)]
    assert sum(shifts_m) == pytest.approx(0.5 * (DT_S + 0.3))
    assert max(shifts_m) == pytest.approx(0.05)


def test_clutching_again_elsewhere_does_not_jump():
    browser = Browser()
    browser.say(engaged=True, hand=hand())
    browser.say(engaged=False)
    browser.say(engaged=True, hand=hand((0.4, 0.4, 0.4), (0, 1, 0, 0), grip=2))
    assert not browser.state.read().twist.any()
    browser.say(engaged=True, hand=hand((0.4, 0.42, 0.4), (0, 1, 0, 0), grip=2))
    assert browser.state.read().twist == pytest.approx([0, 0.2, 0, 0, 0, 0], abs=1e-9)


def test_a_gap_in_the_stream_clutches_anew():
    browser = Browser()
    browser.say(engaged=True, hand=hand())
    browser.wait(0.4)
    browser.say(engaged=True, hand=hand((0.2, 0, 0)))
    assert not browser.state.read().twist.any()


@settings(max_examples=20)
@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 6), min_size=1, max_size=12))
def test_twists_add_up_to_the_hands_motion(steps):
    """Any walk of the hand: after it rests, the sum of the twists is where the hand went."""
    browser = Browser()
    position, rotation = np.zeros(3), torch.eye(3, dtype=torch.float64)
    browser.say(engaged=True, hand=hand())
    reached_m, reached = np.zeros(3), rotation
    for index in range(len(steps) + 8):
        if index < len(steps):
            step = np.array(steps[index])
            position = position + 0.02 * step[:3]
            rotation = rotvec_to_matrix(torch.from_numpy(0.08 * step[3:])) @ rotation
        browser.wait(0.05)
        browser.say(engaged=True, hand=hand(position, quaternion_of(rotation)))
        twist = browser.state.read().twist
        assert np.linalg.norm(twist[:3]) <= 0.5 + 1e-9 and np.linalg.norm(twist[3:]) <= 2.0 + 1e-9
        reached_m = reached_m + DT_S * twist[:3]
        reached = rotvec_to_matrix(torch.from_numpy(DT_S * twist[3:])) @ reached
    assert reached_m == pytest.approx(position, abs=1e-9)
    assert float(rotation_angle(reached, rotation)) < 1e-6


def quaternion_of(rotation):
    quaternion = matrix_to_quat(rotation)
    assert torch.allclose(quat_to_matrix(quaternion), rotation, atol=1e-9)
    return quaternion.tolist()
