"""Gymnasium ids as tasks: through the whole command line, and every refusal in one line."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import gymnasium
import pytest
import torch
from stand_ins import PointGym

from robofb import build, cli, config
from robofb.envs import task_names
from robofb.errors import UserError
from robofb.evaluate import evaluate
from robofb.interfaces import EnvMaker
from robofb.loading import make_env, make_sim_env
from robofb.sim.film import film_episodes
from robofb.sim.gymnasium_env import GymnasiumVecEnv
from robofb.sim.gymnasium_task import GymnasiumTask
from robofb.sim.render import cameras_of
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_SCRIPTED

POINT = "robofb_tests/Point-v0"
REACHER = ["task=gymnasium", "task.id=Reacher-v5", "task.success_reward=-0.05", "task.end_on_success=true"]
MAZE = ["task=gymnasium", "task.id=gymnasium_robotics:PointMaze_Open-v3", "task.max_steps=150"]


def expert(name: str) -> str:
    return f"task.expert={{_target_: scripted_gym.{name}, _partial_: true}}"


@pytest.fixture(autouse=True, scope="module")
def _registered():
    gymnasium.register(POINT, entry_point="stand_ins:PointGym", max_episode_steps=9)
    gymnasium.register("robofb_tests/Endless-v0", entry_point="stand_ins:PointGym")
    yield
    for name in (POINT, "robofb_tests/Endless-v0"):
        del gymnasium.registry[name]


class Stay:
    def reset(self, mask, seeds):
        pass

    def next(self, obs):
        return torch.zeros(len(obs["state"]), 2)


def compose(*words: str):
    return config.compose("collect", ["task=gymnasium", f"task.id={POINT}", *words])


def make(*words: str, num_envs: int = 2, **options) -> GymnasiumVecEnv:
    cfg = compose(*words)
    return make_env(cfg.task, cfg.engine, num_envs, **options)


def test_images_that_the_environment_shows_by_itself_may_be_asked_for():
    with closing(make()) as env:
        images = cameras_of(env.spec)
    assert images
    with closing(make(cameras=images)) as env:
        assert cameras_of(env.spec) == images
    (camera, (height, width)), *_ = images.items()
    with pytest.raises(UserError, match="does not show the images asked for"):
        make(cameras={camera: (height + 1, width)})


def test_an_id_becomes_an_env_with_its_own_limit_and_rate():
    with closing(make()) as env:
        assert (env.spec.task, env.spec.max_steps, env.spec.control_dt) == (
            "gymnasium_robofb_tests_Point_v0",
            9,
            0.1,
        )
        assert evaluate(Stay(), env, 3, seed=0).length.tolist() == [9, 9, 9]
    with closing(make("task.max_steps=4", "task.control_dt=0.5")) as env:
        assert env.spec.control_dt == 0.5
        assert evaluate(Stay(), env, 3, seed=0).length.tolist() == [4, 4, 4]
    with closing(make("task.kwargs={terminate: false}")) as env:
        assert not env.vec.envs[0].unwrapped._terminate


def test_the_wrapped_simulators_are_no_tasks_of_ours():
    assert not {"gymnasium", "isaacgym"} & set(task_names())


def test_spec_is_that_of_the_env():
    task = GymnasiumTask(POINT)
    with closing(task.make_env(1)) as env:
        assert task.spec == env.spec and isinstance(task, EnvMaker)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.id=Reacher-v9"], "task.id=Reacher-v9 does not start: VersionNotFound"),
        (["task.id=no_such_package:X-v0"], "no package no_such_package is installed"),
        (["task.id=tests.stand_ins:X-v0"], "no package tests.stand_ins is installed"),
        (["task.id=robofb_tests/Endless-v0"], "has no time limit: set task.max_steps"),
        (["task.kwargs={speed: 3}"], "does not start: TypeError .*speed"),
        (["task.vectorization=threads"], "task.vectorization=threads: choose one of sync, async"),
        (["task.vectorization=vector_entry_point"], "does not start"),
        (["task.success_reward=1", "task.success_key=won"], "success_key and success_reward: say one"),
        (["task.id=CartPole-v1"], r"takes actions Discrete\(2\)"),
    ],
)
def test_what_cannot_be_made_is_one_line(words, message):
    with pytest.raises(UserError, match=message) as error:
        make(*words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (["engine.num_threads=3"], {}, "engine=.*brings its own simulator; leave engine out"),
        (
            [],
            {"cameras": {"front": (8, 8)}},
            r"task gymnasium_robofb_tests_Point_v0 does not show the images asked for, front of \[8, 8\]",
        ),
        ([], {"sim_state": True}, "sim_state=true: .* no state"),
        ([], {"num_envs": 0}, "num_envs=0: needs at least 1"),
    ],
)
def test_what_it_cannot_serve_is_refused(words, options, message):
    with pytest.raises(UserError, match=message):
        make(*words, **options)


def test_what_needs_our_simulation_says_so():
    cfg = compose()
    with pytest.raises(UserError, match="driving by hand and augmentation need a task of ours"):
        make_sim_env(cfg.task, cfg.engine, 1)


def test_collecting_by_hand_or_without_an_expert_is_refused(capsys, tmp_path):
    words = ["collect", *REACHER, f"out={tmp_path / 'd'}"]
    assert cli.run([*words, "teleop=keyboard"]) == 2
    assert cli.run(words) == 2
    assert "has no scripted expert" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_an_expert_that_is_no_class_is_refused():
    with pytest.raises(UserError, match=r"task.expert=os.system: say the class as \{_target_: package.Class"):
        GymnasiumTask("Reacher-v5", expert="os.system")


def test_films_what_the_env_renders(tmp_path):
    with closing(make()) as env:
        path = film_episodes(Stay(), env, 0, tmp_path / "film.mp4", columns=2, height=60, width=80)
    assert path.stat().st_size > 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "controller", "name"),
    [
        (REACHER, "ReacherExpert", "gymnasium_Reacher_v5"),
        ([*MAZE, "task.end_on_success=true"], "MazeExpert", "gymnasium_PointMaze_Open_v3"),
    ],
)
def test_scripted_demonstrations_become_a_policy_and_a_residual(
    task, controller, name, monkeypatch, capsys, tmp_path
):
    """The whole command line: record a controller, clone it, correct it, record the clone."""
    monkeypatch.setattr(build, "TRUSTED_PREFIXES", (*build.TRUSTED_PREFIXES, "scripted_gym."))

    def do(*words: str) -> str:
        assert cli.run(list(words)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    data, bc, residual, again = (str(tmp_path / name) for name in ("data", "bc", "residual", "again"))
    do("collect", *task, expert(controller), "episodes=40", "num_envs=16", f"out={data}")
    store = EpisodeStore.open(data)
    assert len(store) == 40 and store.spec.task == name
    assert all(episode.success and (episode.source == SOURCE_SCRIPTED).all() for episode in store)
    small = ["policy.horizon=8", "policy.execute=2", "policy.denoiser.width=96", "batch_size=128"]
    do("train", "bc", *task, f"data={data}", "steps=200", *small, "threads=1", f"out={bc}")
    do("eval", f"run={bc}", "episodes=32", "num_envs=16", "video=false")
    assert success(bc) >= 0.5  # actions drawn at random: in none of 128 episodes
    budget = ["num_envs=16", "rollout_steps=20", "env_steps=320", "select_episodes=16", "minibatch_size=160"]
    do("train", "residual", *task, f"base={bc}", *budget, "correction=null", f"out={residual}")
    do("eval", f"run={residual}", "episodes=32", "num_envs=16", "video=false")
    assert success(residual) >= 0.5
    do("data", "rollouts", bc, f"--out={again}", "--episodes=3", "--num-envs=4")
    assert EpisodeStore.open(again)[0].meta["gymnasium_id"] == task[1].removeprefix("task.id=")


def success(run: str) -> float:
    facts = json.loads((Path(run) / "summary.json").read_text())["eval"]
    return facts["successes"] / facts["episodes"]


def test_gymnasium_robotics_is_a_task_like_any_other():
    """PointMaze names its package in the id, and tells success in its info."""
    with closing(make(*MAZE, "task.max_steps=5")) as env:
        result = evaluate(Stay(), env, 3, seed=0)
        assert result.length.tolist() == [5, 5, 5] and env.spec.obs["state"].shape == (8,)
        assert env.spec.obs["state"].names[2] == "desired_goal_0"


def test_the_stand_in_keeps_gymnasiums_rules():
    from gymnasium.utils.env_checker import check_env

    check_env(PointGym(), skip_render_check=True)
