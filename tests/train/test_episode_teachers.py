"""Teachers of episodes: what they remember, what chance adds, and that nothing depends on the batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import POINT_SPEC, PointEnv, PointTask
from torch import Tensor

from robofb.errors import UserError
from robofb.train.episode_teachers import (
    ErringTeacher,
    ExpertAsTeacher,
    RandomTeacher,
    TeacherAtAnyState,
    where_rows,
)
from robofb.types import ArraySpec, EnvSpec, Obs

CHOICES = EnvSpec(
    "point", POINT_SPEC.obs, ArraySpec((1,), "int64", low=(0,), high=(3,)), control_dt=0.1, max_steps=16
)
EVERYWHERE = torch.ones(4, dtype=torch.bool)
SEEDS = torch.tensor([11, 12, 13, 14])


class Counter:
    """An expert that answers with the seed of its episode and the number of the step."""

    def __init__(self, num_envs: int) -> None:
        self.count, self.seed = torch.zeros(num_envs), torch.zeros(num_envs)

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        self.count[mask], self.seed[mask] = 0.0, seeds[mask].float()

    def catch_up(self, obs: Obs) -> None:
        """Nothing runs ahead."""

    def next(self, obs: Obs) -> Tensor:
        self.count = self.count + 1
        return torch.stack([self.seed, self.count], 1)

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed.clone(), "deeper": {"count": self.count.clone()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seed, self.count = state["seed"].clone(), state["deeper"]["count"].clone()


def env_of(spec: EnvSpec = POINT_SPEC, num_envs: int = 4) -> PointEnv:
    env = PointEnv(num_envs)
    env.spec = spec
    env.reset(0)
    return env


class Knowing:
    """Sure of choice 2; of another number of choices where told."""

    def __init__(self, log_probs: list[float]) -> None:
        self.log_probs = torch.tensor(log_probs)

    def answer(self, obs: Obs) -> Tensor:
        return self.log_probs.expand(len(obs["state"]), -1)


def test_an_expert_asked_for_some_episodes_forgets_and_remembers_those_alone() -> None:
    teacher = ExpertAsTeacher(Counter(4))
    teacher.begin(EVERYWHERE, SEEDS)
    obs = {"state": torch.zeros(4, 4)}
    teacher.answer(obs)
    assert teacher.answer(obs).tolist() == [[11, 2], [12, 2], [13, 2], [14, 2]]
    some = torch.tensor([False, True, False, True])
    teacher.begin(some, SEEDS + 10)
    assert teacher.answer(obs, some)[some].tolist() == [[22, 1], [24, 1]]
    assert teacher.answer(obs).tolist() == [[11, 3], [22, 2], [13, 3], [24, 2]]


def test_a_random_teacher_draws_evenly_within_the_bounds() -> None:
    """Means of 4000 draws over 1 m: a deviation is 4.6 mm, three quarters of the way up has a quarter."""
    box = replace(POINT_SPEC, action=ArraySpec((2,), low=(-1.0, 2.0), high=(1.0, 3.0)))
    teacher = RandomTeacher(env_of(box, 4000))
    teacher.begin(torch.ones(4000, dtype=torch.bool), torch.arange(4000))
    x = teacher.answer({})
    assert x[:, 0].min() >= -1 and x[:, 0].max() < 1 and x[:, 1].min() >= 2 and x[:, 1].max() < 3
    assert x[:, 1].mean() == pytest.approx(2.5, abs=0.02)
    assert (x[:, 0] > 0.5).float().mean() == pytest.approx(0.25, abs=0.03)


def test_a_random_answer_follows_from_episode_and_step_alone() -> None:
    """Whatever the batch, and whether others are asked between."""
    teacher, other = RandomTeacher(env_of()), RandomTeacher(env_of(num_envs=2))
    teacher.begin(EVERYWHERE, SEEDS)
    first, some = teacher.answer({}), torch.tensor([True, False, False, False])
    teacher.begin(some, torch.tensor([99, 0, 0, 0]))
    teacher.answer({}, some)
    second = teacher.answer({})
    other.begin(torch.ones(2, dtype=torch.bool), SEEDS[[3, 1]])
    assert torch.equal(other.answer({}), first[[3, 1]])
    assert torch.equal(other.answer({}), second[[3, 1]])
    assert not torch.equal(first, second)


def test_random_choices_are_alike_and_unbounded_actions_are_refused() -> None:
    assert RandomTeacher(env_of(CHOICES)).answer({}).exp().tolist() == [[0.25] * 4] * 4
    for low, high in ((None, None), ((0.0, 0.0), None), ((-math.inf, 0.0), (1.0, 1.0))):
        with pytest.raises(UserError, match="sets no bounds to its actions"):
            RandomTeacher(env_of(replace(POINT_SPEC, action=ArraySpec((2,), low=low, high=high))))


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_errors_are_mixed_into_the_chances_of_choices(share: float) -> None:
    """0.8 * (0, 0.1, 0.9, 0) + 0.2 / 4; all errors leave 1/4 each, even of what was impossible."""
    known = TeacherAtAnyState(Knowing([-math.inf, math.log(0.1), math.log(0.9), -math.inf]))
    mixed = ErringTeacher(known, share, env_of(CHOICES)).answer(env_of(CHOICES).reset(0)).exp()
    expected = {0.2: [0.05, 0.13, 0.77, 0.05], 1.0: [0.25] * 4}[share]
    torch.testing.assert_close(mixed, torch.tensor(expected).expand(4, 4))


def test_errors_replace_a_share_of_continuous_answers() -> None:
    """Of 4000: a deviation is 0.7 %. Where it does not err, the teacher's word stands."""
    env = env_of(num_envs=4000)
    obs, teacher = env.reset(0), ErringTeacher(TeacherAtAnyState(PointTask()), 0.3, env)
    teacher.begin(torch.ones(4000, dtype=torch.bool), env.episode_seed)
    wrong = []
    for _ in range(2):
        wrong.append((teacher.answer(obs) != PointTask().answer(obs)).any(1))
        assert wrong[-1].float().mean() == pytest.approx(0.3, abs=0.025)
    assert (wrong[0] & wrong[1]).float().mean() == pytest.approx(0.09, abs=0.02)  # drawn anew at each step


def test_an_erring_teacher_goes_on_exactly_where_it_was_saved() -> None:
    def made() -> ErringTeacher:
        return ErringTeacher(ExpertAsTeacher(Counter(4)), 0.5, env_of())

    obs, teacher, other = {"state": torch.zeros(4, 4)}, made(), made()
    teacher.begin(EVERYWHERE, SEEDS)
    for _ in range(3):
        teacher.answer(obs)
    saved = teacher.state_dict()
    expected = [teacher.answer(obs) for _ in range(4)]
    other.load_state_dict(saved)
    assert all(torch.equal(other.answer(obs), answer) for answer in expected)


def test_answers_of_another_size_pass_through_to_whoever_refuses_them() -> None:
    teacher = ErringTeacher(TeacherAtAnyState(Knowing([0.0])), 0.5, env_of(CHOICES))
    assert teacher.answer(env_of(CHOICES).reset(0)).shape == (4, 1)


def test_rows_are_taken_from_one_or_the_other() -> None:
    a, b = torch.ones(2, 3, 2), torch.zeros(2, 3, 2)
    assert where_rows(torch.tensor([True, False]), a, b).sum((1, 2)).tolist() == [6, 0]
