"""The scripted expert behind a device's interface, through the whole session in simulation."""

import numpy as np
import pytest
import torch

from robofb.deploy.session import Session
from robofb.deploy.sim_cell import SimCell
from robofb.deploy.teleop.scripted import ExpertTeleop
from robofb.deploy.tool_target import ToolTarget
from robofb.envs import make_task
from robofb.errors import DeviceLostError
from robofb.rng import derive_seeds
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_HUMAN


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """A session of two episodes driven by the expert, with a clock that only sleeping moves."""
    env = SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False)
    cell, target = SimCell(env), ToolTarget(env.spec.action)
    teleop = ExpertTeleop(env.task.expert(1, 0.5), cell, target, seed=3)
    teleop.connect()
    clock = [0.0]
    path = tmp_path_factory.mktemp("data") / "d"
    with EpisodeStore.create(path, cell.spec) as store:
        session = Session(
            cell,
            teleop,
            store,
            target,
            episodes=2,
            seed=1,
            now=lambda: clock[0],
            sleep=lambda wait_s: clock.__setitem__(0, clock[0] + wait_s),
        )
        result = session.run()
    return path, result


def test_really_solves_the_task_and_records_what_the_reader_reads(driven):
    path, result = driven
    store = EpisodeStore.open(path)
    assert (len(store), result.kept) == (2, 2)
    assert len({episode.meta["episode_seed"] for episode in store}) == 2
    for episode in store:
        assert episode.success and episode.terminated
        assert episode.meta["success_by"] == "task"
        assert episode.reward.sum() == 1.0 and episode.reward[-1] == 1.0
        assert (episode.source == SOURCE_HUMAN).all()
        np.testing.assert_allclose(np.diff(episode.timestamps), 0.1)


def test_replaying_the_recorded_actions_solves_it_again(driven):
    path, _ = driven
    episode = EpisodeStore.open(path)[1]
    other = SimCell(SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False))
    start = int(derive_seeds(int(derive_seeds(1, 0)), 2))  # the third reset: idle, first, second
    state = other.reset(start)
    np.testing.assert_array_equal(state.obs["state"], episode.obs["state"][0])
    for index, action in enumerate(episode.action):
        state = other.step(action)
        np.testing.assert_array_equal(state.obs["state"], episode.obs["state"][index + 1])
    assert state.success


def test_is_lost_once_it_is_closed(driven):
    teleop = ExpertTeleop(None, None, None)
    with pytest.raises(DeviceLostError):
        teleop.read()
    teleop.connect()
    teleop.close()
    teleop.close()
    with pytest.raises(DeviceLostError):
        teleop.read()


def test_undo_brings_the_world_back_bit_for_bit():
    env = SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False)
    cell, agent = SimCell(env), env.task.expert(1, 0.0)
    agent.reset(torch.ones(1, dtype=torch.bool), torch.tensor([5]))
    state = cell.reset(11)
    actions, states, marks = [], [state], [cell.snapshot()]
    for _ in range(25):
        action = agent.next({"state": torch.from_numpy(state.obs["state"]).unsqueeze(0)})[0].numpy()
        state = cell.step(action)
        actions.append(action)
        states.append(state)
        marks.append(cell.snapshot())
    full = env.engine.snapshot().numpy().copy()
    back = cell.restore(marks[15])
    assert back.time_s == states[15].time_s == pytest.approx(1.5)
    np.testing.assert_array_equal(back.obs["state"], states[15].obs["state"])
    for index in range(15, 25):
        again = cell.step(actions[index])
        np.testing.assert_array_equal(again.obs["state"], states[index + 1].obs["state"])
    np.testing.assert_array_equal(env.engine.snapshot().numpy(), full)
