"""A Robotiq gripper on a fake control box."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ur_peer import UrPeer, ur_peer
from waiting import until

from robofb.deploy.arms.arm import ArmError, ArmTarget
from robofb.deploy.arms.gripper import Gripper, NoGripper
from robofb.deploy.arms.robotiq import RobotiqGripper
from robofb.deploy.arms.ur import UrArm
from robofb.errors import UserError

PATIENCE_S = 30.0


@pytest.fixture
def peer() -> Iterator[UrPeer]:
    with ur_peer() as peer:
        yield peer


@pytest.fixture
def gripper(peer: UrPeer) -> Iterator[RobotiqGripper]:
    gripper = RobotiqGripper(speed=1.0, force=0.2, poll_s=0.01, timeout_s=5.0, move_s=PATIENCE_S)
    gripper.connect(peer.host)
    yield gripper
    gripper.close()
    gripper.close()


def test_both_grippers_are_grippers() -> None:
    assert isinstance(NoGripper(), Gripper) and isinstance(RobotiqGripper(), Gripper)


def test_connecting_moves_nothing_and_says_where_it_is(peer: UrPeer, gripper: RobotiqGripper) -> None:
    """3 of 255 is -1 + 6 / 255."""
    assert gripper.position == pytest.approx(-0.976471, abs=1e-6)
    assert peer.tell()["sets"] == 0


def test_it_closes_and_opens_and_the_same_again_sends_nothing(peer: UrPeer, gripper: RobotiqGripper) -> None:
    for _ in range(50):
        gripper.command(1.0)
    until(lambda: gripper.position == 1.0)
    facts = peer.tell()
    assert facts["sets"] == 1
    assert [facts["gripper"][name] for name in ("PRE", "SPE", "FOR", "GTO")] == [255, 255, 51, 1]
    for _ in range(50):
        gripper.command(-1.0)
    until(lambda: gripper.position == -1.0)
    assert peer.tell()["sets"] == 2 and gripper.fault == ""


def test_what_it_holds_counts_as_closed(peer: UrPeer, gripper: RobotiqGripper) -> None:
    """At 80 of 255 it would count as open, and a controller that arms would let it fall."""
    peer.tell(gripper={"block": 80})
    gripper.command(1.0)
    until(lambda: peer.tell()["gripper"]["OBJ"] == 2 and gripper.position == 1.0)
    assert peer.tell()["gripper"]["POS"] == 80


@pytest.mark.parametrize(
    ("wrong", "says"), [({"STA": 0}, "not activated"), ({"FLT": 14}, "fault 14"), ({"mute": 1}, "timed out")]
)
def test_what_is_wrong_with_it_is_a_fault_until_somebody_recovers_it(
    peer: UrPeer, wrong: dict[str, int], says: str
) -> None:
    gripper = RobotiqGripper(poll_s=0.01, timeout_s=0.3)
    gripper.connect(peer.host)
    right = {name: peer.tell()["gripper"][name] for name in wrong}
    peer.tell(gripper=wrong)
    until(lambda: says in gripper.fault)
    with pytest.raises(ArmError, match=says):
        gripper.recover()
    assert says in gripper.fault
    peer.tell(gripper=right)
    time.sleep(0.05)
    assert says in gripper.fault  # not by itself
    gripper.timeout_s = 5.0
    gripper.recover()
    assert gripper.fault == ""
    gripper.command(1.0)
    until(lambda: gripper.position == 1.0)
    gripper.close()


def test_fingers_that_do_not_arrive_are_a_fault(peer: UrPeer) -> None:
    gripper = RobotiqGripper(poll_s=0.01, timeout_s=5.0, move_s=0.2)
    gripper.connect(peer.host)
    peer.tell(gripper={"jammed": 1})
    gripper.command(1.0)
    until(lambda: gripper.fault)
    assert gripper.fault == "gripper: its fingers did not arrive within 0.2 s"
    assert gripper.position < 0.0  # nearer to open, and not where it was sent
    gripper.close()


def test_one_that_is_not_activated_is_the_users_to_mend(peer: UrPeer) -> None:
    peer.tell(gripper={"STA": 0})
    gripper = RobotiqGripper()
    with pytest.raises(UserError, match="activate it at the pendant"):
        gripper.connect(peer.host)
    with pytest.raises(UserError, match="speed=2"):
        RobotiqGripper(speed=2.0)


def test_an_arm_carries_it(peer: UrPeer) -> None:
    """Its answers do not keep the arm waiting; its fault is the arm's."""
    gripper = RobotiqGripper(poll_s=0.01, timeout_s=0.3)
    arm = UrArm(peer.host, [0.4, 0.0, 0.25], [3.14, 0.0, 0.0], gripper=gripper)
    arm.connect()
    arm.enable()
    pose = arm.state().pose
    arm.command(ArmTarget(pose, 1.0))
    until(lambda: arm.state().gripper == 1.0)
    peer.tell(gripper={"mute": 1})
    until(lambda: arm.state().fault.startswith("gripper: "))
    arm.command(ArmTarget(pose, -1.0))
    peer.tell(gripper={"mute": 0})
    gripper.timeout_s = 5.0
    arm.recover()
    assert arm.state().fault == ""
    arm.close()
