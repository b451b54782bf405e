"""The vector env's promises, on every task that has a config."""

import pytest
import torch
from taught_rollouts import one_thread

import robofb.envs
from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.envs.furniture.one_leg_insert_expert import OneLegInsertExpert
from robofb.evaluate import evaluate
from robofb.interfaces import Task, VecEnv
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv


def actions(num_envs: int, steps: int, seed: int = 0) -> torch.Tensor:
    """Return (steps, B, 10) pose actions that wander above the table."""
    generator = torch.Generator().manual_seed(seed)
    position = torch.tensor([0.45, 0.0, 0.15]) + 0.1 * torch.randn(steps, num_envs, 3, generator=generator)
    down = torch.tensor([1.0, 0, 0, 0, -1, 0]).expand(steps, num_envs, 6)
    gripper = torch.randn(steps, num_envs, 1, generator=generator)
    return torch.cat([position, down, gripper], -1)


@pytest.mark.parametrize("name", robofb.envs.engine_task_names())
def test_every_task_keeps_the_contract(name):
    task = robofb.envs.make_task(name)
    env = SimVecEnv(task, 2)
    assert isinstance(task, Task) and isinstance(env, VecEnv)
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(torch.zeros(2, *env.spec.action.shape))
    assert env.spec.task == name
    obs = env.reset(0)
    for key, spec in env.spec.obs.items():
        assert obs[key].shape == (2, *spec.shape) and str(obs[key].dtype) == f"torch.{spec.dtype}"
    low, high = torch.tensor(env.spec.action.low), torch.tensor(env.spec.action.high)
    step = env.step(((low + high) / 2).expand(2, -1))
    for values in (step.reward, step.terminated, step.truncated, step.info["success"], step.info["stage"]):
        assert values.shape == (2,)
    assert torch.isfinite(step.obs["state"]).all()
    kept = step.obs["state"].clone()
    env.step(((low + high) / 2).expand(2, -1))
    assert torch.equal(kept, step.obs["state"])  # observations are never views of the simulator
    env.close()


def test_episode_does_not_depend_on_number_of_envs_or_threads():
    """Episode n of a seed is the same alone, among others, and when it comes late."""
    outcomes = []
    for num_envs, engine in ((3, one_thread), (8, MujocoEngine)):
        env = SimVecEnv(OneLegInsert("med"), num_envs, engine)
        result = evaluate(OneLegInsertExpert(num_envs, 1.0), env, 10, seed=4)
        outcomes.append(
            (result.success.tolist(), result.length.tolist(), result.metrics["pad_overlap"].tolist())
        )
    assert outcomes[0] == outcomes[1]


def test_seed_fixes_the_start_and_another_seed_changes_it():
    env = SimVecEnv(OneLegInsert(), 4)
    first, again, other = (env.reset(seed)["state"].clone() for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.isclose(first, other).all(-1).any()


def test_a_control_step_in_one_part_is_a_control_step():
    one, other = (SimVecEnv(OneLegInsert(perturbation=0.5), 2) for _ in range(2))
    one.reset(3)
    other.reset(3)
    for action in actions(2, 4):
        step, part = one.step(action), other.step_part(action, 0, 1)
        assert part is not None
        assert torch.equal(step.obs["state"], part.obs["state"]) and torch.equal(step.reward, part.reward)


def test_parts_towards_the_same_pose_end_where_a_step_does():
    """The command of a step is a ramp in joint space; its parts go the straight way, a little beside it."""
    one, other = (SimVecEnv(OneLegInsert(), 1) for _ in range(2))
    pose, _ = one.reset(0)["state"][:, :9].clone(), other.reset(0)
    start = pose[:, :3]
    goal = torch.cat([start + torch.tensor([0.01, 0.005, -0.01]), pose[:, 3:], -torch.ones(1, 1)], 1)
    for _ in range(5):
        step = one.step(goal)
        for number in range(6):
            target = goal.clone()
            target[:, :3] = start + (goal[:, :3] - start) * (number + 1) / 6
            part = other.step_part(target, number, 6)
            assert (part is None) == (number < 5)
        start = goal[:, :3]
    torch.testing.assert_close(part.obs["state"][:, :9], step.obs["state"][:, :9], atol=2e-4, rtol=0)
    assert other.elapsed.tolist() == [5]
    with pytest.raises(ValueError, match="parts=5: must divide the 12"):
        other.step_part(goal, 0, 5)


def test_time_limit_truncates_and_keeps_the_last_observation():
    env = SimVecEnv(OneLegInsert(max_steps=3), 2)
    env.reset(0)
    moves = actions(2, 3)
    for index in range(3):
        step = env.step(moves[index])
        assert step.truncated.tolist() == [index == 2] * 2
        assert not step.terminated.any()
    assert step.info["length"].tolist() == [3, 3] and step.info["episode"].tolist() == [0, 1]
    assert env.episode.tolist() == [2, 3] and env.elapsed.tolist() == [0, 0]
    gap = (step.final_obs["state"][:, :3] - step.obs["state"][:, :3]).norm(dim=-1)
    assert (gap > 0.01).all()  # the arm is back at its start in obs, where it was in final_obs


def test_reset_of_one_env_does_not_touch_another():
    """Env 0 is driven into the ground state by success, env 1 must go on as if alone."""
    env, alone = SimVecEnv(OneLegInsert(max_steps=6), 2), SimVecEnv(OneLegInsert(max_steps=6), 2)
    env.reset(0)
    alone.reset(0)
    env.elapsed[0] = 3  # env 0 reaches its limit after three more steps
    for move in actions(2, 5):
        got, expected = env.step(move), alone.step(move)
        assert torch.equal(got.final_obs["state"][1], expected.final_obs["state"][1])


def test_state_dict_continues_exactly():
    env = SimVecEnv(OneLegInsert(max_steps=7), 3)
    env.reset(3)
    moves = actions(3, 12)
    for move in moves[:5]:
        env.step(move)
    saved = env.state_dict()
    expected = [env.step(move) for move in moves[5:]]
    fresh = SimVecEnv(OneLegInsert(max_steps=7), 3)
    fresh.load_state_dict(saved)
    for move, want in zip(moves[5:], expected, strict=True):
        got = fresh.step(move)
        assert torch.equal(got.obs["state"], want.obs["state"]) and torch.equal(got.reward, want.reward)
        assert torch.equal(got.info["episode"], want.info["episode"])


def test_divergence_ends_the_episode_without_success():
    env = SimVecEnv(OneLegInsert(), 2)
    env.reset(0)
    env.engine.field("qvel")[1, 0] = float("nan")
    step = env.step(actions(2, 1)[0])
    assert step.terminated.tolist() == [False, True] and not step.info["success"].any()
    assert step.reward[1] == 0 and step.info["stage"][1] == 0  # judged by nothing that was put back
    assert step.info["part_overlap"][1] == 0
    assert torch.isfinite(step.obs["state"]).all()


class Rated(OneLegInsert):
    """Pays for the gripper's height and goes on after a success, to which every third step counts."""

    def score(self, engine):
        elapsed = (engine.field("time") / self.spec.control_dt).round().long()
        self.height = self.observe(engine)["state"][:, 2]
        reached = elapsed % 3 == 0
        return (
            super()
            .score(engine)
            ._replace(achieved=reached.float(), success=reached, reward=10 * self.height, ended=elapsed == 5)
        )


def test_a_task_may_pay_every_step_and_end_by_its_own_rule():
    env = SimVecEnv(Rated(max_steps=7), 2, autoreset=False)
    env.reset(0)
    for index, action in enumerate(actions(2, 5), 1):
        step = env.step(action)
        torch.testing.assert_close(step.reward, 10 * env.task.height)  # and no 1 for what is achieved
        assert step.info["success"].tolist() == [index == 3] * 2
        assert step.terminated.tolist() == [index == 5] * 2
    env.reset(0)
    env.engine.field("qvel")[1, 0] = float("nan")
    step = env.step(actions(2, 1)[0])
    assert step.terminated.tolist() == [False, True] and step.reward[1] == 0 and step.reward[0] > 0


def test_a_step_keeps_what_it_told():
    env = SimVecEnv(OneLegInsert(max_steps=2), 2)
    env.reset(0)
    steps, copies = [], []
    for action in actions(2, 4):
        steps.append(env.step(action))
        copies.append({key: value.clone() for key, value in steps[-1].info.items()})
    for step, copy in zip(steps, copies, strict=True):
        assert all(torch.equal(step.info[key], copy[key]) for key in copy)


def test_without_autoreset_an_ended_world_stays_where_it_is():
    env = SimVecEnv(OneLegInsert(max_steps=2), 1, autoreset=False)
    env.reset(0)
    for action in actions(1, 2):
        step = env.step(action)
    assert step.truncated.all() and env.episode.tolist() == [0]
    assert torch.equal(step.obs["state"], env.task.observe(env.engine)["state"])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (torch.zeros(2, 9), r"shape \(2, 10\)"),
        (torch.full((2, 10), float("nan")), r"not finite in envs \[0, 1\]"),
    ],
)
def test_bad_actions_are_refused(action, message):
    env = SimVecEnv(OneLegInsert(), 2)
    env.reset(0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
