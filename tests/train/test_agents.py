"""Agents of many tasks: they learn, repeat and resume, and their logs say all that they did."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from learning import assert_same_weights

from robofb.config import compose
from robofb.errors import UserError
from robofb.families import build_family, draw_tasks
from robofb.rl.histories import Histories, load_histories
from robofb.run import Run
from robofb.store.agent_logs import AgentLogs
from robofb.train import agents
from robofb.train.agents_loop import AgentsLoop

SMALL = ("task.max_steps=6", "num_tasks=3", "updates=5", "batch_size=32", "select_every=50", "warmup=0.1")


def run(out: Path, *words: str, task: str = "grid_navi") -> Run:
    return agents.train(compose("train_agents", [f"task={task}", f"out={out}", *SMALL, *words]))


def histories(of: Run) -> Histories:
    with AgentLogs(of.path / "logs") as logs:
        return load_histories(logs)


def assert_same_logs(one: Run, other: Run) -> None:
    for name, value in vars(histories(one)).items():
        assert torch.equal(value, getattr(histories(other), name)), name


@pytest.mark.parametrize("task", ["grid_navi", "point_robot_sparse"])
def test_same_seed_same_weights_and_logs(tmp_path: Path, task: str) -> None:
    words = ("visitors=1", "env_steps=1440", "save_every=10")
    whole, again = run(tmp_path / "whole", *words, task=task), run(tmp_path / "again", *words, task=task)
    assert_same_weights(whole, again)
    assert_same_logs(whole, again)


@pytest.mark.parametrize("task", ["grid_navi", "point_robot_sparse"])
def test_ctrl_c_saves_and_resuming_gives_the_same_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    words = ("visitors=1", "env_steps=1440")
    whole = run(tmp_path / "whole", *words, task=task)
    act, count = AgentsLoop.step, []

    def step(self: AgentsLoop) -> dict[str, float]:
        count.append(0)
        if len(count) == 17:
            os.kill(os.getpid(), signal.SIGINT)
        return act(self)

    monkeypatch.setattr(AgentsLoop, "step", step)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", *words, task=task)
    assert not (tmp_path / "parts" / "logs").exists()
    resumed = agents.train(compose("train_agents", [f"resume={tmp_path / 'parts'}"]))
    assert_same_weights(whole, resumed)
    assert_same_logs(whole, resumed)


def test_logs_hold_every_step_of_everybody_paid_by_the_task_it_was_taken_in(tmp_path: Path) -> None:
    made = run(tmp_path / "run", "visitors=1", "num_envs=2", "env_steps=1080", "episodes_per_trial=3")
    found, family = histories(made), build_family(made.config["task"])
    assert found.num_episodes.tolist() == [60, 60, 60]  # 20 iterations, three envs
    assert torch.equal(found.params, draw_tasks(family, 3, seed=0))
    paid = family.relabel(
        found.params[:, None, None], found.obs[:, :, :-1], found.action, found.obs[:, :, 1:]
    )
    assert torch.equal(found.reward, paid)
    at_home = found.by == torch.arange(3)[:, None]
    assert at_home.sum(1).tolist() == [40, 40, 40]
    with AgentLogs(made.path / "logs") as logs:
        assert logs.episodes_per_trial == 3 and len(logs) == 3
        iterations = [entry.meta["iteration"] for entry in logs.stores[1].entries]
    assert iterations == sorted(iterations) and iterations[-1] == 19


def test_each_agent_learns_its_own_task(tmp_path: Path) -> None:
    words = ("task.max_steps=10", "updates=20", "env_steps=18000", "lr=0.003", "gamma=0.9", "tau=0.05")
    made = run(tmp_path / "run", *words, "select_every=20", "num_envs=2")
    best = max(row["select/success"] for row in made.metrics() if "select/success" in row)
    assert best == 1.0  # of three tasks; random moves end on a goal in a tenth


def test_a_continuous_agent_learns_its_own_task(tmp_path: Path) -> None:
    words = ("task.max_steps=20", "updates=20", "env_steps=24000", "lr=0.003", "gamma=0.9", "tau=0.05")
    more = ("num_envs=2", "warmup=0.3", "temperature=0.02", "select_every=20")
    made = run(tmp_path / "run", *words, *more, task="point_robot_sparse")
    best = max(row["select/success"] for row in made.metrics() if "select/success" in row)
    assert best == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["num_tasks=1", "visitors=2"], "num_tasks=1 visitors=2: there is no other agent to visit it"),
        (["num_tasks=22"], "num_tasks=22: grid_navi has 21 tasks"),
        (["task=wind", "num_tasks=null"], "num_tasks=null: wind has any number of tasks; say how many"),
        (["task=tiger_door"], "task tiger_door is one task, no family of them"),
        (["visitors=-1"], "visitors=-1"),
        (["warmup=1.5"], r"warmup=1\.5: must lie in 0\.\.1"),
        (
            ["agents_settings=nonsense"],
            "agents_settings=nonsense: no such .*valid: .*grid_navi",
        ),
    ],
)
def test_settings_without_meaning_are_named_and_leave_no_folder(
    tmp_path: Path, words: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        agents.train(compose("train_agents", [f"out={tmp_path / 'run'}", *words]))
    assert not (tmp_path / "run").exists()


def test_tasks_are_drawn_once_each_and_held_out_ones_are_others() -> None:
    grid, wind = (
        build_family({"_target_": f"robofb.envs.meta.{name}"}) for name in ("grid_navi.GridNavi", "wind.Wind")
    )
    drawn = draw_tasks(grid, 12, seed=3)
    assert len(drawn.unique(dim=0)) == 12 and not torch.equal(drawn, draw_tasks(grid, 12, seed=4))
    assert torch.equal(draw_tasks(grid, None, seed=3), grid.all_params())
    seen, unseen = draw_tasks(wind, 50, 3), draw_tasks(wind, 50, 3, held_out=True)
    assert len(torch.cat([seen, unseen]).unique(dim=0)) == 100
