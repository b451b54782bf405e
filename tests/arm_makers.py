"""An arm of each config, ready to be held to the contract, against a peer where it speaks a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import NamedTuple

from franka_peer import franky_sim
from omegaconf import DictConfig
from so101_bench import emulated
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
        arm: connected and enabled.
        limits: of its config.
        dt_s: wall time between set-points; 0 where its time is simulated.
    """

    arm: RobotArm
    limits: Limits
    dt_s: float = 0.0


class Hosted(NamedTuple):
    """An arm's peer, which is there.

    Attributes:
        cfg: what `robofb deploy` reads to drive it.
        orders: how much it was told to do until now; who only reads tells it nothing.
    """

    cfg: DictConfig
    orders: Callable[[], int]


def config_of(name: str) -> DictConfig:
    """Return what `robofb deploy` reads with this arm."""
    return compose("deploy", ["run=x", f"arm={name}"])


@contextmanager
def _sim() -> Iterator[Made]:
    cfg = config_of("sim")
    with closing(build(cfg.arm, SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False))) as arm:
        arm.connect()
        arm.enable()
        arm.begin(3)
        yield Made(arm, build(cfg.limits))


@contextmanager
def _ideal() -> Iterator[Made]:
    with closing(IdealArm()) as arm:
        arm.connect()
        arm.enable()
        yield Made(arm, Limits())


@contextmanager
def _ur() -> Iterator[Hosted]:
    told = ("uploads", "set_points", "servo_stops", "dashboard_stops")
    with ur_peer() as peer:
        cfg = _hosted("ur", peer.host)
        cfg.arm.watchdog_s = 20.0  # a machine that is busy with other things is no fault
        yield Hosted(cfg, lambda: sum(peer.tell()[name] for name in told))


@contextmanager
def _so101() -> Iterator[Hosted]:
    with emulated() as (peer, cfg):
        yield Hosted(cfg, lambda: sum(report["writes"] for report in peer.reports().values()))


@contextmanager
def _franka() -> Iterator[Hosted]:
    with franky_sim() as peer:
        yield Hosted(
            _hosted("franka", peer.host), lambda: int(peer.tell("orders")) + int(peer.tell("hand_orders"))
        )


def _hosted(name: str, host: str) -> DictConfig:
    cfg = config_of(name)
    cfg.arm.host = host
    return cfg


PEERS: dict[str, Callable[[], AbstractContextManager[Hosted]]] = {
    "franka": _franka,
    "so101": _so101,
    "ur": _ur,
}
"""Starts an arm's peer, by the arm's name."""


@contextmanager
def _connected(peer: Callable[[], AbstractContextManager[Hosted]]) -> Iterator[Made]:
    with peer() as (cfg, _), closing(build(cfg.arm)) as arm:
        arm.connect()
        arm.enable()
        yield Made(arm, build(cfg.limits), 1.0 / cfg.control_hz)


MAKERS: dict[str, Callable[[], AbstractContextManager[Made]]] = {
    "ideal": _ideal,
    "sim": _sim,
    **{name: partial(_connected, peer) for name, peer in PEERS.items()},
}
