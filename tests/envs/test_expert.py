"""The expert that follows a plan: speeds, ends of moves, errors; a toy arm that goes where it is told."""

import math
from dataclasses import dataclass

import pytest
import torch

from robofb.envs.furniture.expert import (
    AIM_ERROR_M,
    GRASP_ERROR_M,
    LONGEST_HESITATION,
    MOST_DEVIATIONS,
    SLOWEST,
    PlanExpert,
)
from robofb.envs.furniture.moves import OPEN, GoTo, Move, Relax, Shift, Target, Wait
from robofb.envs.furniture.one_leg import OneLeg
from robofb.geometry import rotvec_to_matrix
from robofb.sim.vec_env import SimVecEnv

NAMES = (*(f"ee_pos_base_{axis}" for axis in "xyz"), *(f"ee_rot6d_base_{index}" for index in range(6)))
LEVEL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def play(plan, steps, noise=0.0, num_envs=1, seeds=None, start=(0.0, 0.0, 0.0)):
    """Return the phases and the commands (steps, B, 10) of an arm that is where it was told to be."""
    agent = PlanExpert(num_envs, plan, NAMES, (), noise)
    seeds = torch.arange(num_envs) if seeds is None else seeds
    agent.reset(torch.ones(num_envs, dtype=torch.bool), seeds)
    state = torch.tensor([*start, *LEVEL]).repeat(num_envs, 1)
    phases, commands = [], []
    for _ in range(steps):
        phases.append(agent.phase.clone())
        action = agent.next({"state": state})
        commands.append(action)
        state = action[:, :9]
    return torch.stack(phases), torch.stack(commands)


def test_moves_at_its_speed_and_stops_at_the_target():
    """0.2 m/s at 10 Hz: 2 cm a step, so 5 cm take three."""
    _, commands = play([Shift(by_m=(0.05, 0.0, 0.0), tolerance_m=0.0, most=99)], 5)
    torch.testing.assert_close(commands[:, 0, 0], torch.tensor([0.02, 0.04, 0.05, 0.05, 0.05]))
    assert (commands[:, 0, 9] == 1.0).all()


def test_turns_at_its_speed():
    """1.6 rad/s: 0.16 rad a step, 0.4 rad in three."""
    turned = rotvec_to_matrix(torch.tensor([0.0, 0.0, 0.4]))
    _, commands = play([GoTo(place_m=(0, 0, 0), rotation=turned, tolerance_m=0.0, most=99)], 4)
    angles = torch.atan2(commands[:, 0, 4], commands[:, 0, 3])
    torch.testing.assert_close(angles, torch.tensor([0.16, 0.32, 0.4, 0.4]), atol=1e-5, rtol=0)


def test_goes_on_when_it_is_there_and_when_time_is_up():
    far = Shift(by_m=(9.0, 0.0, 0.0), most=3)
    near = Shift(by_m=(0.0, 0.03, 0.0), gripper=OPEN, tolerance_m=0.004)
    phases, commands = play([far, Wait(least=2, most=2), near, Wait()], 16)
    runs = torch.unique_consecutive(phases[:, 0], return_counts=True)
    # far: steps 0..3; wait: 0..2; near: measured 30, 10, 0 mm away
    assert runs[0].tolist() == [0, 1, 2, 3]
    assert runs[1].tolist()[:3] == [4, 3, 3]
    assert (commands[7:10, 0, 9] == -1.0).all()
    assert phases[-1].item() == 3  # the last move is repeated


@dataclass(frozen=True, kw_only=True)
class Never(Move):
    """A move that is there at once and whose check never passes."""

    def target(self, scene):
        return Target(scene.start, torch.zeros(len(scene.start.position)))


def test_goes_back_where_a_check_fails():
    fails = Never(check=lambda scene: torch.zeros(len(scene.tcp.position), dtype=torch.bool), back=1)
    phases, _ = play([Wait(least=1, most=1), fails, Wait()], 12)
    runs = torch.unique_consecutive(phases[:, 0])
    assert runs.tolist() == [0, 1] * 3


def test_a_check_decides_row_by_row():
    check = Never(check=lambda scene: scene.tcp.position[:, 0] > 0.5, back=1)
    agent = PlanExpert(2, [Wait(least=1, most=1), check, Wait()], NAMES, (), 0.0)
    agent.reset(torch.ones(2, dtype=torch.bool), torch.arange(2))
    state = torch.tensor([[0.0, 0, 0, *LEVEL], [1.0, 0, 0, *LEVEL]])
    for _ in range(6):
        agent.next({"state": state})
    assert agent.phase[0] < 2 and agent.phase[1] == 2


def test_without_noise_all_episodes_are_alike():
    _, commands = play([Shift(by_m=(0.3, 0.0, 0.0)), Relax()], 30, num_envs=3)
    assert torch.equal(commands[:, 0], commands[:, 1]) and torch.equal(commands[:, 0], commands[:, 2])


def test_errors_are_as_large_as_they_say():
    """Over 4,000 hands: standard deviations (cut at two of them, which leaves 0.88), and speeds."""
    agent = PlanExpert(4000, [Wait()], NAMES, (), 1.0)
    agent.reset(torch.ones(4000, dtype=torch.bool), torch.arange(4000))
    clipped = 0.9595  # standard deviation of a normal clipped at two, both tails put onto the limits
    torch.testing.assert_close(
        agent._grasp_error.std(0), torch.tensor(GRASP_ERROR_M) * clipped, rtol=0.05, atol=1e-9
    )
    assert agent._aim_error.std().item() == pytest.approx(AIM_ERROR_M * clipped, rel=0.05)
    assert agent._aim_error.abs().max().item() <= MOST_DEVIATIONS * AIM_ERROR_M + 1e-9
    assert agent._speed.min() >= SLOWEST and agent._speed.max() <= 1.0
    assert agent._speed.mean().item() == pytest.approx((1 + SLOWEST) / 2, abs=0.01)


def test_hesitates_in_its_share_of_the_moves():
    """35 % of the moves end in a rest of one to three steps; the command stands still then, but for drift."""
    agent = PlanExpert(4000, [Wait(least=1, most=1), Wait(least=50, most=50)], NAMES, (), 1.0)
    agent.reset(torch.ones(4000, dtype=torch.bool), torch.arange(4000))
    state = torch.tensor([0.0, 0, 0, *LEVEL]).repeat(4000, 1)
    for _ in range(2):
        agent.next({"state": state})
    assert (agent.phase == 1).all()
    share = (agent._pause > 0).float().mean().item()
    assert share == pytest.approx(0.35, abs=0.03)
    assert agent._pause.max().item() == LONGEST_HESITATION


def test_hand_wanders_by_its_drift():
    """An AR(1) of standard deviation 1.2 mm, correlation 0.8 from step to step."""
    _, commands = play([Wait(least=10**6, most=10**6)], 60, noise=1.0, num_envs=2000)
    drift = commands[..., :3]
    late, later = drift[-2].flatten(), drift[-1].flatten()
    assert late.std().item() == pytest.approx(0.0012, rel=0.05)
    assert torch.corrcoef(torch.stack([late, later]))[0, 1].item() == pytest.approx(0.8, abs=0.02)
    _, steady = play([Wait(least=10**6, most=10**6, wander=0.5)], 60, noise=1.0, num_envs=2000)
    torch.testing.assert_close(steady[..., :3], 0.5 * drift, atol=1e-7, rtol=1e-4)


def test_an_episode_does_not_depend_on_the_others():
    plan = [Shift(by_m=(0.1, 0.0, 0.0)), Wait(), Shift(by_m=(0.0, 0.1, 0.0)), Relax()]
    seeds = torch.tensor([5, 6, 7, 8])
    _, together = play(plan, 40, noise=1.0, num_envs=4, seeds=seeds)
    _, alone = play(plan, 40, noise=1.0, num_envs=1, seeds=seeds[2:3])
    torch.testing.assert_close(together[:, 2], alone[:, 0], atol=1e-6, rtol=0)


def test_reset_of_one_env_leaves_the_others():
    env = SimVecEnv(OneLeg(), 2)
    agents = [env.task.expert(2, 1.0) for _ in range(2)]
    obs = env.reset(0)
    for agent in agents:
        agent.reset(torch.ones(2, dtype=torch.bool), torch.tensor([1, 2]))
    for _ in range(15):
        for agent in agents:
            agent.next(obs)
    agents[0].reset(torch.tensor([True, False]), torch.tensor([9, 9]))
    after = [agent.next(obs) for agent in agents]
    assert torch.equal(after[0][1], after[1][1])
    assert not torch.equal(after[0][0], after[1][0])
    assert agents[0].phase[0] == 0


def test_first_command_is_where_the_arm_stands():
    _, commands = play([Wait()], 1, start=(0.3, 0.1, 0.2))
    torch.testing.assert_close(commands[0, 0], torch.tensor([0.3, 0.1, 0.2, *LEVEL, 1.0]))
    assert math.isfinite(commands.sum())
