"""The Franka of its config, for tests: with settings of their own, and connected to a peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from arm_makers import config_of
from franka_peer import Peer
from omegaconf import OmegaConf
from waiting import until

from robofb.build import build
from robofb.deploy.arms.arm import ArmState
from robofb.deploy.arms.franka import FrankaArm

PATIENT = ("answer_s=60", "recover_s=60", "hand.timeout_s=120")


def arm_with(*settings: str) -> FrankaArm:
    """Return the arm of its config, but for some settings, such as "load_kg=0.1"."""
    return build(OmegaConf.merge(config_of("franka").arm, OmegaConf.from_dotlist(list(settings))))


@contextmanager
def connected(peer: Peer, *settings: str) -> Iterator[FrankaArm]:
    """Connect such an arm to a peer, patiently: a simulator may have little time."""
    with closing(arm_with(f"host={peer.host}", *PATIENT, *settings)) as arm:
        arm.connect()
        yield arm


def until_state(arm: FrankaArm, holds: Callable[[ArmState], bool]) -> ArmState:
    """Wait for such a state, and return it."""
    state = arm.state()

    def held() -> bool:
        nonlocal state
        state = arm.state()
        return holds(state)

    until(held)
    return state
