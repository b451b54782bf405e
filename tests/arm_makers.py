"""An arm of each config, ready to be held to the contract, against a peer where it speaks a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import NamedTuple

from franka_peer import franky_sim
from omegaconf import DictConfig
from so101_bench import PERIOD_S, so101
from ur_peer import ur_peer

from robofb.build import build
from robofb.config import compose
from robofb.deploy.arms.arm import RobotArm
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.limits import Limits
from robofb.envs import make_task
from robofb.sim.vec_env import SimVecEnv


class Made(NamedTuple):
    """An arm to be tested.

    Attributes:
        arm: connected.
        limits: of its config.
        dt_s: wall time between set-points; 0 where its time is simulated.
    """

    arm: RobotArm
    limits: Limits
    dt_s: float = 0.0


def config_of(name: str) -> DictConfig:
    """Return what `robofb deploy` reads with this arm."""
    return compose("deploy", ["run=x", f"arm={name}"])


@contextmanager
def _sim() -> Iterator[Made]:
    cfg = config_of("sim")
    with closing(build(cfg.arm, SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False))) as arm:
        arm.connect()
        arm.begin(3)
        yield Made(arm, build(cfg.limits))


@contextmanager
def _ideal() -> Iterator[Made]:
    with closing(IdealArm()) as arm:
        arm.connect()
        yield Made(arm, Limits())


@contextmanager
def _ur() -> Iterator[Made]:
    cfg = config_of("ur")
    with ur_peer() as peer:
        cfg.arm.host = peer.host
        with closing(build(cfg.arm)) as arm:
            arm.connect()
            yield Made(arm, build(cfg.limits), cfg.arm.period_s)


@contextmanager
def _so101() -> Iterator[Made]:
    with so101() as bench:
        yield Made(bench.arm, build(bench.cfg.limits), PERIOD_S)


@contextmanager
def _franka() -> Iterator[Made]:
    cfg = config_of("franka")
    with franky_sim() as peer:
        cfg.arm.host = peer.host
        with closing(build(cfg.arm)) as arm:
            arm.connect()
            yield Made(arm, build(cfg.limits), 0.01)


MAKERS: dict[str, Callable[[], AbstractContextManager[Made]]] = {
    "franka": _franka,
    "ideal": _ideal,
    "sim": _sim,
    "so101": _so101,
    "ur": _ur,
}
