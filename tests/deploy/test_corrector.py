"""A scripted person takes over where the policy fails, and lets it go on; all of it is recorded."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from wide_limits import WIDE

from robofb.deploy.arms.arm import ArmTarget
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.controller import Controller
from robofb.deploy.corrector import Corrector, Habits
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.planner import Planner
from robofb.deploy.pose import Pose, angle_between, difference, length
from robofb.deploy.rehearsal import Rehearsed, rehearse
from robofb.deploy.tick import Tick
from robofb.deploy.timeline import Target, Timeline
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY, Episode, Obs

DOWN = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # 6D rotation of the quaternion (0, 1, 0, 0)
HERE = Pose((0.5, 0.0, 0.2), (0.0, 1.0, 0.0, 0.0))
TASK = make_task("one_leg_insert", max_steps=130)
PARTS, PATIENCE, MOST = 3, 30, 5  # the script reaches its first stage in fewer steps than that


class Says:
    """An expert that always says one thing."""

    def __init__(self, *place: float, rotation: tuple[float, ...] = DOWN, gripper: float = -1.0) -> None:
        self.action = torch.tensor([[*place, *rotation, gripper]])

    def reset(self, mask: Tensor, seeds: Tensor) -> None: ...

    def next(self, obs: Obs) -> Tensor:
        return self.action


class Person:
    """A corrector before hand-made states of a task of control steps of 0.1 s."""

    def __init__(self, expert: Says, **habits: Any) -> None:
        self.corrector = Corrector(expert, Habits(**({"patience_steps": (3, 2)} | habits)))
        self.corrector.begin(7)

    def look(
        self,
        stage: int,
        mode: Mode = Mode.POLICY,
        gripper: float = -1.0,
        part: int = 0,
        wanted: Pose = HERE,
    ) -> Any:
        step = SimpleNamespace(info={"stage": torch.tensor([stage])})
        env = SimpleNamespace(spec=SimpleNamespace(control_dt=0.1))
        arm: Any = SimpleNamespace(part=part, parts=4, step=step, env=env, obs={})
        last = Tick(0.0, mode, "", 2, None, Target(wanted, gripper), ArmTarget(HERE, gripper))
        return self.corrector.act(arm, last)

    def drives(self, stage: int, **seen: Any) -> bool:
        _, command = self.look(stage, **seen)
        return command is not None and command.engaged


def test_a_person_takes_over_when_nothing_new_has_happened_for_long_enough() -> None:
    person = Person(Says(*HERE.position_m))
    assert [person.drives(0) for _ in range(2)] == [False, False]
    assert [person.drives(1) for _ in range(3)] == [False, False, True]  # a stage begins, then 2 steps
    assert person.corrector.reasons == ["nothing new for 2 control steps"]
    slow = Person(Says(*HERE.position_m))
    assert [slow.drives(0) for _ in range(3)] == [False, False, True]


def test_a_person_takes_over_when_the_tool_goes_astray_twice_on_end() -> None:
    for away_m, taken in ((0.039, False), (0.041, True)):
        person = Person(Says(0.5, away_m, 0.2), patience_steps=(100,))
        assert [person.drives(0) for _ in range(3)] == [False, False, taken]  # nothing to compare at first
    person = Person(Says(*HERE.position_m, gripper=1.0), patience_steps=(100,))
    seen = [person.drives(0, gripper=gripper) for gripper in (1.0, -1.0, 1.0, -1.0, -1.0)]
    assert seen == [False, False, False, False, True]
    assert person.corrector.reasons == ["it goes astray"]


def test_a_person_steers_to_where_the_expert_would_be_and_never_faster_than_they_can() -> None:
    near = Person(Says(0.51, 0.0, 0.22, gripper=1.0), patience_steps=(1,))
    _, command = near.look(0)
    assert command.twist == pytest.approx([0.1, 0.0, 0.2, 0.0, 0.0, 0.0], abs=1e-6)  # 1 and 2 cm in 0.1 s
    assert command.gripper == 1.0
    ahead = Pose((0.505, 0.0, 0.2), HERE.turn)  # their own target, which the set-point lags behind
    _, command = near.look(0, mode=Mode.HUMAN, wanted=ahead)
    assert command.twist == pytest.approx([0.05, 0.0, 0.2, 0.0, 0.0, 0.0], abs=1e-6)
    quarter = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)  # a quarter of a turn around z before looking down
    habits = {"patience_steps": (1,), "max_speed_m_s": 0.25, "max_turn_rad_s": 2.0}
    _, command = Person(Says(0.9, 0.3, 0.2, rotation=quarter), **habits).look(0)
    slowed = [0.2, 0.15, 0.0, 0.0, 0.0, 2.0]  # 50 cm and 1.57 rad are too far
    assert command.twist == pytest.approx(slowed, abs=1e-6)


def test_a_person_lets_go_with_the_last_set_point_of_a_step_and_asks_to_run() -> None:
    person = Person(Says(*HERE.position_m), patience_steps=(1, 9), most_steps=2)
    assert person.drives(0) and person.drives(0, mode=Mode.HUMAN, part=3)
    assert person.drives(0, mode=Mode.HUMAN) and person.drives(0, mode=Mode.HUMAN, part=2)
    assert not person.drives(0, mode=Mode.HUMAN, part=3)  # two steps are over
    assert person.look(0, mode=Mode.HOLD) == ((Ask.RUN,), None)
    reached = Person(Says(*HERE.position_m), patience_steps=(1, 9), most_steps=50)
    assert reached.drives(0) and reached.drives(1, mode=Mode.HUMAN)
    assert not reached.drives(1, mode=Mode.HUMAN, part=3)
    assert not any(reached.drives(1) for _ in range(9)) and reached.drives(1)  # as patient as ever


def test_habits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match=r"patience_steps=\[\]: needs at least 1"):
        Habits(patience_steps=())
    with pytest.raises(UserError, match="max_speed_m_s=0"):
        Habits(patience_steps=(3,), max_speed_m_s=0.0)


class Sleeper:
    """Stands in its first epoch of an episode, and then does as the script."""

    def __init__(self) -> None:
        self.script, self.epochs = TASK.expert(1, 0.0), 0
        self._stand: Tensor | None = None

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        self.script.reset(mask, seeds)
        self.epochs += 1

    def next(self, obs: Obs) -> Tensor:
        action = self.script.next(obs)
        if self._stand is None:
            self._stand = torch.cat([obs["state"][:, :9], -torch.ones(1, 1)], -1)  # pose of the tool, open
        return action if self.epochs > 1 else self._stand


@pytest.fixture
def arm():
    with closing(SimArm(SimVecEnv(TASK, 1, autoreset=False), PARTS)) as made:
        yield made


def corrected(arm: SimArm, folder: Path) -> tuple[Rehearsed, list[Tick], Episode]:
    """Rehearse an episode of the sleeper that a person wakes; return what came of it."""

    def make() -> Controller:
        return Controller(arm, WIDE, arm.dt_s, arm.env.spec.control_dt, Timeline(execute=1))

    habits = Habits(patience_steps=(PATIENCE, 60), astray_steps=1000, most_steps=MOST)
    person, ticks = Corrector(Says(0.5, 0.2, 0.2), habits), []
    with EpisodeStore.create(folder, arm.env.spec) as store:
        seen: dict[str, Any] = {"watch": ticks.append, "person": person, "store": store}
        found = rehearse(Planner(Sleeper()), arm, make, 1, 7, **seen)
        return found, ticks, store[0]


def test_the_policy_goes_on_after_a_correction_and_the_episode_says_who_drove(
    arm: SimArm, tmp_path: Path
) -> None:
    found, ticks, episode = corrected(arm, tmp_path / "data")
    assert found.success == [True] and episode.success and found.ended == []
    rest = len(episode) - PATIENCE - MOST
    drove = [SOURCE_POLICY] * PATIENCE + [SOURCE_INTERVENTION] * MOST + [SOURCE_POLICY] * rest
    assert episode.source.tolist() == drove and rest > 20
    assert found.steps == [len(episode)] and found.driven_steps == [MOST]
    assert found.counts["taken"] == PATIENCE + rest  # nothing was planned for a step that a person drove
    modes = [tick.mode for tick in ticks]
    assert modes.count(Mode.HUMAN) == MOST * PARTS - 1 and modes.count(Mode.HOLD) == 1
    lasts = [tick.sent for tick in ticks[PARTS - 1 :: PARTS]]
    assert episode.action[:, :3] == pytest.approx(np.array([sent.pose.position_m for sent in lasts if sent]))
    assert episode.action[:, 9].tolist() == [sent.gripper for sent in lasts if sent]
    assert np.diff(episode.timestamps) == pytest.approx(np.full(len(episode), arm.env.spec.control_dt))
    assert episode.reward.sum() == 1.0 and episode.terminated


def test_the_person_drives_no_faster_than_they_can(arm: SimArm, tmp_path: Path) -> None:
    _, ticks, _ = corrected(arm, tmp_path / "data")
    habits, dt_s = Habits(patience_steps=(1,)), arm.dt_s
    wanted = [tick.wanted.pose for tick in ticks if tick.mode is Mode.HUMAN and tick.wanted is not None]
    pairs = list(pairwise(wanted))
    ways_m = [length(difference(after.position_m, before.position_m)) for before, after in pairs]
    assert max(ways_m) == pytest.approx(habits.max_speed_m_s * dt_s)  # it has far to go
    assert max(angle_between(a.turn, b.turn) for a, b in pairs) <= habits.max_turn_rad_s * dt_s + 1e-9


def test_the_same_seed_gives_the_same_episode(arm: SimArm, tmp_path: Path) -> None:
    one, other = (corrected(arm, tmp_path / name)[2] for name in ("one", "other"))
    assert np.array_equal(one.action, other.action) and np.array_equal(one.source, other.source)
    assert np.array_equal(one.obs["state"], other.obs["state"]) and one.meta == other.meta


def test_an_episode_without_a_person_is_all_the_policys(arm: SimArm, tmp_path: Path) -> None:
    def make() -> Controller:
        return Controller(arm, WIDE, arm.dt_s, arm.env.spec.control_dt, Timeline(execute=1))

    with EpisodeStore.create(tmp_path / "data", arm.env.spec) as store:
        found = rehearse(Planner(TASK.expert(1, 0.0)), arm, make, 2, 7, store=store)
        assert [len(each) for each in store] == found.steps
        assert found.success == [each.success for each in store] == [True, True]
        assert {int(source) for each in store for source in each.source} == {SOURCE_POLICY}
        assert len({each.meta["episode_seed"] for each in store}) == 2
