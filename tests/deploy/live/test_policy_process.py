"""What a policy's process plans, when, and from what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from robofb.deploy.live.policy_process import PolicyLoop, PolicySetup, seed_of, write_plan
from robofb.deploy.live.process import attacher
from robofb.deploy.live.records import MODES, MOST_ACTIONS, Rings
from robofb.deploy.modes import Mode
from robofb.types import Obs

STEP_S = 0.1


@dataclass
class Noted:
    """Plans that note what they are told."""

    told: list[Any] = field(default_factory=list)

    def begin(self, seed: int) -> None:
        self.told.append(("begin", seed))

    def skip(self) -> None:
        self.told.append("skip")

    def plan(self, obs: Obs) -> np.ndarray:
        image = obs.get("image_front")
        self.told.append({"first": float(obs["state"][0, 0]), "image": image})
        return np.full((3, 10), float(obs["state"][0, 0]), np.float32)


@dataclass(frozen=True)
class NotedSource:
    plans: Noted

    def make(self) -> Noted:
        return self.plans


@pytest.fixture
def rings() -> Iterator[Rings]:
    with closing(Rings(2, {"front": (4, 6)}, [])) as rings:
        yield rings


def looped(rings: Rings, stack: ExitStack, cameras: tuple[str, ...] = ()) -> tuple[PolicyLoop, Noted]:
    plans = Noted()
    return PolicyLoop(
        PolicySetup(NotedSource(plans), STEP_S, cameras), rings.addresses, attacher(stack)
    ), plans


def tick(rings: Rings, first: float, late_s: float = 0.0, **more: Any) -> None:
    """Write a tick in which a control step of the policy's begins, `late_s` ago."""
    facts = {name: 0 for name in rings.ticks.dtype.names if name not in ("state", "reason")}
    facts |= {"mode": MODES.index(Mode.POLICY), "is_step": 1, "epoch": 4, "time_s": first, "pictures": [0]}
    facts |= {"wall_s": time.monotonic() - late_s, **more}
    rings.ticks.write(state=[first, 0.0], reason=b"", **facts)


def begin(rings: Rings, seed: int) -> None:
    rings.orders.write(kind=b"begin", what=b"", episode=0, seed=seed, reason=b"")


def test_each_control_step_is_planned_in_order_with_the_seed_of_its_epoch(rings: Rings) -> None:
    with ExitStack() as stack:
        tick(rings, 9.0)  # before the process was there
        loop, plans = looped(rings, stack)
        begin(rings, 5)
        tick(rings, 1.0)
        tick(rings, 2.0)
        tick(rings, 2.5, is_step=0)
        tick(rings, 2.6, mode=MODES.index(Mode.HUMAN))
        tick(rings, 3.0, epoch=6)
        loop.look()
    firsts = [each["first"] if isinstance(each, dict) else each for each in plans.told]
    assert firsts == [("begin", seed_of(5, 4)), 1.0, 2.0, ("begin", seed_of(5, 6)), 3.0]
    sent = [
        (int(plan["epoch"]), float(plan["observed_s"]), int(plan["count"]))
        for _, plan in rings.plans.since(0)
    ]
    assert sent == [(4, 1.0, 3), (4, 2.0, 3), (6, 3.0, 3)]


def test_a_step_that_is_two_late_is_skipped(rings: Rings) -> None:
    with ExitStack() as stack:
        loop, plans = looped(rings, stack)
        tick(rings, 1.0)
        loop.look()
        tick(rings, 2.0, late_s=2.5 * STEP_S)
        tick(rings, 3.0, late_s=0.5 * STEP_S)
        loop.look()
    assert [each if each == "skip" else each["first"] for each in plans.told[1:]] == [1.0, "skip", 3.0]


def test_it_sees_the_picture_that_the_tick_names(rings: Rings) -> None:
    """Not one that came since; where there is none yet, or 16 newer ones took its place, it plans nothing."""
    with ExitStack() as stack:
        loop, plans = looped(rings, stack, ("front",))
        tick(rings, 1.0)
        loop.look()
        for number in range(1, 21):
            image = np.full((3, 4, 6), number)
            rings.frames["front"].write(sequence=0, captured_s=0.0, digest=0, rendered=0, image=image)
        for time_s, number in ((2.0, 4), (3.0, 18), (4.0, 20)):
            tick(rings, time_s, pictures=[number])
        loop.look()
    assert plans.told[:3] == [("begin", seed_of(0, 4)), "skip", "skip"]
    seen = [(each["first"], each["image"].shape, each["image"].unique().tolist()) for each in plans.told[3:]]
    assert seen == [(3.0, (1, 3, 4, 6), [18]), (4.0, (1, 3, 4, 6), [20])]


@pytest.mark.parametrize(
    "actions",
    ["left", None, np.zeros((2, 9)), np.zeros((MOST_ACTIONS + 1, 10)), np.zeros((0, 10)), np.zeros(10)],
)
def test_what_is_no_chunk_is_sent_as_none(rings: Rings, actions: Any) -> None:
    write_plan(rings.plans, 0, 0.0, actions, 0.0)
    (record,) = rings.plans.since(0)
    assert record.value["count"] == -1


def test_numbers_that_are_none_stay_none_and_huge_ones_stay_finite(rings: Rings) -> None:
    chunk = np.zeros((2, 10))
    chunk[0, 0], chunk[1, 1] = np.nan, 1e300
    write_plan(rings.plans, 0, 0.0, chunk, 0.0)
    (record,) = rings.plans.since(0)
    held = record.value["actions"][:2]
    assert np.isnan(held[0, 0]) and held[1, 1] == np.finfo(np.float32).max
