"""Hold every family of tasks that has a config to the contract of `meta_interfaces.MetaTask`.

A new config is tested without editing this file.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from robofb.build import build
from robofb.config import compose
from robofb.interfaces import EnvMaker, TaughtTask
from robofb.loading import make_env, make_tasks_env
from robofb.meta_interfaces import FiniteFamily, MetaTask, OutcomeFamily
from robofb.rng import EpisodeRng
from robofb.types import PRIVILEGED, EnvSpec, num_choices

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "task"
NAMES = [
    file.stem
    for file in sorted(CONFIGS.glob("*.yaml"))
    if ".meta." in yaml.safe_load(file.read_text())["_target_"]
]


ENGINE = compose("collect").engine


@pytest.fixture(params=NAMES)
def node(request) -> Any:
    return compose("collect", [f"task={request.param}"]).task


@pytest.fixture
def task(node: Any) -> Any:
    return build(node)


def drawn(task: Any, count: int, seed: int = 0) -> Tensor:
    return task.draw_params(EpisodeRng(torch.arange(count) + 1000 * seed))


def any_actions(spec: EnvSpec, rng: EpisodeRng) -> Tensor:
    """Return actions (B, A) drawn evenly from the bounds."""
    low, high = torch.tensor(spec.action.low), torch.tensor(spec.action.high)
    share = rng.uniform(*spec.action.shape)
    if num_choices(spec.action) is not None:
        return (share * (high + 1)).long()
    return low + share * (high - low)


def played(node: Any, params: Tensor, steps: int, seed: int = 0) -> list[tuple[Tensor, Tensor, Any]]:
    """Return observation, action and step of so many control steps, in part led by the teacher."""
    task = build(node)
    teacher = task.teacher() if isinstance(task, TaughtTask) else None
    course = []
    with closing(make_tasks_env(node, ENGINE, params)) as env:
        obs = env.reset(seed)
        rng = EpisodeRng(torch.arange(len(params)))
        for t in range(steps):
            action = any_actions(env.spec, rng)
            if teacher is not None and t > 3:
                answer = teacher.answer(obs)
                wanted = answer.argmax(-1, keepdim=True) if num_choices(env.spec.action) else answer
                action = torch.where((torch.arange(len(params)) % 4 > 0)[:, None], wanted, action)
            step = env.step(action)
            course.append((obs["state"], action, step))
            obs = step.obs
    return course


def test_is_a_family_that_shows_a_flat_state(task: Any) -> None:
    assert isinstance(task, MetaTask)
    assert set(task.spec.obs) == {"state", PRIVILEGED} and len(task.spec.obs["state"].shape) == 1
    names = task.params.names
    assert len(names) == task.params.shape[0] and task.spec.obs[PRIVILEGED].names[: len(names)] == names


def test_says_where_episodes_start_and_whether_tasks_move_alike(node: Any, task: Any) -> None:
    assert task.start_distribution
    one, other = drawn(task, 8), drawn(task, 8, seed=1)
    course = played(node, one, min(40, task.spec.max_steps - 1))
    alike = True
    with closing(make_tasks_env(node, ENGINE, other)) as env:
        assert torch.equal(env.reset(0)["state"], course[0][0])  # the start does not depend on the task
        for _, action, step in course:  # what was done in the one, in the other
            alike &= torch.equal(env.step(action).final_obs["state"], step.final_obs["state"])
    assert alike == task.moves_alike


def test_a_finite_family_lists_each_task_once(task: Any) -> None:
    if not isinstance(task, FiniteFamily):
        pytest.skip("it has any number of tasks")
    every = task.all_params()
    assert every.shape == (len(every.unique(dim=0)), *task.params.shape)
    listed = {tuple(row) for row in every.tolist()}
    assert {tuple(row) for row in drawn(task, 20 * len(every)).tolist()} == listed


def test_rewards_follow_from_task_and_outcome_and_are_high_or_low(node: Any, task: Any) -> None:
    if not isinstance(task, OutcomeFamily):
        pytest.skip("its rewards follow from no outcomes")
    params = drawn(task, 16)
    seen: dict[tuple[Any, ...], float] = {}
    for _, _, step in played(node, params, 2 * task.spec.max_steps):
        outcome = task.outcome(step.final_obs["state"])
        assert outcome.dtype == torch.int64 and 0 <= outcome.min() and outcome.max() < task.num_outcomes
        for row, which, paid in zip(params.tolist(), outcome.tolist(), step.reward.tolist(), strict=True):
            assert seen.setdefault((*row, which), paid) == paid
    assert len(set(seen.values())) == 2


def test_parameters_depend_on_their_seed_alone(task: Any) -> None:
    many = drawn(task, 64)
    assert many.shape == (64, *task.params.shape) and many.dtype == torch.float32
    assert torch.equal(task.draw_params(EpisodeRng(torch.arange(5, 9))), many[5:9])
    assert len(many.unique(dim=0)) > 10


def test_an_env_keeps_its_task_over_episodes(node: Any, task: Any) -> None:
    params = drawn(task, 3)
    course = played(node, params, 2 * task.spec.max_steps + 2)
    ended = torch.zeros(3, dtype=torch.int64)
    for _, _, step in course:
        assert torch.equal(step.obs[PRIVILEGED][:, : params.shape[1]], params)
        ended += step.done
    assert (ended >= 2).all()
    # `fixed` left the family itself alone: its episodes draw their own tasks.
    with closing(make_env(node, ENGINE, 8)) as env:
        assert len(env.reset(0)[PRIVILEGED][:, : params.shape[1]].unique(dim=0)) > 1


def test_relabelling_by_a_tasks_own_parameters_is_what_it_paid(node: Any, task: Any) -> None:
    params = drawn(task, 32)
    course = played(node, params, task.spec.max_steps + 5)
    paid = 0
    for obs, action, step in course:
        told = task.relabel(params, obs, action, step.final_obs["state"])
        torch.testing.assert_close(told, step.reward, atol=1e-6, rtol=1e-6)
        paid += int((step.reward != course[0][2].reward[0]).sum())
    assert paid > 0  # not one and the same reward all the time


def test_relabelling_takes_any_leading_axes(node: Any, task: Any) -> None:
    params = drawn(task, 6)
    obs, action, step = played(node, params, 4)[-1]
    final = step.final_obs["state"]
    each = task.relabel(params, obs, action, final)
    all_pairs = task.relabel(params[:, None], obs[None], action[None], final[None])
    assert all_pairs.shape == (6, 6) and each.dtype == torch.float32
    torch.testing.assert_close(all_pairs.diagonal(), each)


def test_an_episodes_course_depends_on_seed_and_task_alone(node: Any, task: Any) -> None:
    """The first episodes, that is: later ones are numbered in the order in which they begin."""
    params = drawn(task, 5)
    many, few = played(node, params, 4), played(node, params[:2], 4)
    for (obs, action, step), (few_obs, few_action, few_step) in zip(many, few, strict=True):
        assert torch.equal(obs[:2], few_obs) and torch.equal(action[:2], few_action)
        torch.testing.assert_close(step.final_obs["state"][:2], few_step.final_obs["state"])


def test_another_number_of_envs_than_tasks_is_refused(task: Any) -> None:
    if not isinstance(task, EnvMaker):
        pytest.skip("SimVecEnv makes its envs, one for each task")
    with pytest.raises(ValueError, match="2 envs cannot be held to 3 tasks"):
        task.fixed(drawn(task, 3)).make_env(2)
