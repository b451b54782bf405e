"""Tests of robofb.policies.executor."""

from __future__ import annotations

import pytest
import torch
from fakes import CountingPolicy, NetPolicy, PointEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Agent
from robofb.policies.executor import ChunkExecutor, forward_in_tiles, tiles_of
from robofb.rng import derive_seeds


def obs_of(*x: float) -> dict[str, Tensor]:
    return {"state": torch.tensor([[value, 0.0, 0.0, 0.0] for value in x])}


def everyone(num_envs: int) -> Tensor:
    return torch.ones(num_envs, dtype=torch.bool)


def test_is_an_agent() -> None:
    assert isinstance(ChunkExecutor(CountingPolicy(), 2), Agent)


def test_executes_a_chunk_then_replans_from_what_it_sees_then() -> None:
    policy = CountingPolicy(obs_history=1, horizon=4, execute=3)
    executor = ChunkExecutor(policy, 1)
    executor.reset(everyone(1), torch.tensor([5]))
    actions, phases = [], []
    for x in (10.0, 20.0, 30.0, 40.0, 50.0):
        actions.append(float(executor.next(obs_of(x))[0, 0]))
        phases.append(float(executor.phase[0]))
    assert actions == [10.0, 11.0, 12.0, 40.0, 41.0]
    assert phases == pytest.approx([0.0, 1 / 3, 2 / 3, 0.0, 1 / 3])
    assert len(policy.calls) == 2


def test_history_starts_full_of_the_first_observation_and_then_shifts() -> None:
    executor = ChunkExecutor(CountingPolicy(obs_history=3, horizon=2, execute=1), 1)
    executor.reset(everyone(1), torch.tensor([5]))
    oldest = [float(executor.next(obs_of(x))[0, 1]) for x in (1.0, 2.0, 3.0, 4.0, 5.0)]
    assert oldest == [1.0, 1.0, 1.0, 2.0, 3.0]


def test_reset_touches_the_masked_envs_alone() -> None:
    executor = ChunkExecutor(CountingPolicy(obs_history=2, horizon=4, execute=4), 2)
    executor.reset(everyone(2), torch.tensor([5, 6]))
    executor.next(obs_of(1.0, 100.0))
    executor.reset(torch.tensor([True, False]), torch.tensor([7, 8]))
    action = executor.next(obs_of(2.0, 200.0))
    assert action.tolist() == [[2.0, 2.0], [101.0, 100.0]]  # env 0: new plan, new history; env 1: old plan
    assert executor.phase.tolist() == [0.0, 0.25]


def run(policy: NetPolicy, start_seed: int, num_envs: int, slots: list[int], tile: int) -> Tensor:
    """Return the actions (T, len(slots), A) where episode k runs in env slots[k], among others."""
    noise = torch.Generator().manual_seed(num_envs)
    seeds = torch.randint(0, 2**62, (num_envs,), generator=noise)
    seeds[slots] = derive_seeds(start_seed, torch.arange(len(slots)))
    executor = ChunkExecutor(policy, num_envs, tile=tile)
    executor.reset(everyone(num_envs), seeds)
    state = torch.randn(num_envs, 4, generator=noise)
    state[slots] = torch.arange(4.0 * len(slots)).reshape(-1, 4) / 7
    actions = []
    for _ in range(9):
        action = executor.next({"state": state})
        actions.append(action[slots])
        state = state + 0.1 * torch.cat([action, -action], dim=1)
        restarted = torch.rand(num_envs, generator=noise) < 0.3
        restarted[slots] = False
        executor.reset(restarted, seeds + 1)
    return torch.stack(actions)


@given(seed=st.integers(0, 2**40), order=st.permutations(range(64)), tile=st.sampled_from([16, 32, 64]))
@settings(max_examples=15, deadline=None)
def test_actions_do_not_depend_on_batch_or_slot(seed: int, order: list[int], tile: int) -> None:
    policy = NetPolicy()
    three = run(policy, seed, 3, [0, 1, 2], tile)
    assert torch.equal(run(policy, seed, 64, order[:3], tile), three)
    assert torch.equal(run(policy, seed, 1, [0], tile), three[:, :1])


def test_nothing_leaks_from_one_episode_into_the_next() -> None:
    policy = NetPolicy(obs_history=3)
    used, new = ChunkExecutor(policy, 2), ChunkExecutor(policy, 2)
    used.reset(everyone(2), torch.tensor([1, 2]))
    for _ in range(6):
        used.next({"state": torch.randn(2, 4)})
    for executor in (used, new):
        executor.reset(everyone(2), torch.tensor([3, 4]))
    for t in range(6):
        obs = {"state": torch.full((2, 4), float(t))}
        assert torch.equal(used.next(obs), new.next(obs))


def test_replans_empty_queues_only_in_tiles() -> None:
    policy = NetPolicy(horizon=8, execute=8)
    executor = ChunkExecutor(policy, 40, tile=32)
    executor.reset(everyone(40), torch.arange(40))
    obs = {"state": torch.zeros(40, 4)}
    executor.next(obs)
    assert policy.calls == [64]
    executor.next(obs)
    assert policy.calls == [64]
    executor.reset(torch.arange(40) < 5, torch.arange(40))
    executor.next(obs)
    assert policy.calls == [64, 32]


def test_peek_agrees_with_next_and_changes_nothing() -> None:
    policy = NetPolicy(execute=3)
    executor, twin = ChunkExecutor(policy, 5), ChunkExecutor(policy, 5)
    for each in (executor, twin):
        each.reset(everyone(5), torch.arange(5))
    for t in range(7):
        if t == 2:
            for each in (executor, twin):
                each.reset(torch.arange(5) == 1, torch.arange(5) + 9)
        obs = {"state": torch.randn(5, 4, generator=torch.Generator().manual_seed(t))}
        rows = torch.tensor([4, 1, 2])
        action, phase = executor.peek(obs, rows)
        executor.peek(obs, torch.empty(0, dtype=torch.int64))
        acted = executor.next(obs)
        assert torch.equal(action, acted[rows])
        assert torch.equal(phase, executor.phase[rows])
        assert torch.equal(acted, twin.next(obs))


def test_continues_from_its_state_dict() -> None:
    policy = NetPolicy(obs_history=3, execute=3)
    env = PointEnv(4)
    first = ChunkExecutor(policy, 4)
    obs = env.reset(1)
    first.reset(everyone(4), env.episode_seed)
    for _ in range(4):
        obs = env.step(first.next(obs)).obs
    second = ChunkExecutor(policy, 4)
    second.load_state_dict(first.state_dict())
    for t in range(5):
        obs = {"state": torch.full((4, 4), float(t))}
        assert torch.equal(first.next(obs), second.next(obs))
        assert torch.equal(first.phase, second.phase)


@pytest.mark.parametrize("execute", [0, -1, 9])
def test_refuses_to_execute_more_than_the_horizon(execute: int) -> None:
    with pytest.raises(UserError, match=rf"execute={execute}.*1 to 8"):
        ChunkExecutor(NetPolicy(horizon=8), 1, execute=execute)


def test_execute_can_be_overridden_up_to_the_horizon() -> None:
    assert ChunkExecutor(NetPolicy(horizon=8, execute=4), 1, execute=8).execute == 8
    assert ChunkExecutor(NetPolicy(horizon=8, execute=4), 1).execute == 4


@given(num_rows=st.integers(1, 600), tile=st.integers(1, 33))
def test_tiles_hold_every_row_once_and_repeat_the_last(num_rows: int, tile: int) -> None:
    rows = torch.arange(100, 100 + num_rows)
    tiles = tiles_of(rows, tile)
    assert {len(call) % tile for call in tiles} == {0}
    assert all(len(call) == tile if tile < 16 else len(call) <= 256 for call in tiles)
    assert torch.cat(tiles)[:num_rows].tolist() == rows.tolist()
    assert len(torch.cat(tiles)) < num_rows + tile and set(torch.cat(tiles)[num_rows:].tolist()) <= {
        99 + num_rows
    }
    x = torch.arange(float(num_rows))[:, None]
    assert torch.equal(forward_in_tiles(lambda part: 2 * part, x, tile), 2 * x)
