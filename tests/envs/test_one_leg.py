"""one_leg: its scene and its expert, from the lying leg to the screwed one."""

import math

import pytest
import torch
from assembled import assembled

from robofb.envs.furniture.one_leg import LEG, THREAD, OneLeg
from robofb.evaluate import evaluate
from robofb.geometry import quat_to_matrix
from robofb.sim.vec_env import SimVecEnv


def test_leg_lies_with_its_peg_towards_minus_y_and_the_hole_is_near_it():
    """The leg's axis points along +y; the hole at (60, 60) mm, turned by -90 degrees, is at (60, -60)."""
    task = OneLeg()
    leg = quat_to_matrix(task._start_quat[1])
    torch.testing.assert_close(leg[:, 2], torch.tensor([0.0, 1.0, 0.0]).double(), atol=1e-9, rtol=0)
    top = quat_to_matrix(task._start_quat[0])
    hole = top @ torch.tensor(task.leg_pair.socket_seat_m).double()
    torch.testing.assert_close(hole, torch.tensor([0.06, -0.06, 0.0]).double(), atol=1e-9, rtol=0)
    assert task._start_m[1, 2] == pytest.approx(LEG.width / 2)


def test_a_leg_that_only_stands_in_the_hole_is_not_assembled():
    """It rests on the thread's ledge, 7 mm too high: success needs the screw."""
    task = OneLeg()
    engine = assembled(task, (0.0, 0.0, THREAD.travel_m))
    engine.step(120)
    score = task.score(engine)
    assert score.success.item() is False and score.metrics["refused"].item() is False
    assert task._relations.measure(engine)[0].place[0, 0, 2].item() == pytest.approx(
        THREAD.travel_m, abs=5e-4
    )


def test_expert_screws_the_leg_in():
    env = SimVecEnv(OneLeg(), 8)
    result = evaluate(env.task.expert(8, 0.5), env, 8, seed=1)
    assert result.rate.successes >= 7
    assert result.metrics["part_overlap"][result.success].max() < 0.004
    assert (result.length[result.success] < 300).all()
    env.close()


def test_expert_turns_the_leg_to_the_right_as_it_sinks():
    """Over an episode the depth follows from the angle by the thread's pitch, to 1 %."""
    task = OneLeg()
    env = SimVecEnv(task, 1, autoreset=False)
    agent = task.expert(1, 0.0)
    obs = env.reset(0)
    agent.reset(torch.ones(1, dtype=torch.bool), env.episode_seed)
    thread = task._threads[0]
    course = []
    for _ in range(300):
        step = env.step(agent.next(obs))
        obs = step.obs
        if env.engine.field("eq_active")[0, thread._equality]:
            course.append(env.engine.field("qpos")[0, thread._q[:2]].clone())
        if step.terminated:
            break
    assert step.info["success"].item() is True
    slide, turn = torch.stack(course).unbind(-1)
    sunk, turned = slide[0] - slide[-1], turn[0] - turn[-1]
    assert turned > math.pi / 4
    assert sunk.item() == pytest.approx(THREAD.pitch_m * turned.item() / (2 * math.pi), rel=0.01)
    env.close()
