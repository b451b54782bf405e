"""Who is asked when: every state of an episode has the teacher's one answer to it, whoever acts."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from fakes import POINT_SPEC, ResumablePointEnv
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import EpisodeTeacher
from robofb.policies.student import StudentPolicy
from robofb.policies.student_agent import StudentAgent
from robofb.rl.episode_replay import EpisodeReplay
from robofb.train.episode_teachers import ExpertAsTeacher, TeacherAtAnyState
from robofb.train.episodes import EpisodeCount
from robofb.train.guided_collector import GuidedCollector
from robofb.train.stopwatch import Stopwatch
from robofb.types import Obs


class Remembers:
    """Answers with the number of the step, in hundredths, and with a trait of its episode's seed."""

    def __init__(self, num_envs: int) -> None:
        self.step, self.trait = torch.zeros(num_envs), torch.zeros(num_envs)

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        self.step[mask], self.trait[mask] = 0.0, (seeds[mask] % 97).float() / 100

    def catch_up(self, obs: Obs) -> None:
        """Nothing runs ahead."""

    def next(self, obs: Obs) -> Tensor:
        answer = torch.stack([self.step / 100, self.trait], 1)
        self.step = self.step + 1
        return answer

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step.clone(), "trait": self.trait.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.trait = state["step"].clone(), state["trait"].clone()


def collector_of(teacher: EpisodeTeacher, who: str = "student", num_envs: int = 5) -> GuidedCollector:
    policy = StudentPolicy(POINT_SPEC, ["state"], hidden=[8], generator=torch.Generator().manual_seed(0))
    states = {"state": ((4,), torch.float32), "answer": ((2,), torch.float32)}
    moves = {"action": ((2,), torch.float32), "reward": ((), torch.float32)}
    return GuidedCollector(
        ResumablePointEnv(num_envs),
        StudentAgent(policy, num_envs, greedy=False, tile=None),
        teacher,
        EpisodeReplay(2000, states, moves, num_envs, POINT_SPEC.max_steps),
        who=who,
        teacher_std=0.1,
        seed=3,
    )


def collect(collector: GuidedCollector, steps: int) -> dict[str, Tensor]:
    """Return everything that the replay holds of ended episodes."""
    count, clock = EpisodeCount(torch.device("cpu")), Stopwatch()
    for _ in range(steps):
        collector.step(count, clock)
    return collector.replay.sample_moves(4000, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_what_a_teacher_remembers_is_its_own_episodes_course(who: str) -> None:
    """The answer at step t says t, also at the last state, which has t + 1, and the trait never changes."""
    batch = collect(collector_of(ExpertAsTeacher(Remembers(5)), who), 60)
    step = batch["t"].float() / 100
    torch.testing.assert_close(batch["answer"][:, 0], step)
    torch.testing.assert_close(batch["next_answer"][:, 0], step + 0.01)
    assert torch.equal(batch["answer"][:, 1], batch["next_answer"][:, 1])
    assert batch["cut"].any() and len(batch["answer"][:, 1].unique()) > 5


def test_a_resumed_collection_asks_on_where_it_was() -> None:
    whole = collector_of(ExpertAsTeacher(Remembers(5)))
    collect(whole, 20)
    parts = (whole, whole.replay, whole.agent.policy)
    saved, kept, weights = deepcopy([part.state_dict() for part in parts])
    expected = collect(whole, 30)
    resumed = collector_of(ExpertAsTeacher(Remembers(5)))
    resumed.replay.load_state_dict(kept)
    resumed.agent.policy.load_state_dict(weights)
    resumed.load_state_dict(saved, 1)
    found = collect(resumed, 30)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


class Wrong:
    def __init__(self, answer: list[float]) -> None:
        self.row = torch.tensor(answer)

    def answer(self, obs: Obs) -> Tensor:
        return self.row.expand(len(obs["state"]), -1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0.0], r"answers have shape \[5, 1\]: needs \[5, 2\].*for point has so many actions"),
        ([0.0, float("nan")], "answered with NaN"),
    ],
)
def test_answers_that_are_no_actions_are_refused(answer: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        collector_of(TeacherAtAnyState(Wrong(answer)))


def test_answers_for_another_number_of_envs_are_refused() -> None:
    class One:
        def answer(self, obs: Obs) -> Tensor:
            return torch.zeros(1, 2)

    with pytest.raises(UserError, match=r"answers have shape \[1, 2\]: needs \[5, 2\]"):
        collector_of(TeacherAtAnyState(One()))


def test_chances_that_do_not_sum_up_to_one_are_refused_where_they_are_meant() -> None:
    """Probabilities are no log-probabilities. What stands outside of the mask means nothing."""
    collector = collector_of(ExpertAsTeacher(Remembers(5)))
    collector.agent.policy.num_choices = 2  # so that answers are taken for choices
    even = torch.full((5, 2), 0.5)

    class Says:
        def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
            return self.row

    collector.teacher = Says()
    mask = torch.tensor([True, False, True, True, True])
    collector.teacher.row = even.log().index_fill(0, torch.tensor([1]), float("nan"))
    assert collector.answer({}, mask).shape == (5, 2)
    with pytest.raises(UserError, match="answered with NaN"):
        collector.answer({})
    collector.teacher.row = even
    with pytest.raises(UserError, match=r"log-probabilities mean chances that sum up to 3\.3, not 1"):
        collector.answer({})
