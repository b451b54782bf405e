"""What a recording is told of the gate's decisions."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

import numpy as np

from robofb.deploy.arms.ideal import HOME, IdealArm
from robofb.deploy.limits import Limits
from robofb.deploy.live.arm_process import ArmLoop, ArmSetup
from robofb.deploy.live.bench import SEEN, RealBench
from robofb.deploy.live.judged import NotedGate
from robofb.deploy.live.places import RealPlace
from robofb.deploy.live.policy_process import write_plan
from robofb.deploy.live.process import Life
from robofb.deploy.live.records import JUDGED, MODES, Order, Rings
from robofb.deploy.modes import Mode
from robofb.deploy.pose import columns_of
from robofb.deploy.watch import Watch

FIRST, SECOND, _ = columns_of(HOME.turn)


def chunk(x_m: float = 0.0, gripper: float = -1.0) -> np.ndarray:
    """Return three steps that end so far along x from home."""
    x, y, z = HOME.position_m
    return np.array([[x + x_m, y, z, *FIRST, *SECOND, gripper]] * 3, np.float32)


def test_a_chunk_is_counted_once_whatever_is_clamped_of_it() -> None:
    """Of four that pass two are clamped, one of them in two ways; each way says so of the newest alone."""
    gate = NotedGate(Limits(), 0.1)
    assert gate.newest == [False] * 6 and gate.totals == (0, 0, 0)
    said = []
    for each in (chunk(), chunk(0.1, 2.0), chunk(gripper=2.0), chunk(x_m=np.nan), chunk()):
        gate.check(each.astype(np.float64), HOME)
        said.append({what for what, holds in zip(JUDGED, gate.newest, strict=True) if holds})
    assert said == [set(), {"speed", "gripper"}, {"gripper"}, {"refused"}, set()]
    assert gate.totals == (4, 2, 1)


def test_a_tick_says_what_was_decided_of_the_newest_chunk_of_its_control_step() -> None:
    """A step of five ticks: said until the next one has begun, and not again."""
    setup = ArmSetup(RealPlace({}, 50.0, SEEN), Limits(), Watch(alone_s=1e9), 0.1)
    bench = RealBench(IdealArm(), 50.0, SEEN)
    with closing(Rings(len(SEEN), {}, ["arm"])) as rings, ExitStack() as stack:
        loop = ArmLoop(bench, setup, rings.addresses, stack, Life(rings.beats["arm"], os.getppid()))
        for ask in ("arm", "run"):
            order(rings, Order("ask", ask))
            tick = ticked(rings, loop)
        assert tick["mode"] == MODES.index(Mode.POLICY)
        while not tick["is_step"]:
            tick = ticked(rings, loop)
        for bad in (2.0, -1.0):
            write_plan(rings.plans, int(tick["epoch"]), float(tick["time_s"]), chunk(gripper=bad), 0.0)
            said = [ticked(rings, loop) for _ in range(6)]
            assert [bool(each["is_step"]) for each in said] == [False] * 4 + [True, False]
            assert [each["judged"].tolist() for each in said] == [[0] * 5 + [bad > 1]] * 5 + [[0] * 6]
            assert said[-1]["gate"].tolist() == [1 + (bad < 0), 1, 0]
            tick = said[-1]
            while not tick["is_step"]:
                tick = ticked(rings, loop)


def order(rings: Rings, what: Order) -> None:
    rings.orders.write(kind=what.kind.encode(), what=what.what.encode(), episode=-1, seed=0, reason=b"")


def ticked(rings: Rings, loop: ArmLoop) -> np.void:
    loop.tick()
    newest = rings.ticks.latest()
    assert newest is not None
    return newest.value
