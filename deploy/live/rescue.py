"""Stop an arm whose own process is gone, and say what is seen of it then."""

from __future__ import annotations

import time
from contextlib import closing

from robofb.deploy.arms.arm import ArmError, ArmState, RobotArm
from robofb.deploy.live.arm_process import BRAKE_S, ArmSetup
from robofb.deploy.live.process import Life
from robofb.deploy.live.records import Addresses
from robofb.deploy.pose import angle_between, difference, length
from robofb.deploy.ring import Ring
from robofb.errors import UserError

STILL_S = 0.5
"""It stands still that was seen for so long within `MOST_M` and `MOST_RAD` of one place."""
MOST_M, MOST_RAD = 2e-3, 0.01  # some steps of an SO-101's servos: their readings are not quieter
_LOOK_S = 0.02
PRESS = "press its emergency stop"


def run_rescue(setup: ArmSetup, addresses: Addresses, parent: int) -> None:
    """Stop an arm whose own process is gone, and say what came of it; a process's main function."""
    with closing(Ring.attach(addresses.beats["arm"])) as beats:
        life = Life(beats, parent)
        life.begin(by_order=True)
        try:
            with closing(setup.place.make().arm) as arm:
                arm.connect()
                life.last_word(rescued(arm))
        except (ArmError, UserError) as error:
            life.last_word(f"nobody sees whether the arm stands still ({error}): {PRESS}")


def rescued(arm: RobotArm) -> str:
    """Tell a connected arm, which may be moving, to stop; return what is seen of it after that.

    Raises:
        ArmError: nothing is seen of it.
    """
    untold = ""
    try:
        arm.enable()
        arm.stop()
    except ArmError as error:  # it may have stopped by itself, which is seen
        untold = f" (it could not be told to stop: {error})"
    return f"{_seen(arm)}{untold}"


def _seen(arm: RobotArm) -> str:
    """Watch an arm until it stands still, and say whether it does.

    What it said long ago is no sight of it: a time counts from one thing that it said to another.
    """
    until_s = time.monotonic() + BRAKE_S
    first = begun = newest = arm.state()
    while time.monotonic() < until_s:
        time.sleep(_LOOK_S)
        newest = arm.state()
        if not _is_near(newest, begun):
            begun = newest
        elif newest.received_s - begun.received_s >= STILL_S:
            return "the arm stands still"
    if newest.stamp == first.stamp:
        return f"the arm says nothing new, and may move: {PRESS}"
    return f"the arm still moves: {PRESS}"


def _is_near(state: ArmState, other: ArmState) -> bool:
    """Return whether tool and joints of both are at one place; what is not finite is nowhere."""
    turned = [abs(a - b) for a, b in zip(state.joints_rad, other.joints_rad, strict=True)]
    turned.append(angle_between(state.pose.turn, other.pose.turn))
    moved_m = length(difference(state.pose.position_m, other.pose.position_m))
    return moved_m <= MOST_M and all(angle <= MOST_RAD for angle in turned)
