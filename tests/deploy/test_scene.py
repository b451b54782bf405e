"""How a simulated world stands goes from one process to another as numbers, and looks the same there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robofb.deploy.scene import MOST_NUMBERS, numbers_of, stand
from robofb.envs import make_task
from robofb.sim.mujoco_engine import MujocoEngine


@pytest.mark.parametrize(("name", "more"), [("one_leg_insert", 0), ("one_leg", 7)])
def test_numbers_are_all_that_a_picture_hangs_on(name: str, more: int) -> None:
    """Positions of all joints, and place and turn of a body that is moved from outside, in this order."""
    task = make_task(name)
    model = task.build()
    one, other = (MujocoEngine(model, 1, num_threads=1) for _ in range(2))
    draws = torch.Generator().manual_seed(0)
    one.field("qpos")[...] = torch.rand(1, model.nq, generator=draws, dtype=torch.float64)
    if more:
        one.field("mocap_pos")[0, 0] = torch.tensor([1.0, 2.0, 3.0])
        one.field("mocap_quat")[0, 0] = torch.tensor([0.0, 0.5, 0.25, 0.0])
    numbers = numbers_of(one)
    assert numbers.dtype == np.float64 and len(numbers) == model.nq + more <= MOST_NUMBERS
    np.testing.assert_array_equal(numbers[: model.nq], one.field("qpos")[0])
    assert numbers[model.nq :].tolist() == [1.0, 2.0, 3.0, 0.0, 0.5, 0.25, 0.0][:more]
    assert not np.array_equal(numbers_of(other), numbers)
    stand(other, numbers)
    np.testing.assert_array_equal(numbers_of(other), numbers)
    assert (other.field("mocap_quat")[0, :, 2] == 0.25).all()


def test_numbers_are_copies() -> None:
    engine = MujocoEngine(make_task("one_leg_insert").build(), 1, num_threads=1)
    numbers = numbers_of(engine)
    kept = numbers.copy()
    engine.field("qpos")[...] += 1.0
    np.testing.assert_array_equal(numbers, kept)
    stand(engine, numbers)
    engine.field("qpos")[...] += 1.0
    np.testing.assert_array_equal(numbers, kept)
