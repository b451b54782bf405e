"""Hold every furniture task that has a config to what the rest of the stack relies on.

A new config is tested without editing this file. One scripted episode of each is recorded once.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from robofb import config
from robofb.augment.backward import BackwardAugmenter
from robofb.augment.bottlenecks import find_bottlenecks
from robofb.augment.demonstrations import find_starts
from robofb.augment.poses import poses_by_body
from robofb.augment.state_noise import StateNoise, StateNoiseTransform
from robofb.deploy.collect import collect
from robofb.envs import make_task
from robofb.interfaces import ScriptedTask
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import Batch

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "task"
NAMES = [
    file.stem
    for file in sorted(CONFIGS.glob("*.yaml"))
    if ".furniture." in yaml.safe_load(file.read_text())["_target_"]
]
NOISE = 0.3  # of the expert: a little of everything, and hardly a failure


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def task(name):
    return make_task(name)


@pytest.fixture(scope="module")
def dataset(name, tmp_path_factory):
    """Two episodes as `robofb collect` records them."""
    path = tmp_path_factory.mktemp(name) / "d"
    words = [f"task={name}", f"out={path}", "episodes=2", "num_envs=2", f"noise={NOISE}"]
    outcome = collect(config.compose("collect", words))
    assert outcome.total == 2
    return path


def test_config_sets_every_argument_of_the_class(name, task):
    values = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    values.pop("_target_")
    again = type(task)(**values)
    assert again.spec == task.spec
    assert {"randomness", "max_steps", "perturbation"} <= set(values)
    assert values["perturbation"] == 0.0


def test_spec_agrees_with_what_is_seen(task):
    env = SimVecEnv(task, 2)
    obs = env.reset(0)
    spec = task.spec.obs["state"]
    assert obs["state"].shape == (2, *spec.shape) and obs["state"].dtype == torch.float32
    assert len(spec.names) == len(set(spec.names)) == spec.shape[0]
    action = task.spec.action
    assert len(action.names) == len(action.low) == len(action.high) == action.shape[0] == 10
    assert all(low < high for low, high in zip(action.low, action.high, strict=True))
    poses = poses_by_body(spec)
    for body in ("ee", *task.part_names):
        matrix = poses[body].matrix(obs["state"])
        torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(2), atol=1e-4, rtol=0)
    squashed = [column for column, each in enumerate(spec.names) if "_tanh_" in each]
    assert squashed and (obs["state"][:, squashed].abs() <= 1).all()


def test_an_episodes_start_depends_on_its_seed_alone(task):
    many, few = SimVecEnv(task, 5), SimVecEnv(task, 2)
    whole = many.reset(3)["state"]
    assert torch.equal(few.reset(3)["state"], whole[:2])
    assert torch.equal(few.repeat(many.episode_seed[[4, 1]])["state"], whole[[4, 1]])
    assert not torch.equal(many.reset(4)["state"], whole)
    assert (whole[0] != whole[1]).any()


def test_start_is_no_success_and_pays_nothing(task):
    env = SimVecEnv(task, 4)
    obs = env.reset(0)
    score = task.score(env.engine)
    assert not score.success.any() and not score.failure.any()
    assert (score.achieved == 0).all() and (score.stage == 0).all()
    stay = torch.cat([obs["state"][:, :9], -torch.ones(4, 1)], -1)
    step = env.step(stay)
    assert (step.reward == 0).all() and not step.terminated.any()
    assert set(score.metrics) >= {"part_overlap", "refused"}


def test_expert_earns_what_the_score_says(task, dataset):
    """An episode's rewards are its newly reached goals; success ends it, with all of them."""
    assert isinstance(task, ScriptedTask)
    with EpisodeStore.open(dataset) as store:
        assert store.spec.task == task.spec.task
        for episode in store:
            assert episode.success and episode.terminated
            assert set(np.unique(episode.reward)) <= {0.0, 1.0}
            assert episode.reward[-1] == 1.0
            goals = sum(stage.startswith("assemble") for stage in task.spec.stages) or 1
            assert episode.reward.sum() == goals
            assert len(episode) <= task.spec.max_steps
            low, high = np.array(task.spec.action.low), np.array(task.spec.action.high)
            inside = (episode.action >= low - 0.05) & (episode.action <= high + 0.05)
            assert inside.all(), "the expert commands far outside of its workspace"


def test_expert_does_the_same_whatever_the_batch(task):
    """For as long as it takes to grasp, lift and bring the first part."""
    courses = []
    for num_envs in (1, 3):
        env = SimVecEnv(task, num_envs, autoreset=False)
        agent = task.expert(num_envs, 1.0)
        obs = env.reset(6)
        agent.reset(torch.ones(num_envs, dtype=torch.bool), env.episode_seed)
        rows = []
        for _ in range(60):
            obs = env.step(agent.next(obs)).final_obs
            rows.append(obs["state"][0])
        courses.append(torch.stack(rows))
    assert torch.equal(courses[0], courses[1])


def test_cameras_show_the_scene(name):
    env = SimVecEnv(make_task(name), 1, cameras={"front": (60, 80), "wrist": (60, 80)})
    obs = env.reset(0)
    for camera in ("front", "wrist"):
        image = obs[f"image_{camera}"]
        assert image.shape == (1, 3, 60, 80) and image.dtype == torch.uint8
        assert image.float().std() > 10, f"{camera} sees nothing"
    env.close()


def test_complete_finds_the_features_of_real_states(task, dataset):
    with EpisodeStore.open(dataset) as store:
        state = torch.from_numpy(store[0].obs["state"])
    again = task.complete(state)
    torch.testing.assert_close(again, state, atol=1e-3, rtol=0)
    wrong = state.clone()
    derived = [column for column, each in enumerate(task.spec.obs["state"].names) if "_tanh_" in each]
    wrong[:, derived] = 0.5
    torch.testing.assert_close(task.complete(wrong), again, atol=1e-6, rtol=0)
    assert again.dtype == state.dtype


def test_state_noise_reaches_poses_and_features_alike(task, dataset):
    with EpisodeStore.open(dataset) as store:
        state = torch.from_numpy(store[0].obs["state"])[:40, None]  # (B, To, D)
    transform = StateNoiseTransform(task.spec, StateNoise(share=1.0), task.complete)
    batch = Batch(
        {"state": state}, torch.zeros(40, 1, 10), torch.ones(40, 1, dtype=torch.bool), torch.ones(40)
    )
    noisy = transform(batch, torch.Generator().manual_seed(0)).obs["state"]
    torch.testing.assert_close(task.complete(noisy), noisy, atol=1e-5, rtol=0)
    poses = poses_by_body(task.spec.obs["state"])
    for part in task.part_names:
        moved = (noisy - state)[..., poses[part].position].norm(dim=-1)
        assert 0.005 < moved.mean() < 0.03  # 1 cm along each axis


def test_bottlenecks_are_found_and_augmented(task, dataset):
    """A snippet from the first bottleneck of a real episode arrives."""
    with EpisodeStore.open(dataset) as store:
        marks = find_bottlenecks(store[0], store.spec, "gripper")
        assert marks and all(0 <= mark.step <= len(store[0]) for mark in marks)
        env = SimVecEnv(task, 4, autoreset=False, sim_state=True)
        starts = find_starts(store, env, after_change=10, rule="gripper")
        augmenter = BackwardAugmenter(str(dataset), starts[:1], env, seed=0, distance_m=(0.05, 0.1))
        with EpisodeStore.create(dataset.parent / "s", store.spec) as out:
            outcome = augmenter.fill(out, 1)
        assert outcome.kept == 1
    env.close()


def test_pushes_repeat_exactly(name):
    """In another batch, and after the state was saved and restored in the middle."""
    task = make_task(name, perturbation=0.2)
    whole, alone = SimVecEnv(task, 3), SimVecEnv(task, 1)
    stay = torch.cat([whole.reset(1)["state"][:, :9], -torch.ones(3, 1)], -1)
    alone.reset(1)
    for index in range(12):
        if index == 5:
            middle = whole.state_dict()
        seen = whole.step(stay).final_obs["state"]
        lone = alone.step(stay[:1]).final_obs["state"]
    assert torch.equal(lone[0], seen[0])
    again = SimVecEnv(task, 3)
    again.reset(9)
    again.load_state_dict(middle)
    for _ in range(7):
        restored = again.step(stay).final_obs["state"]
    assert torch.equal(restored, seen)
    calm = SimVecEnv(make_task(name), 1)
    calm.reset(1)
    assert not torch.equal(calm.step(stay[:1]).final_obs["state"], first_step(task, stay))


def first_step(task, stay):
    """Return what the first step of episode 0 shows: its parts were pushed at reset."""
    env = SimVecEnv(task, 1)
    env.reset(1)
    return env.step(stay[:1]).final_obs["state"]
