"""Trials are what the episodes of a log say, one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rl.borel.examples import FAMILY, walks
from robofb.errors import UserError
from robofb.rl.histories import load_histories
from robofb.store.agent_logs import (
    EPISODES_PER_TRIAL,
    PARAM_NAMES,
    PARAMS,
    START,
    AgentLogs,
    agent_folder,
    write_agent_log,
)
from robofb.types import Episode


def test_a_trial_has_its_episodes_steps_one_after_the_other() -> None:
    histories = walks()
    episodes = torch.tensor([[2, 3, 4], [0, 1, 2]])
    trials = histories.trials(torch.tensor([1, 3]), episodes)
    for row, agent in enumerate((1, 3)):
        t = 0
        for number, episode in enumerate(episodes[row].tolist()):
            steps = int(histories.length[agent, episode])
            for step in range(steps):
                assert torch.equal(trials.obs[row, t], histories.obs[agent, episode, step])
                assert torch.equal(trials.next_obs[row, t], histories.obs[agent, episode, step + 1])
                assert torch.equal(trials.action[row, t], histories.action[agent, episode, step])
                assert trials.reward[row, t] == histories.reward[agent, episode, step]
                assert trials.episode[row, t] == number and trials.valid[row, t]
                last = step == steps - 1
                assert bool(trials.ends[row, t]) == last
                t += 1
        assert int(trials.lengths[row]) == t and not trials.valid[row, t:].any()


def test_pieces_of_episodes_know_where_these_end_and_began() -> None:
    histories = walks()
    source, episodes = torch.tensor([[1, 3, 0]]), torch.tensor([[2, 5, 4]])
    lengths = histories.length[source, episodes][0].tolist()
    first = torch.tensor([[0, lengths[1] - 1, 1]])
    trials = histories.trials(torch.tensor([2]), episodes, source, first, steps=3)
    t = 0
    for number, (who, episode) in enumerate(zip(source[0].tolist(), episodes[0].tolist(), strict=True)):
        start = int(first[0, number])
        for step in range(start, min(start + 3, lengths[number])):
            assert torch.equal(trials.obs[0, t], histories.obs[who, episode, step])
            assert torch.equal(trials.next_obs[0, t], histories.obs[who, episode, step + 1])
            assert trials.episode[0, t] == number
            assert bool(trials.ends[0, t]) == (step == lengths[number] - 1)
            t += 1
        assert torch.equal(trials.starts[0, number], histories.obs[who, episode, 0])
    assert t > 4 and int(trials.lengths[0]) == t and not trials.ends[0, t:].any()


def test_consecutive_episodes_are_drawn_evenly_and_stay_within_the_log() -> None:
    histories = walks(episodes=6)
    drawn = histories.draw(torch.zeros(3000, dtype=torch.int64), 4, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 1:] - drawn[:, :-1], torch.ones(3000, 3, dtype=torch.int64))
    counts = torch.bincount(drawn[:, 0], minlength=3)
    assert len(counts) == 3 and (counts > 900).all()
    with pytest.raises(ValueError, match="fewer than 7 episodes"):
        histories.draw(torch.zeros(1, dtype=torch.int64), 7, torch.Generator())


def save(root: Path, count: int = 6, **changes: object) -> None:
    """Write the walks as agents' logs: of the first agent the first `count`, of each other one less."""
    histories, spec = walks(), FAMILY.spec.only(["state"])
    meta = {PARAM_NAMES: ["x", "y"], EPISODES_PER_TRIAL: 2, START: "(0, 0)", **changes}
    for agent in range(histories.num_agents):
        episodes = []
        for number in range(count - agent):
            steps = int(histories.length[agent, number])
            episodes.append(
                Episode(
                    obs={"state": histories.obs[agent, number, : steps + 1].numpy()},
                    action=histories.action[agent, number, :steps].numpy(),
                    reward=histories.reward[agent, number, :steps].numpy(),
                    terminated=False,
                    success=False,
                    timestamps=np.arange(steps + 1) * spec.control_dt,
                    source=np.full(steps, 1, np.uint8),
                    meta={"by_agent": agent},
                )
            )
        write_agent_log(root, agent, spec, {**meta, PARAMS: histories.params[agent].tolist()}, episodes)


def test_logs_that_are_saved_read_back_the_same(tmp_path: Path) -> None:
    save(tmp_path / "logs")
    with AgentLogs(tmp_path / "logs") as logs:
        found, expected = load_histories(logs), walks()
    assert found.num_episodes.tolist() == [6, 5, 4, 3]
    assert torch.equal(found.params, expected.params)
    for agent in range(4):
        for number in range(6 - agent):
            steps = int(expected.length[agent, number])
            assert int(found.length[agent, number]) == steps
            assert torch.equal(
                found.obs[agent, number, : steps + 1], expected.obs[agent, number, : steps + 1]
            )
            assert torch.equal(found.action[agent, number, :steps], expected.action[agent, number, :steps])
            assert torch.equal(found.reward[agent, number, :steps], expected.reward[agent, number, :steps])
            assert int(found.by[agent, number]) == agent


def test_writing_logs_again_adds_what_is_new_and_leaves_the_rest(tmp_path: Path) -> None:
    save(tmp_path / "logs", count=2)
    save(tmp_path / "logs")
    save(tmp_path / "whole")
    with AgentLogs(tmp_path / "logs") as found, AgentLogs(tmp_path / "whole") as expected:
        for name, value in vars(load_histories(expected)).items():
            assert torch.equal(getattr(load_histories(found), name), value), name
    with pytest.raises(UserError, match="holds 6 episodes of another training; choose another logs="):
        save(tmp_path / "logs", count=2)


def test_logs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no agents' logs: make some with robofb train agents"):
        AgentLogs(tmp_path / "nowhere")
    save(tmp_path / "logs")
    agent_folder(tmp_path / "logs", 2).rename(tmp_path / "logs" / "other")
    with pytest.raises(UserError, match=r"agent_0002 is missing"):
        AgentLogs(tmp_path / "logs")


def test_a_log_shorter_than_a_trial_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "logs", **{EPISODES_PER_TRIAL: 4})
    with AgentLogs(tmp_path / "logs") as logs, pytest.raises(UserError, match="has 3 episodes, a trial 4"):
        load_histories(logs)
