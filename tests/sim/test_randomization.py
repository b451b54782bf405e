"""Ranges of physical constants: what they refuse, and how episodes get theirs."""

import mujoco
import pytest
import torch

from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.errors import UserError
from robofb.rng import DOMAIN_STREAM, EpisodeRng, derive_seeds
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.randomization import DomainRandomization, free_bodies
from robofb.sim.vec_env import SimVecEnv

RANGES = DomainRandomization(mass=(0.8, 1.25), friction=(0.5, 1.5), gain=(0.9, 1.1), gravity=(0.9, 1.1))
FIELDS = ("body_mass", "geom_friction", "actuator_gainprm", "opt.gravity")


def engine(model, num_worlds, randomization=RANGES):
    return MujocoEngine(model, num_worlds, num_threads=1, randomization=randomization)


@pytest.mark.parametrize(
    "bad", [(1.2, 0.8), (0.0, 1.0), (-1.0, 1.0), (1.0,), (1.0, float("inf")), (1.0, float("nan"))]
)
def test_bad_ranges_are_refused_by_name(bad):
    with pytest.raises(UserError, match=r"friction=\[.*\]: needs two factors above 0"):
        DomainRandomization(friction=bad)


def test_only_free_bodies_change_their_mass():
    model = OneLegInsert().build()
    assert [model.body(index).name for index in free_bodies(model).tolist()] == ["leg", "top"]


def test_factors_are_uniform_in_their_ranges():
    """4,000 draws: mean 1.25 and standard deviation 1.5 / sqrt(12), each to three standard errors."""
    draws = DomainRandomization._factors(EpisodeRng(derive_seeds(0, torch.arange(4000))), (0.5, 2.0), 1)
    assert 0.5 <= draws.min() < 0.51 and 1.99 < draws.max() < 2.0
    assert draws.mean().item() == pytest.approx(1.25, abs=3 * 0.433 / 4000**0.5)
    assert draws.std().item() == pytest.approx(1.5 / 12**0.5, abs=0.01)


def test_one_range_does_not_move_the_draws_of_another():
    model = OneLegInsert().build()
    only = engine(model, 2, DomainRandomization(gravity=(0.9, 1.1)))
    every = engine(model, 2)
    for each in (only, every):
        each.randomize(torch.arange(2), EpisodeRng(derive_seeds(3, torch.arange(2))))
    assert torch.equal(only.model_field("opt.gravity"), every.model_field("opt.gravity"))


def test_episodes_have_their_constants_whatever_the_number_of_envs():
    """Episode 5 in three envs, after some were over, and in six envs: drawn from its seed alone."""
    few, many = SimVecEnv(OneLegInsert(), 3, engine), SimVecEnv(OneLegInsert(), 6, engine)
    many.reset(7)
    few.reset(7)
    few._start(torch.tensor([2, 0, 1]))  # episodes 3, 4, 5
    assert few.episode.tolist() == [4, 5, 3]
    for field in FIELDS:
        assert torch.equal(few.engine.model_field(field)[1], many.engine.model_field(field)[5]), field
    plain = SimVecEnv(OneLegInsert(), 6)
    plain.reset(7)
    assert torch.equal(plain.engine.field("qpos"), many.engine.field("qpos"))  # starts stay what they were


def test_a_repeated_episode_runs_as_it_did_before_in_a_model_that_mujoco_would_compile_so():
    env = SimVecEnv(OneLegInsert(), 2, engine)
    env.reset(1)
    seeds = env.episode_seed.clone()
    action = torch.cat([env.task.observe(env.engine)["state"][:, :9], torch.ones(2, 1)], -1)
    after = [env.step(action).obs["state"] for _ in range(3)][-1]
    env.reset(2)
    env.repeat(seeds)
    assert torch.equal([env.step(action).obs["state"] for _ in range(3)][-1], after)
    draws = EpisodeRng(derive_seeds(seeds[:1], DOMAIN_STREAM)).uniform(2)[0].double()
    model = OneLegInsert().build()
    bodies = free_bodies(model).numpy()
    factor = (0.8 + (1.25 - 0.8) * draws).numpy()
    model.body_mass[bodies] *= factor
    model.body_inertia[bodies] *= factor[:, None]
    mujoco.mj_setConst(model, mujoco.MjData(model))
    for field in ("body_mass", "body_inertia", "body_subtreemass", "body_invweight0", "dof_invweight0"):
        expected = torch.from_numpy(getattr(model, field))
        torch.testing.assert_close(env.engine.model_field(field)[0], expected, rtol=1e-6, atol=0)
