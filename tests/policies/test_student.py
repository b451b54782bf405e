"""Students: what they see, remember and do."""

from __future__ import annotations

import math

import pytest
import torch

from robofb.errors import UserError
from robofb.policies.student import Choices, Memories, StudentEyes, StudentPolicy
from robofb.policies.student_agent import StudentAgent
from robofb.rng import EpisodeRng
from robofb.types import ArraySpec, EnvSpec

STATE = ArraySpec((3,), names=("ee_x", "ee_y", "hole_x"))
GRID = ArraySpec((2, 2, 2), "uint8")
CHOICES = ArraySpec((1,), "int64", low=(0,), high=(3,))
BOX = ArraySpec((2,), low=(-2.0, 0.0), high=(2.0, 1.0))


def spec_of(action: ArraySpec = CHOICES) -> EnvSpec:
    return EnvSpec("toy", {"state": STATE, "grid": GRID}, action, 0.1, 10)


def make_policy(action: ArraySpec = CHOICES, memory: int = 0, num_policies: int = 2) -> StudentPolicy:
    return StudentPolicy(
        spec_of(action),
        ["state", "grid"],
        num_policies=num_policies,
        hidden=(8, 8),
        memory=memory,
        generator=torch.Generator().manual_seed(0),
    )


def obs_of(batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(batch, 3, generator=generator)
    return {"state": state, "grid": torch.randint(2, (batch, 2, 2, 2), generator=generator).byte()}


def test_eyes_take_named_elements_normalised_and_grids_as_they_are() -> None:
    eyes = StudentEyes(spec_of(), ["state", "grid"], {"state": ["ee_"]})
    assert eyes.size == 2 + 8
    rows = torch.tensor([[1.0, 10.0, 5.0], [3.0, 30.0, 7.0]])
    grid = torch.ones(2, 2, 2, 2, dtype=torch.uint8)
    eyes.watch({"state": rows, "grid": grid})
    seen = eyes({"state": rows, "grid": grid})
    # With the zero that it starts from: x 0, 1, 3 and one unit of squares; y 0, 10, 30.
    mean, std = 4 / 3, math.sqrt((1 + 16 / 9 + 1 / 9 + 25 / 9) / 3)
    assert seen[0, 0].item() == pytest.approx((1 - mean) / std, rel=1e-5)
    assert seen[:, 2:].eq(1.0).all()
    assert eyes({"state": rows[None], "grid": grid[None]}).shape == (1, 2, 10)


def test_eyes_refuse_what_is_not_shown() -> None:
    with pytest.raises(UserError, match="toy shows no 'touch'; it has state, grid"):
        StudentEyes(spec_of(), ["touch"])
    with pytest.raises(UserError, match="must see something"):
        StudentEyes(spec_of(), [])
    with pytest.raises(UserError, match="elements.grid: not a flat observation"):
        StudentEyes(spec_of(), ["grid"], {"grid": ["x"]})
    with pytest.raises(UserError, match="elements.state: not among obs_keys"):
        StudentEyes(spec_of(), ["grid"], {"state": ["ee_"]})


def test_memories_are_those_of_torch_run_one_by_one() -> None:
    memories = Memories(2, 3, 4, torch.Generator().manual_seed(0))
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(1))
    out, (hidden, _) = memories(x)
    for index, cell in enumerate(memories.cells):
        expected, (last, _) = cell(x)
        torch.testing.assert_close(out[index], expected)
        torch.testing.assert_close(hidden[index], last[0])
    first, state = memories(x[:, :2])
    rest, _ = memories(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, rest], 2), out)


def test_actions_reach_the_bounds_of_the_environment() -> None:
    policy = make_policy(BOX)
    action = torch.tensor([[-1.0, -1.0], [0.0, 0.5], [1.0, 1.0]])
    expected = torch.tensor([[-2.0, 0.0], [0.0, 0.75], [2.0, 1.0]])
    torch.testing.assert_close(policy.to_env(action), expected)
    torch.testing.assert_close(policy.from_env(expected), action)
    with pytest.raises(UserError, match="sets no bounds"):
        make_policy(ArraySpec((2,)))


def test_students_begin_undecided() -> None:
    choices = make_policy().distribution(torch.randn(1, 7, 11, generator=torch.Generator().manual_seed(0)))
    assert (choices.probs - 0.25).abs().max() < 0.01
    box = make_policy(BOX).distribution(torch.randn(1, 7, 11))
    assert box.mode.abs().max() < 0.05


def test_draws_have_the_given_chances() -> None:
    chances = torch.tensor([0.1, 0.6, 0.3])
    rng = EpisodeRng(torch.arange(20_000))
    drawn = Choices(chances.log().expand(20_000, 3)).draw(rng)
    shares = torch.bincount(drawn, minlength=3) / 20_000
    assert (shares - chances).abs().max() < 0.02  # six deviations


@pytest.mark.parametrize("action", [CHOICES, BOX], ids=["choices", "box"])
@pytest.mark.parametrize("memory", [0, 4])
@pytest.mark.parametrize("greedy", [True, False])
def test_an_agents_actions_do_not_depend_on_its_neighbours(
    action: ArraySpec, memory: int, greedy: bool
) -> None:
    policy = make_policy(action, memory)
    many = StudentAgent(policy, 20, greedy=greedy)
    alone = StudentAgent(policy, 1, greedy=greedy)
    seeds = torch.arange(20)
    many.reset(torch.ones(20, dtype=torch.bool), seeds)
    alone.reset(torch.ones(1, dtype=torch.bool), seeds[17:18])
    for step in range(4):
        obs = obs_of(20, step)
        whole = many.next(obs)
        single = alone.next({key: value[17:18] for key, value in obs.items()})
        assert torch.equal(whole[17], single[0])


def test_a_memory_is_forgotten_where_an_episode_begins() -> None:
    policy = make_policy(memory=4)
    agent = StudentAgent(policy, 2)
    everywhere, seeds = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)
    agent.reset(everywhere, seeds)
    agent.next(obs_of(2))
    before = agent.state_dict()
    assert before["memory"].abs().amax((0, 1, 3)).gt(0).all() and before["previous"].sum() == 2
    agent.reset(torch.tensor([True, False]), seeds)
    after = agent.state_dict()
    assert not after["memory"][:, :, 0].any() and not after["previous"][0].any()
    assert torch.equal(after["memory"][:, :, 1], before["memory"][:, :, 1])


def test_the_driver_chooses_among_the_policies() -> None:
    policy = make_policy()
    with torch.no_grad():
        policy.heads.biases[-1][0, 0, 1] = 50.0
        policy.heads.biases[-1][1, 0, 3] = 50.0
    agent = StudentAgent(policy, 2)
    agent.driver = torch.tensor([0, 1])
    assert agent.next(obs_of(2)).tolist() == [[1], [3]]


@pytest.mark.parametrize("memory", [0, 4])
def test_an_agent_goes_on_exactly(memory: int) -> None:
    policy = make_policy(memory=memory)
    agent, other = (StudentAgent(policy, 3, greedy=False) for _ in range(2))
    agent.reset(torch.ones(3, dtype=torch.bool), torch.arange(3))
    agent.next(obs_of(3))
    other.load_state_dict(agent.state_dict())
    for step in range(5):
        assert torch.equal(agent.next(obs_of(3, step)), other.next(obs_of(3, step)))
