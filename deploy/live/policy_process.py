"""The process of a policy: it sees each control step and plans what comes after it, as fast as it can."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from robofb.deploy.live.pictures import NoPictureError, Pictures
from robofb.deploy.live.process import Life, attacher
from robofb.deploy.live.records import MODES, MOST_ACTIONS, Addresses
from robofb.deploy.modes import Mode
from robofb.deploy.planner import Planner
from robofb.deploy.ring import Record, Ring
from robofb.deploy.safety import ACTION_DIM
from robofb.errors import UserError
from robofb.loading import load_agent
from robofb.rng import derive_seeds
from robofb.run import Run
from robofb.train.device import choose_device
from robofb.types import Obs

LOOK_S = 0.002
MOST_LATE = 2.0  # control steps
_POLICY = MODES.index(Mode.POLICY)
LARGEST = float(np.finfo(np.float32).max)


class NoPlanError(Exception):
    """There is no plan for this control step, and whoever should make it says why; another one may come."""


class Plans(Protocol):
    """Plans for one arm; `planner.Planner` does."""

    def begin(self, seed: int) -> None:
        """Start an episode."""
        ...

    def plan(self, obs: Obs) -> Any:
        """Return actions (n, A) from observations (1, ...) of the next control step.

        Raises:
            NoPlanError: there are none. The controller waits for them as it waits for late ones.
        """
        ...

    def skip(self) -> None:
        """Know that control steps passed for which nobody asked."""
        ...


class PolicySource(Protocol):
    """Makes what plans, in the policy's process."""

    def make(self) -> Plans:
        """Return it, warm: the first plan takes no longer than others.

        Raises:
            UserError: there is none.
        """
        ...


@dataclass(frozen=True)
class RunPolicy:
    """The policy of a run.

    Attributes:
        path: the run's folder.
        checkpoint: latest, best, or a checkpoint's path.
        execute: actions executed per chunk; None takes the policy's own.
        threads: torch's.
        device: where it computes: cpu, cuda, or auto (a GPU where there is one).
    """

    path: Path
    checkpoint: str = "best"
    execute: int | None = None
    threads: int = 1
    device: str = "cpu"

    def make(self) -> Planner:
        """Load it, and let it plan once."""
        torch.set_num_threads(self.threads)
        device = choose_device(self.device)
        agent: Any = load_agent(Run.open(self.path), 1, self.checkpoint, self.execute, device)
        planner = Planner(agent, device)
        planner.begin(0)
        seen = agent.policy.spec.obs.items()
        planner.plan({key: torch.from_numpy(np.zeros((1, *array.shape), array.dtype)) for key, array in seen})
        return planner


@dataclass(frozen=True)
class PolicySetup:
    """What a policy's process makes its parts from.

    Attributes:
        source: of what plans.
        step_s: a control step.
        cameras: names of those that it sees, each as the observation `image_<name>`.
    """

    source: PolicySource
    step_s: float
    cameras: tuple[str, ...] = ()


def run_policy(setup: PolicySetup, addresses: Addresses, parent: int) -> None:
    """Plan until told to quit, or the parent is gone; the process's main function."""
    with ExitStack() as stack:
        life = Life(stack.enter_context(closing(Ring.attach(addresses.beats["policy"]))), parent)
        life.begin()
        try:
            loop = PolicyLoop(setup, addresses, attacher(stack))
        except UserError as error:
            life.last_word(str(error))
            return
        while not life.over:
            loop.look()
            life.beat()
            time.sleep(LOOK_S)


class PolicyLoop:
    """Plan at every control step in which the policy drives, in order, from what was seen then.

    A step that came while the one before it was still planned for is made up for: its own part of the chunk
    is there already, and what is late of it the controller leaves out. One that is older than `MOST_LATE`
    is skipped.

    Args:
        setup: see there.
        addresses: of all rings.
        attach: opens one.
    """

    def __init__(self, setup: PolicySetup, addresses: Addresses, attach: Callable[[Any], Ring]) -> None:
        self._ticks, self._plans = attach(addresses.ticks), attach(addresses.plans)
        self._orders = attach(addresses.orders)
        keys = {f"image_{name}" for name in setup.cameras}
        self._pictures = Pictures(addresses, attach, keys)
        self._most_late_s = MOST_LATE * setup.step_s
        self._planner = setup.source.make()
        self._number = self._order_number = 0
        self._seed, self._epoch = 0, -1
        newest = self._ticks.latest()
        self._number = newest.number if newest is not None else 0

    def look(self) -> None:
        """Plan for each control step that came since the last look."""
        for number, order in self._orders.since(self._order_number):
            self._order_number = number
            if order["kind"] == b"begin":
                self._seed = int(order["seed"])
        for record in self._ticks.since(self._number):
            self._number = record.number
            if record.value["is_step"] and record.value["mode"] == _POLICY:
                self._plan(record)

    def _plan(self, tick: Record) -> None:
        began_s, epoch = time.monotonic(), int(tick.value["epoch"])
        if epoch != self._epoch:
            self._epoch = epoch
            self._planner.begin(seed_of(self._seed, epoch))
        if began_s - float(tick.value["wall_s"]) > self._most_late_s:
            self._planner.skip()
            return
        try:
            pictures = self._pictures.at(tick.value)
        except NoPictureError:
            self._planner.skip()
            return
        obs: Obs = {"state": torch.from_numpy(tick.value["state"].copy())[None]}
        for key, picture in pictures.items():
            obs[key] = torch.from_numpy(picture["image"])[None]
        try:
            actions = self._planner.plan(obs)
        except NoPlanError:
            return  # the one before it is followed until it is too old
        write_plan(self._plans, epoch, float(tick.value["time_s"]), actions, time.monotonic() - began_s)


def seed_of(seed: int, epoch: int) -> int:
    """Return the seed of a policy's noise in an epoch of an episode: a policy that goes on begins anew."""
    return int(derive_seeds(seed, epoch))


def write_plan(plans: Ring, epoch: int, observed_s: float, actions: Any, took_s: float) -> None:
    """Send a chunk; what is no array of fitting numbers is said to be none, and the gate refuses it."""
    held = np.zeros((MOST_ACTIONS, ACTION_DIM), np.float32)
    values = np.asarray(actions)
    sound = values.dtype.kind == "f" and values.ndim == 2 and values.shape[1] == ACTION_DIM
    count = len(values) if sound and 1 <= len(values) <= MOST_ACTIONS else -1
    if count > 0:
        held[:count] = np.clip(values, -LARGEST, LARGEST)  # NaN stays NaN
    plans.write(epoch=epoch, observed_s=observed_s, took_s=took_s, count=count, actions=held)
