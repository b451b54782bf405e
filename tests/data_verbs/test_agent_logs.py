"""`robofb data agent-logs`: what BOReL's own code logs becomes logs that `train borel` learns from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rl.borel.examples import walks

from robofb.cli import run
from robofb.config import compose
from robofb.rl.histories import Histories, load_histories
from robofb.store.agent_logs import AgentLogs
from robofb.train import borel

AGENTS, EPISODES, HORIZON = 3, 6, 5


def write_batch_data(root: Path, flag: bool = True) -> Histories:
    """Write random walks as BOReL's own code does, the flag of ended episodes included."""
    histories = walks(AGENTS, EPISODES, HORIZON, ragged=False)
    for index, params in enumerate(histories.params.tolist()):
        folder = root / "GridNavi-v2" / "data" / f"seed_{40 + index}_goal_{params[0]:g}_{params[1]}"
        folder.mkdir(parents=True)
        steps = EPISODES * HORIZON
        ended = (np.arange(steps) % HORIZON == HORIZON - 1)[:, None].astype(np.float32)
        obs = histories.obs[index, :, :-1].reshape(steps, 2).numpy()
        next_obs = histories.obs[index, :, 1:].reshape(steps, 2).numpy()
        arrays = {
            "obs": np.hstack([obs, np.roll(ended, 1, 0)]) if flag else obs,
            "next_obs": np.hstack([next_obs, ended]) if flag else next_obs,
            "actions": histories.action[index].reshape(steps, 1).numpy().astype(np.float32),
            "rewards": histories.reward[index].reshape(steps, 1).numpy(),
            "terminals": ended,
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
    return histories


def import_them(root: Path, out: Path, *words: str) -> int:
    source = str(root / "GridNavi-v2")
    given = ["data", "agent-logs", source, "--out", str(out), "--task", "grid_navi"]
    return run([*given, "--horizon", str(HORIZON), *words])


@pytest.mark.parametrize("flag", [True, False])
def test_every_number_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: bool) -> None:
    expected = write_batch_data(tmp_path, flag)
    assert import_them(tmp_path, tmp_path / "logs", "--episodes-per-trial", "3") == 0
    out = capsys.readouterr().out
    assert "imported 3 agents, 90 steps" in out and "warning" not in out
    with AgentLogs(tmp_path / "logs") as logs:
        assert logs.episodes_per_trial == 3
        found = load_histories(logs)
        assert logs.stores[1].meta["seed"] == 41
        assert not any(entry.terminated for store in logs.stores for entry in store.entries)
    for name in ("obs", "action", "reward", "length", "params"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert import_them(tmp_path, tmp_path / "logs") == 2
    assert "logs exists: choose another place" in capsys.readouterr().err


def test_they_are_learnt_from(tmp_path: Path) -> None:
    write_batch_data(tmp_path)
    assert import_them(tmp_path, tmp_path / "logs") == 0
    words = ["belief_updates=2", "updates=2", "fresh_trials=2", f"logs={tmp_path / 'logs'}"]
    finished = borel.train(compose("train_borel", ["task=grid_navi", f"out={tmp_path / 'run'}", *words]))
    assert finished.summary()["borel_training"]["policy_updates"] == 2


def test_other_rewards_than_the_tasks_own_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_batch_data(tmp_path)
    file = next(tmp_path.glob("GridNavi-v2/data/seed_41*/rewards.npy"))
    np.save(file, np.load(file) + np.where(np.arange(30) < 4, 0.5, 0.0)[:, None])
    assert import_them(tmp_path, tmp_path / "logs") == 0
    assert "warning: 4 of 90 steps are paid otherwise than grid_navi pays them" in capsys.readouterr().out


def break_file(root: Path, name: str, change) -> None:
    file = next(root.glob(f"GridNavi-v2/data/seed_41*/{name}.npy"))
    array = np.load(file)
    file.unlink()
    if (changed := change(array)) is not None:
        np.save(file, changed)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("obs", lambda a: None, "obs.npy"),
        ("obs", lambda a: a * np.nan, "no finite numbers"),
        ("obs", lambda a: a[:, :1], r"observations of shape \(30, 1\), expected \(30, 2\)"),
        ("next_obs", lambda a: a[::-1], "next_obs is not the following obs inside of episodes of 5 steps"),
        ("actions", lambda a: a + 0.5, "actions that are no whole numbers"),
        ("actions", lambda a: a + 9, "actions beyond the bounds"),
        ("actions", lambda a: a[:-1], "actions of shape"),
        ("rewards", lambda a: a[:-1], "rewards.npy has shape"),
        ("rewards", lambda a: a.astype(object), "allow_pickle|pickle"),
    ],
)
def test_damage_of_one_agent_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, change, said: str
) -> None:
    write_batch_data(tmp_path)
    break_file(tmp_path, name, change)
    assert import_them(tmp_path, tmp_path / "logs") == 2
    message = capsys.readouterr().err
    assert re.search(said, message) and len(message.strip().splitlines()) == 1
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--horizon", "7"], "30 steps: no whole number of episodes of 7"),
        (["--horizon", "10"], "say their real length with --horizon"),
        (["--task", "tiger_door"], "tiger_door is one task, no family of them"),
        (["--task", "nothing"], "task 'nothing' is not known"),
    ],
)
def test_wishes_that_do_not_fit_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    write_batch_data(tmp_path)
    assert import_them(tmp_path, tmp_path / "logs", *words) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_agents_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "GridNavi-v2").mkdir()
    assert import_them(tmp_path, tmp_path / "logs") == 2
    assert "holds no folders such as seed_0_goal_3_1" in capsys.readouterr().err
    (tmp_path / "GridNavi-v2" / "seed_0_vel_1.5").mkdir()
    assert import_them(tmp_path, tmp_path / "logs") == 2
    assert "1 numbers after the seed; tasks here have 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("seed_41_goal_9_9", "grid_navi has no task (9, 9)"),
        ("mine", "mine: its name does not say"),
    ],
)
def test_a_folder_of_no_task_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    write_batch_data(tmp_path)
    folder = next(tmp_path.glob("GridNavi-v2/data/seed_41*"))
    folder.rename(folder.parent / name)
    assert import_them(tmp_path, tmp_path / "logs") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "logs").exists()
