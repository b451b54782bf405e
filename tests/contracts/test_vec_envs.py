"""Hold every kind of vector env to the contract of `interfaces.VecEnv`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
import torch_point
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stand_ins import SPEED_M, PointGym, PointVecTask, ResetFirstVecTask, SameStepVecTask
from torch import Tensor
from torch_point import TorchPoint

from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.envs.teacher.hidden_hole import HiddenHole
from robofb.envs.teacher.lava_crossing import LavaCrossing
from robofb.envs.teacher.memory import Memory
from robofb.envs.teacher.tiger_door import TigerDoor
from robofb.envs.teacher.two_boxes import TwoBoxes
from robofb.evaluate import evaluate
from robofb.interfaces import Agent, TaskEnv, VecEnv
from robofb.rng import derive_seeds
from robofb.sim.gymnasium_env import GymnasiumVecEnv
from robofb.sim.isaacgym_env import IsaacGymVecEnv, SameStepIsaacGymVecEnv
from robofb.sim.isaacgym_worker import VecTaskHost
from robofb.sim.success import SuccessRule
from robofb.sim.vec_env import SimVecEnv
from robofb.types import Obs, Step, num_choices


class ToGoal:
    """Walk the point straight to its goal."""

    def __init__(self, position: slice, goal: slice, speed_m: float = SPEED_M) -> None:
        self._position, self._goal, self._speed_m = position, goal, speed_m

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        pass

    def next(self, obs: Obs) -> Tensor:
        gap = obs["state"][:, self._goal] - obs["state"][:, self._position]
        return (gap / self._speed_m).clamp(-1, 1)


class Taught:
    """Do what the teacher of a task would."""

    def __init__(self, task: Any) -> None:
        self._teacher, self._chooses = task.teacher(), num_choices(task.spec.action) is not None

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        pass

    def next(self, obs: Obs) -> Tensor:
        answer = self._teacher.answer(obs)
        return answer.argmax(-1, keepdim=True) if self._chooses else answer


@dataclass(frozen=True)
class Kind:
    """One kind of env.

    Attributes:
        make: from the number of envs and the time limit [control steps].
        solver: makes an agent that succeeds, from the number of envs.
        own_seeds: an episode's course depends on its own seed alone.
        keeps_final_obs: `final_obs` is the true last observation.
        stays: under the middle action a world stays exactly as it is.
        varied: no two episodes begin alike, nor are solved in the same time.
    """

    make: Callable[[int, int], Any]
    solver: Callable[[int], Agent]
    own_seeds: bool = True
    keeps_final_obs: bool = True
    stays: bool = True
    varied: bool = True


def gymnasium_env(vector: Callable[..., Any], mode: AutoresetMode, num_envs: int, max_steps: int):
    vec = vector([lambda: TimeLimit(PointGym(), max_steps)] * num_envs, autoreset_mode=mode)
    return GymnasiumVecEnv(vec, "point", control_dt_s=0.1, max_steps=max_steps, success=SuccessRule())


def gymnasium_kind(vector: Callable[..., Any], mode: AutoresetMode, **changes: bool) -> Kind:
    return Kind(partial(gymnasium_env, vector, mode), gymnasium_solver, **changes)


def isaacgym_env(env: type[IsaacGymVecEnv], task: type[PointVecTask], num_envs: int, max_steps: int):
    """These tasks stop one step early; most then take one to reset, which the others do not count."""
    length = max_steps + (task is not PointVecTask)
    return env(VecTaskHost(task(num_envs, length)), "point", success=SuccessRule(), max_steps=max_steps)


def gymnasium_solver(num_envs: int) -> Agent:
    return ToGoal(position=slice(2, 4), goal=slice(0, 2))


def isaacgym_solver(num_envs: int) -> Agent:
    return ToGoal(position=slice(0, 2), goal=slice(2, 4))


def taught_kind(task: Callable[..., Any], **changes: bool) -> Kind:
    return Kind(
        lambda num_envs, max_steps: task(max_steps=max_steps).make_env(num_envs),
        lambda num_envs: Taught(task()),
        **changes,
    )


def taught_sim_kind(task: Callable[..., Any]) -> Kind:
    return Kind(
        lambda num_envs, max_steps: SimVecEnv(task(max_steps=max_steps), num_envs),
        lambda num_envs: Taught(task()),
        stays=False,
    )


KINDS = {
    "sim": Kind(
        lambda num_envs, max_steps: SimVecEnv(OneLegInsert(max_steps=max_steps), num_envs),
        lambda num_envs: OneLegInsert().expert(num_envs, 0.0),
        stays=False,
    ),
    "torch": Kind(
        lambda num_envs, max_steps: TorchPoint(max_steps).make_env(num_envs),
        lambda num_envs: ToGoal(slice(0, 2), slice(2, 4), torch_point.SPEED_M),
        stays=False,
    ),
    "hidden_hole": taught_sim_kind(HiddenHole),
    "two_boxes": taught_sim_kind(TwoBoxes),
    "tiger_door": taught_kind(TigerDoor, varied=False),
    "memory": taught_kind(Memory, stays=False, varied=False),
    "lava_crossing": taught_kind(LavaCrossing, stays=False),
    "gymnasium_disabled": gymnasium_kind(SyncVectorEnv, AutoresetMode.DISABLED),
    "gymnasium_next_step": gymnasium_kind(SyncVectorEnv, AutoresetMode.NEXT_STEP),
    "gymnasium_same_step": gymnasium_kind(SyncVectorEnv, AutoresetMode.SAME_STEP, own_seeds=False),
    "gymnasium_async": gymnasium_kind(AsyncVectorEnv, AutoresetMode.DISABLED),
    "isaacgym": Kind(partial(isaacgym_env, IsaacGymVecEnv, PointVecTask), isaacgym_solver, own_seeds=False),
    "isaacgym_reset_first": Kind(
        partial(isaacgym_env, IsaacGymVecEnv, ResetFirstVecTask), isaacgym_solver, own_seeds=False
    ),
    "isaacgym_same_step": Kind(
        partial(isaacgym_env, SameStepIsaacGymVecEnv, SameStepVecTask),
        isaacgym_solver,
        own_seeds=False,
        keeps_final_obs=False,
    ),
}


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def env(kind: Kind) -> Iterator[Any]:
    """Three envs with a time limit of five steps."""
    with closing(kind.make(3, 5)) as made:
        yield made


def middle(env: VecEnv) -> Tensor:
    """Return an action (B, A) in the middle of the bounds."""
    low, high = torch.tensor(env.spec.action.low), torch.tensor(env.spec.action.high)
    return ((low + high) / 2).to(getattr(torch, env.spec.action.dtype)).expand(env.num_envs, -1)


def apart(a: Obs, b: Obs) -> Tensor:
    """Return which envs (B,) show something else by more than rounding."""
    gaps = [(a[key].float() - b[key].float()).abs().flatten(1).amax(1) for key in a if "image" not in key]
    return torch.stack(gaps).amax(0) > 1e-3


def stay(env: VecEnv, steps: int) -> list[Step]:
    return [env.step(middle(env)) for _ in range(steps)]


def test_shows_what_its_spec_says(env):
    assert isinstance(env, VecEnv) and isinstance(env, TaskEnv)
    obs = env.reset(0)
    assert obs.keys() == env.spec.obs.keys()
    step = env.step(middle(env))
    for key, spec in env.spec.obs.items():
        for shown in (obs, step.obs, step.final_obs):
            assert shown[key].shape == (3, *spec.shape) and str(shown[key].dtype) == f"torch.{spec.dtype}"
    assert step.reward.shape == (3,) and step.reward.dtype == torch.float32
    for flags in (step.terminated, step.truncated, step.info["success"]):
        assert flags.shape == (3,) and flags.dtype == torch.bool
    for key in ("stage", "episode", "length"):
        assert step.info[key].shape == (3,) and step.info[key].dtype == torch.int64


def test_refuses_to_step_before_reset(env):
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(middle(env))


def test_refuses_bad_actions_and_goes_on(env):
    env.reset(0)
    bad = middle(env).to(torch.float32, copy=True)
    bad[1] = float("nan")
    with pytest.raises(ValueError, match=r"not finite in envs \[1\]"):
        env.step(bad)
    with pytest.raises(ValueError, match=r"action must have shape \(3, "):
        env.step(middle(env)[:, :-1])
    assert env.step(middle(env)).info["length"].tolist() == [1, 1, 1]


def test_numbers_episodes_in_the_order_they_start(env):
    env.reset(7)
    assert env.episode.tolist() == [0, 1, 2]
    torch.testing.assert_close(env.episode_seed, derive_seeds(7, torch.arange(3)))
    steps = stay(env, 11)
    assert [step.info["episode"].tolist() for step in steps[4:6]] == [[0, 1, 2], [3, 4, 5]]
    assert [step.info["length"][0].item() for step in steps] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1]
    assert env.episode.tolist() == [6, 7, 8]
    torch.testing.assert_close(env.episode_seed, derive_seeds(7, env.episode))


def test_time_limit_truncates(env):
    env.reset(0)
    steps = stay(env, 10)
    assert [step.truncated.tolist() for step in steps] == [[index % 5 == 4] * 3 for index in range(10)]
    assert not any(step.terminated.any() or step.info["success"].any() for step in steps)


def test_final_obs_is_where_the_episode_ended_and_obs_where_the_next_begins(env, kind):
    first = env.reset(0)
    steps = stay(env, 5)
    for step in steps[:4]:
        assert all(torch.equal(step.obs[key], step.final_obs[key]) for key in step.obs)
    assert apart(steps[4].obs, steps[4].final_obs).all() or not kind.varied
    if kind.stays:  # what is not moved ends where it began
        torch.testing.assert_close(steps[4].final_obs, first)
    assert ("final_obs_lost" in steps[4].info) == (not kind.keeps_final_obs)


def test_success_is_told_before_the_reset(kind):
    with closing(kind.make(3, 90)) as env:
        agent, obs = kind.solver(3), env.reset(1)
        agent.reset(torch.ones(3, dtype=torch.bool), env.episode_seed)
        ended = torch.zeros(3, dtype=torch.bool)
        for _ in range(70):
            step = env.step(agent.next(obs))
            first = step.done & ~ended
            assert torch.equal(step.terminated[first], step.info["success"][first])
            assert (step.info["stage"][first] == len(env.spec.stages)).all()
            ended |= step.done
            agent.reset(step.done, env.episode_seed)
            obs = step.obs
        assert ended.all() and not step.truncated.any()


def test_an_episode_does_not_depend_on_the_number_of_envs(kind):
    if not kind.own_seeds:
        pytest.skip("not promised here")
    outcomes = []
    for num_envs in (2, 5):
        with closing(kind.make(num_envs, 90)) as env:
            result = evaluate(kind.solver(num_envs), env, 7, seed=4)
        outcomes.append((result.success.tolist(), result.length.tolist()))
    assert outcomes[0] == outcomes[1]
    assert len(set(outcomes[0][1])) > 1 or not kind.varied


def test_a_seed_repeats_and_another_does_not(env, kind):
    first, again, other = (env.reset(seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert apart(first, other).all() if kind.varied else apart(first, other).any()


def test_a_step_keeps_what_it_told(env):
    env.reset(0)
    steps, copies = [], []
    for _ in range(7):
        steps.append(env.step(middle(env)))
        told = {**steps[-1].info, **steps[-1].obs, "reward": steps[-1].reward}
        told |= {f"final_{key}": value for key, value in steps[-1].final_obs.items()}
        copies.append((told, {key: value.clone() for key, value in told.items()}))
    assert all(torch.equal(told[key], copy[key]) for told, copy in copies for key in copy)


def test_closes_twice(kind):
    env = kind.make(1, 5)
    env.reset(0)
    env.close()
    env.close()
    with closing(kind.make(1, 5)) as another:  # which they leave alone
        assert all(len(values) == 1 for values in another.reset(0).values())
