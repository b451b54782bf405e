"""The process that keeps deployments as episodes. What it cannot keep is dropped: nothing waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robofb.deploy.live.draft import Draft
from robofb.deploy.live.pictures import NoPictureError, Pictures
from robofb.deploy.live.process import Life, attacher, share_heap
from robofb.deploy.live.records import MODES, Addresses, said, text
from robofb.deploy.modes import Mode
from robofb.deploy.ring import Ring
from robofb.errors import UserError
from robofb.store.atomic import explain
from robofb.store.continuation import open_or_create, remove_empty
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_INTERVENTION, EnvSpec, Episode

LOOK_S = 0.01
WAITING = 4  # episodes that may wait for a slow disk
LINGER_S = 1.0  # how long an ended episode waits for its last ticks
_STARTED_AGAIN = "the recorder was started again in it"
_ACTING = tuple(MODES.index(mode) for mode in (Mode.POLICY, Mode.HUMAN))


@dataclass(frozen=True)
class RecordSetup:
    """What a recorder keeps, and where.

    Attributes:
        path: of the dataset.
        spec: of it; see `draft.recorded_spec`.
        meta: of a new one.
        facts: of every episode.
        keeps: labels of the episodes that are kept; see `conductor.Ended`.
        human_source: what a person's steps are labelled.
    """

    path: Path
    spec: EnvSpec
    meta: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    keeps: tuple[str, ...] = ("success", "failure", "aborted")
    human_source: int = SOURCE_INTERVENTION

    def check(self) -> None:
        """Try whether episodes can be kept there; leave nothing behind.

        Raises:
            UserError: see `open_or_create`.
        """
        try:
            open_or_create(self.path, self.spec, self.meta).close()
        except UserError as error:
            raise UserError(f"{error}: choose another folder") from error
        remove_empty(self.path)

    def opened(self) -> None:
        """Go on from the open dataset; nothing is to be done."""


def run_recorder(setup: RecordSetup, addresses: Addresses, parent: int) -> None:
    """Record until told to quit, or the parent is gone; what has ended by then is saved. A main function."""
    share_heap()
    with ExitStack() as stack:
        life = Life(stack.enter_context(closing(Ring.attach(addresses.beats["recorder"]))), parent)
        life.begin(by_order=True)
        try:
            store = stack.enter_context(open_or_create(setup.path, setup.spec, setup.meta))
        except UserError as error:
            life.last_word(str(error))
            return
        setup.opened()
        recorder = Recorder(setup, store, addresses, stack)
        while not (life.over or recorder.quit):
            recorder.look()
            life.beat()
            time.sleep(LOOK_S)
        recorder.close()


class Recorder:
    """Follow ticks and orders, and hand whole episodes to a thread that writes them.

    Args:
        setup: see there.
        store: open for append.
        addresses: of all rings.
        stack: lets them go.
    """

    def __init__(
        self, setup: RecordSetup, store: EpisodeStore, addresses: Addresses, stack: ExitStack
    ) -> None:
        attach = attacher(stack)
        self._setup, self._store = setup, store
        self._ticks, self._orders = attach(addresses.ticks), attach(addresses.orders)
        self._plans = attach(addresses.plans)
        self._recorded, self._writing = attach(addresses.recorded), attach(addresses.writing)
        self._pictures = Pictures(addresses, attach, setup.spec.obs)
        newest = self._ticks.latest()
        self._number = newest.number if newest is not None else 0
        self._order_number = self._plan_number = 0
        self._drafts: dict[int, Draft] = {}  # by episode
        self._seeds: dict[int, int] = {}
        self._ends: dict[int, tuple[str, str, float]] = {}  # label, why, when
        self._saying = threading.Lock()  # loop and writer say things, and a ring has one writer
        self._queue: queue.Queue[tuple[int, Episode] | None] = queue.Queue(WAITING)
        self._writer = threading.Thread(target=self._write, name="writer")
        self._writer.start()
        self._told: set[int] = set()  # what became of these is said, or will be: they are over
        self._take_over(int(newest.value["episode"]) if newest is not None else -1)
        self.quit = False

    def look(self) -> None:
        """Take in what happened since the last look."""
        for number, order in self._orders.since(self._order_number):
            self._order_number = number
            kind, episode = order["kind"].decode(), int(order["episode"])
            if kind == "begin":
                self._seeds[episode] = int(order["seed"])
            elif kind == "end" and episode not in self._told:
                self._ends[episode] = (order["what"].decode(), said(bytes(order["reason"])), time.monotonic())
            self.quit = self.quit or kind == "quit"
        for record in self._ticks.since(self._number):
            missed, self._number = record.number - self._number - 1, record.number
            for draft in self._drafts.values() if missed else ():
                draft.fail(f"{missed} ticks were missed")
            self._follow(record.value)
        for record in self._plans.since(self._plan_number):
            self._plan_number = record.number
            for draft in self._drafts.values():
                draft.plan(record.value)
        for episode, (*_, ended_s) in list(self._ends.items()):
            if time.monotonic() - ended_s > LINGER_S:
                self._finish(episode)

    def close(self) -> None:
        """Save what has ended, and wait until it is written."""
        for episode in list(self._ends):
            self._finish(episode)
        for draft in self._drafts.values():
            draft.close()
        self._queue.put(None)
        self._writer.join()

    def _take_over(self, current: int) -> None:
        """Know of which episodes a recorder before this one had a part, for that part is gone.

        Args:
            current: the episode under way; negative where none is.
        """
        records = self._recorded.since(0)
        self._told = {int(record.value["episode"]) for record in records}
        ended = [int(order["episode"]) for _, order in self._orders.since(0) if order["kind"] == b"end"]
        if records and records[0].number > 1:  # what was said earlier is no longer there to be read
            self._told |= set(range(min(self._told)))
        self._tell_what_was_written()
        for episode in {current, *ended} - self._told:
            if episode >= 0:
                self._drafts[episode] = self._draft()
                self._drafts[episode].fail(_STARTED_AGAIN)

    def _tell_what_was_written(self) -> None:
        """Say that an episode is kept whose recorder died when it was written and not yet said."""
        begun = self._writing.latest()
        if begun is None:
            return
        episode, number = int(begun.value["episode"]), int(begun.value["number"])
        if episode not in self._told and number < len(self._store):
            self._say(episode, True, f"episode {number}")
            self._told.add(episode)

    def _draft(self) -> Draft:
        return Draft(self._setup.spec, self._setup.path, self._setup.human_source)

    def _follow(self, tick: np.void) -> None:
        """Add a tick to its episode's draft; finish those before it."""
        episode = int(tick["episode"])
        for other in list(self._drafts):
            if other != episode and other in self._ends:
                self._finish(other)
        if episode < 0 or episode in self._told:
            return  # an arm that hangs may show an episode long after its end
        if episode not in self._drafts:
            self._drafts[episode] = self._draft()
        draft = self._drafts[episode]
        acting = int(tick["mode"]) in _ACTING and not tick["blind"]  # a person may drive on without pictures
        try:
            draft.add(tick, acting, self._pictures.at(tick) if tick["is_step"] and acting else {})
        except NoPictureError as error:
            draft.fail(str(error))
        except OSError as error:
            draft.fail(explain(error, "its pictures cannot be kept"))

    def _finish(self, episode: int) -> None:
        """Hand a draft to the writer, where it is whole."""
        label, why, _ = self._ends.pop(episode)
        self._told.add(episode)
        draft = self._drafts.pop(episode, None)
        seed = self._seeds.pop(episode, None)  # none where it began long before this process: broken then
        if label not in self._setup.keeps:
            self._say(episode, False, f"{label}, {why}" if why else label)
        elif draft is None or draft.broken or not len(draft):
            broken = draft.broken if draft is not None else ""  # one without a step is false itself
            self._say(episode, False, broken or "nothing was done in it")
        else:
            facts = {**self._setup.facts, "label": label, "reason": why, "episode_seed": seed}
            try:
                self._queue.put_nowait((episode, draft.made(label == "success", facts)))
            except queue.Full:
                self._say(episode, False, "the disk is too slow")
        if draft is not None:
            draft.close()

    def _write(self) -> None:
        """Append what comes; the writer's thread. An episode that is written is held no longer."""
        while self._append(self._queue.get()):
            pass

    def _append(self, item: tuple[int, Episode] | None) -> bool:
        """Append an episode; return whether more may come."""
        if item is None:
            return False
        episode, made = item
        self._writing.write(episode=episode, number=len(self._store))
        try:
            self._say(episode, True, f"episode {self._store.append(made)}")
        except (UserError, OSError) as error:
            self._say(episode, False, str(error))
        return True

    def _say(self, episode: int, saved: bool, word: str) -> None:
        with self._saying:
            self._recorded.write(episode=episode, saved=saved, word=text(word))
