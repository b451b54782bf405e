"""Which picture of a camera belongs to a tick: one, for who plans from it and for who records it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from deployed_example import tick
from live_parts import SPEC

from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.limits import Limits
from robofb.deploy.live.arm_process import ArmLoop, ArmSetup
from robofb.deploy.live.bench import SEEN, RealBench, image_specs
from robofb.deploy.live.draft import recorded_spec
from robofb.deploy.live.places import RealPlace
from robofb.deploy.live.policy_process import PolicyLoop, PolicySetup
from robofb.deploy.live.process import Life, attacher
from robofb.deploy.live.recorder_process import Recorder, RecordSetup
from robofb.deploy.live.records import MODES, Rings, said
from robofb.deploy.modes import Mode
from robofb.deploy.watch import Watch
from robofb.store.continuation import open_or_create
from robofb.store.episodes import EpisodeStore
from robofb.types import Obs

SIZES = {"front": (4, 6), "wrist": (4, 6)}
SETUP_SPEC = recorded_spec(SPEC.with_obs({**SPEC.obs, **image_specs(SIZES)}))
SLOW = "a picture for image_{} was overwritten before it was read: the disk or the machine is too slow"


@pytest.fixture
def rings() -> Iterator[Rings]:
    with closing(Rings(len(SEEN), SIZES, ["arm"])) as rings:
        yield rings


def show(rings: Rings, name: str, level: int, captured_s: float = 0.0) -> int:
    """Let a camera bring a picture of one level of grey; return the picture's number."""
    facts = {"sequence": level, "captured_s": captured_s, "digest": level, "rendered": 0}
    number = rings.frames[name].write(**facts, image=np.full((3, 4, 6), level))
    rings.glances[name].write(**facts, number=number)
    return number


def step(rings: Rings, time_s: float, pictures: tuple[int, int], **more: object) -> None:
    """Say that a control step of episode 0 begins."""
    row = tick(time_s, 0.4, is_step=True)
    values = {name: row[name] for name in row.dtype.names or ()} | {"pictures": pictures, **more}
    rings.ticks.write(**values)


@dataclass
class Seeing:
    """Plans that keep what they saw last; their own source."""

    levels: tuple[int, ...] = ()

    def make(self) -> Seeing:
        return self

    def begin(self, seed: int) -> None: ...

    def skip(self) -> None: ...

    def plan(self, obs: Obs) -> np.ndarray:
        self.levels = tuple(int(obs[f"image_{name}"].unique()) for name in SIZES)
        return np.zeros((2, 10), np.float32)


def recorded(rings: Rings, folder: Path, stack: ExitStack) -> Recorder:
    setup = RecordSetup(folder / "data", SETUP_SPEC)
    store = stack.enter_context(open_or_create(setup.path, setup.spec, {}))
    return Recorder(setup, store, rings.addresses, stack)


def end(rings: Rings, recorder: Recorder) -> str:
    """End episode 0; return what became of it."""
    rings.orders.write(kind=b"end", what=b"success", episode=0, seed=0, reason=b"")
    recorder.look()
    recorder.close()
    newest = rings.recorded.latest()
    assert newest is not None
    return said(bytes(newest.value["word"]))


def test_what_comes_after_the_policy_looked_is_not_recorded_in_its_stead(
    rings: Rings, tmp_path: Path
) -> None:
    """A picture taken before the tick may arrive after it; of later ones there may be many."""
    plans = Seeing()
    with ExitStack() as stack:
        loop = PolicyLoop(PolicySetup(plans, 1e9, tuple(SIZES)), rings.addresses, attacher(stack))
        recorder, saw = recorded(rings, tmp_path, stack), []
        for time_s in (1.0, 1.1, 1.2):
            level = round(100 * time_s)
            numbers = show(rings, "front", level, time_s - 0.05), show(rings, "wrist", level + 1)
            step(rings, time_s, numbers)
            loop.look()
            saw.append(plans.levels)
            for more in range(3):
                show(rings, "front", 7 + more, time_s - 0.01)
        recorder.look()
        assert end(rings, recorder) == "episode 0"
    assert saw == [(100, 101), (110, 111), (120, 121)]
    with EpisodeStore.open(tmp_path / "data") as store:
        kept = [store[0].obs[f"image_{name}"].reshape(3, -1).T for name in SIZES]
    for image, levels in zip(kept, zip(*saw, strict=True), strict=True):
        assert (image == levels).all()


@pytest.mark.parametrize(("later", "word"), [(10, "episode 0"), (16, SLOW.format("wrist"))])
def test_a_recorder_that_comes_too_late_for_a_picture_drops_the_episode(
    rings: Rings, tmp_path: Path, later: int, word: str
) -> None:
    """The ring holds 16: no picture of another time takes the place of one that is gone."""
    with ExitStack() as stack:
        recorder = recorded(rings, tmp_path, stack)
        for time_s in (1.0, 1.1):
            step(rings, time_s, (show(rings, "front", 1), show(rings, "wrist", 1)))
        for _ in range(later):
            show(rings, "wrist", 2)
        recorder.look()
        assert end(rings, recorder) == word
    with EpisodeStore.open(tmp_path / "data") as store:
        assert [int(episode.obs["image_wrist"].max()) for episode in store] == [1] * len(store)


def test_what_a_person_drives_blindly_is_left_out(rings: Rings, tmp_path: Path) -> None:
    """As where the arm is held: the row of 1.2 s led nowhere."""
    with ExitStack() as stack:
        recorder = recorded(rings, tmp_path, stack)
        for number in range(8):
            pictures = show(rings, "front", number), show(rings, "wrist", number)
            human = MODES.index(Mode.HUMAN)
            step(rings, 1.0 + 0.1 * number, pictures, mode=human, blind=number in (3, 4))
        recorder.look()
        assert end(rings, recorder) == "episode 0"
    with EpisodeStore.open(tmp_path / "data") as store:
        episode = store[0]
    np.testing.assert_allclose(episode.timestamps, [1.0, 1.1, 1.5, 1.6, 1.7])
    assert episode.obs["image_front"][:, 0, 0, 0].tolist() == [0, 1, 5, 6, 7]
    assert episode.meta["pauses"] == 1


def test_an_episode_without_a_picture_is_dropped(rings: Rings, tmp_path: Path) -> None:
    with ExitStack() as stack:
        recorder = recorded(rings, tmp_path, stack)
        step(rings, 1.0, (show(rings, "front", 1), 0))
        recorder.look()
        assert end(rings, recorder) == "a picture for image_wrist has not come yet"


def test_a_tick_names_the_newest_picture_that_the_arms_process_saw(rings: Rings) -> None:
    """By its place among the pictures, which need not be that among the glances."""
    setup = ArmSetup(RealPlace({}, 50.0, SEEN), Limits(), Watch(), 0.1)
    with ExitStack() as stack:
        life = Life(rings.beats["arm"], os.getppid())
        loop = ArmLoop(RealBench(IdealArm(), 50.0, SEEN), setup, rings.addresses, stack, life)

        def named() -> list[int]:
            loop.tick()
            newest = rings.ticks.latest()
            assert newest is not None
            return newest.value["pictures"].tolist()

        assert named() == [0, 0]
        show(rings, "wrist", 1)
        assert named() == [0, 1]
        rings.frames["front"].write(  # its process died before it said so
            sequence=0, captured_s=0.0, digest=0, rendered=0, image=np.zeros((3, 4, 6))
        )
        assert named() == [0, 1]
        show(rings, "front", 1)
        show(rings, "wrist", 2)
        show(rings, "wrist", 3)
        assert named() == [2, 3]
