"""What the rings of a deployment show at one moment: the numbers and pictures of a page, without any page."""

from __future__ import annotations

import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from robofb.deploy.cameras.freshness import Freshness
from robofb.deploy.live.records import Addresses, frame_in, pose_of
from robofb.deploy.pose import Pose
from robofb.deploy.ring import Record, Ring

SHOWN_S = 1.0  # of which the control loop's figures are
TRAIL_S, TRAIL_EVERY_S = 5.0, 0.05
_UNKNOWN = math.nan


class Picture(NamedTuple):
    """The newest picture of a camera.

    Attributes:
        image: (H, W, 3) uint8.
        age_s: since it showed anything new, as the controller counts.
    """

    image: np.ndarray
    age_s: float


class Sight(NamedTuple):
    """What there is to see; NaN and None for what is not known.

    Attributes:
        tick: newest record of the controller.
        age_s: of it.
        compute_s, most_compute_s: of the control loop in the last second, median and longest.
        period_s: longest time between two of its ticks in the last second.
        planning_s: what the newest plan took.
        plan_m: (n, 3) tool positions of the plan that is followed, as the policy said them.
        plan_age_s: since what that plan was made from was seen.
        trail_m: (n, 3) where the tool was in the last seconds.
        home: where the tool was when the arm was last at home.
        counts: of the controller: what was clamped, refused and so on.
        pictures: by the camera's name.
    """

    tick: Any
    age_s: float
    compute_s: float
    most_compute_s: float
    period_s: float
    planning_s: float
    plan_m: np.ndarray
    plan_age_s: float
    trail_m: np.ndarray
    home: Pose | None
    counts: Mapping[str, int]
    pictures: Mapping[str, Picture]


def pose_in(row: np.ndarray) -> Pose | None:
    """Return the pose in what `records.row_of` made; None where there was none."""
    return pose_of(row.tolist()) if np.isfinite(row[:7]).all() else None


class Lookout:
    """Look at the rings now and then; what came between two looks is not missed, if it is still there.

    Args:
        addresses: of all rings.
        attach: opens one.
    """

    def __init__(self, addresses: Addresses, attach: Callable[[Any], Ring]) -> None:
        self._ticks, self._counts = attach(addresses.ticks), attach(addresses.counts)
        self._plans = attach(addresses.plans)
        self._frames = {name: attach(address) for name, address in addresses.frames.items()}
        self._freshness = {name: Freshness(name) for name in addresses.frames}
        self._number = 0
        self._recent: deque[tuple[int, float, float]] = deque()  # number, wall_s, compute_s
        self._trail: deque[tuple[float, Any]] = deque()
        self._home: Pose | None = None

    def look(self, now_s: float) -> Sight:
        """Return what there is to see at `now_s` of `time.monotonic`."""
        for record in self._ticks.since(self._number):
            self._take(record)
        self._forget(now_s)
        newest = self._ticks.latest()
        tick = newest.value if newest is not None else None
        plans = [record.value for record in self._plans.since(0)]
        counts = self._counts.latest()
        computes = [compute_s for _, _, compute_s in self._recent]
        return Sight(
            tick,
            _UNKNOWN if tick is None else now_s - float(tick["wall_s"]),
            float(np.median(computes)) if computes else _UNKNOWN,
            max(computes, default=_UNKNOWN),
            self._longest_period_s(),
            float(plans[-1]["took_s"]) if plans else _UNKNOWN,
            _followed(tick, plans),
            _UNKNOWN if tick is None else float(tick["time_s"] - tick["observed_s"]),
            np.array([place for _, place in self._trail]).reshape(-1, 3),
            self._home,
            {} if counts is None else json.loads(counts.value["json"]),
            {name: picture for name in self._frames if (picture := self._picture(name, now_s)) is not None},
        )

    def _take(self, record: Record) -> None:
        """Keep of a tick what later looks show."""
        tick, self._number = record.value, record.number
        wall_s = float(tick["wall_s"])
        self._recent.append((record.number, wall_s, float(tick["compute_s"])))
        pose = pose_in(tick["pose"])
        if pose is None:
            return
        if not self._trail or wall_s - self._trail[-1][0] >= TRAIL_EVERY_S:
            self._trail.append((wall_s, pose.position_m))
        if tick["at_home"] and tick["at_rest"]:
            self._home = pose

    def _forget(self, now_s: float) -> None:
        while self._recent and now_s - self._recent[0][1] > SHOWN_S:
            self._recent.popleft()
        while self._trail and now_s - self._trail[0][0] > TRAIL_S:
            self._trail.popleft()

    def _longest_period_s(self) -> float:
        """Return it over ticks that followed one another; those that were missed tell nothing."""
        recent = list(self._recent)
        return max(
            (b_s - a_s for (a, a_s, _), (b, b_s, _) in itertools.pairwise(recent) if b == a + 1),
            default=_UNKNOWN,
        )

    def _picture(self, name: str, now_s: float) -> Picture | None:
        record = self._frames[name].latest()
        if record is None:
            return None
        value, freshness = record.value, self._freshness[name]
        image = np.ascontiguousarray(value["image"].transpose(1, 2, 0))
        freshness.see(frame_in(value, image), now_s)
        return Picture(image, freshness.age_s(now_s))


def _followed(tick: Any, plans: list[Any]) -> np.ndarray:
    """Return the tool positions (n, 3) of the plan that is followed; none where it is not there."""
    for plan in reversed(plans):
        if tick is not None and plan["observed_s"] == tick["observed_s"] and plan["epoch"] == tick["epoch"]:
            places = plan["actions"][: max(0, int(plan["count"])), :3]
            return places[np.isfinite(places).all(1)]
    return np.zeros((0, 3), np.float32)
