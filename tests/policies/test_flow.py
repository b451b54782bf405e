"""Flow matching against hand-worked numbers and a velocity field that is known in closed form."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from nets.test_transformer1d import SMALL as SMALL_TRANSFORMER
from scipy import stats as distributions

from policies.test_diffusion import SPEC, STATS, Remember, batch_of
from robofb.errors import UserError
from robofb.nets.mlp import MlpDenoiser
from robofb.nets.transformer1d import Transformer1D
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.executor import ChunkExecutor
from robofb.policies.flow import BetaTimes, FlowSchedule, LogitNormalTimes, UniformTimes
from robofb.rng import derive_seeds

CPU = torch.device("cpu")
MEAN, STD = 0.3, 0.2  # of the data that `exact_velocity` leads to


def exact_velocity(x, step):
    """E[sample - noise | x_t = x] where samples are normal, by the rule for conditional Gaussians."""
    t = (step / 100)[:, None, None]
    variance = (1 - t) ** 2 + (t * STD) ** 2
    return MEAN + (t * STD**2 - (1 - t)) / variance * (x - t * MEAN)


def unit_noise(batch=2000):
    return torch.randn(batch, 4, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("num_calls", "midpoint", "error"), [(320, False, 0.01), (40, True, 3e-4)])
def test_the_exact_field_leads_to_the_data(num_calls, midpoint, error):
    """The exact flow takes a noise to MEAN + STD * noise, so the samples have the data's moments."""
    schedule = FlowSchedule(num_inference_steps=num_calls, midpoint=midpoint, clip=math.inf)
    sampled = schedule.denoise(unit_noise(), exact_velocity)
    torch.testing.assert_close(sampled, MEAN + STD * unit_noise(), rtol=0, atol=error)
    assert sampled.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert sampled.std().item() == pytest.approx(STD, rel=0.02)


@pytest.mark.parametrize(("midpoint", "order"), [(False, 1), (True, 2)])
def test_halving_the_step_shrinks_the_error_by_the_rules_order(midpoint, order):
    """dx/dt = x + t leads from x to (x + 1) e - 2."""
    noise = unit_noise(10).double()
    errors = []
    for num_calls in (20, 40, 80):
        schedule = FlowSchedule(num_inference_steps=num_calls, midpoint=midpoint, clip=math.inf)
        found = schedule.denoise(noise, lambda x, step: x + step[:, None, None] / 100)
        errors.append((found - ((noise + 1) * math.e - 2)).abs().max().item())
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.1)


def test_one_call_by_hand():
    # From x = 0.5 with velocity -0.2: to 0.5 + 1 * -0.2.
    schedule = FlowSchedule(num_inference_steps=1)
    sampled = schedule.denoise(torch.full((3, 4, 2), 0.5), lambda x, step: torch.full_like(x, -0.2))
    torch.testing.assert_close(sampled, torch.full((3, 4, 2), 0.3))


def test_two_calls_by_hand():
    """The velocity x + step / 100 from x = 0.2.

    Euler: 0.2 + 0.5 * 0.2 = 0.3 at t = 0.5, then 0.3 + 0.5 * (0.3 + 0.5) = 0.7.
    Midpoint: the middle is at 0.3 too, where the velocity is 0.8; 0.2 + 1 * 0.8 = 1.0.
    """
    seen = []

    def velocity(x, step):
        seen.append((round(x[0, 0, 0].item(), 6), step.tolist()))
        return x + step[:, None, None] / 100

    for midpoint, expected in ((False, 0.7), (True, 1.0)):
        seen.clear()
        schedule = FlowSchedule(num_inference_steps=2, midpoint=midpoint, clip=5.0)
        sampled = schedule.denoise(torch.full((2, 4, 2), 0.2), velocity)
        torch.testing.assert_close(sampled, torch.full((2, 4, 2), expected))
        assert seen == [(0.2, [0.0, 0.0]), (0.3, [50.0, 50.0])]
        assert schedule.steps.tolist() == [0.0, 50.0]


def test_the_predicted_sample_is_clipped_at_every_call():
    # From 0 with velocity 3: the sample ahead is 3, clipped to 1; half way there, then there.
    seen = []
    schedule = FlowSchedule(num_inference_steps=2, clip=1.0)
    schedule.denoise(torch.zeros(1, 1, 1), lambda x, step: seen.append(x.item()) or torch.full_like(x, 3.0))
    assert seen == [0.0, 0.5]


@pytest.mark.parametrize("midpoint", [False, True])
@pytest.mark.parametrize("num_calls", [2, 4, 6, 10])
def test_a_network_that_knows_the_answer_gets_it_and_stays_within_the_clip(num_calls, midpoint):
    answer = unit_noise(5).flip(0).clamp(-0.9, 0.9)
    schedule = FlowSchedule(num_inference_steps=num_calls, midpoint=midpoint)
    found = schedule.denoise(unit_noise(5), lambda x, step: (answer - x) / (1 - step[:, None, None] / 100))
    torch.testing.assert_close(found, answer, rtol=0, atol=1e-4)
    knows = FlowSchedule(prediction="sample", num_inference_steps=num_calls, midpoint=midpoint)
    found = knows.denoise(unit_noise(5), lambda x, step: answer)
    torch.testing.assert_close(found, answer, rtol=0, atol=1e-4)
    wild = schedule.denoise(unit_noise(50), lambda x, step: 9 * torch.randn(x.shape).to(x))
    assert wild.abs().max().item() <= 1.0


def test_the_line_by_hand():
    schedule = FlowSchedule()
    sample, noise = torch.full((3, 4, 2), 0.8), torch.full((3, 4, 2), -0.4)
    points = schedule.add_noise(sample, noise, torch.tensor([0.0, 25.0, 100.0]))
    torch.testing.assert_close(points[:, 0, 0], torch.tensor([-0.4, -0.1, 0.8]))
    torch.testing.assert_close(schedule.target(sample, noise), torch.full((3, 4, 2), 1.2))
    assert torch.equal(FlowSchedule(prediction="sample").target(sample, noise), sample)


def test_loss_by_hand():
    policy = DiffusionPolicy(SPEC, Remember, schedule=FlowSchedule, horizon=4, execute=2)
    policy.set_stats(STATS)
    action = torch.tensor([[[4.0, 11.0]] * 4, [[2.0, 12.0]] * 4])  # normalised (1, 0) and (0, 1)
    sample = torch.tensor([[[1.0, 0.0]] * 4, [[0.0, 1.0]] * 4])
    loss, _ = policy.loss(batch_of(action), torch.Generator().manual_seed(0))
    t = policy.denoiser.steps[:, None, None] / 100
    noise = (policy.denoiser.noisy - t * sample) / (1 - t)
    assert 0.5 < noise.std().item() < 1.5
    assert loss.item() == pytest.approx((0.25 - (sample - noise)).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("times", "distribution"),
    [
        (UniformTimes(), distributions.uniform()),
        (BetaTimes(alpha=1.0, latest=1.0), distributions.uniform()),
        # 1 - b of Beta(1.5, 1) is Beta(1, 1.5)
        (BetaTimes(), distributions.beta(1, 1.5, scale=0.999)),
        (BetaTimes(alpha=3.0, latest=0.5), distributions.beta(1, 3, scale=0.5)),
    ],
)
def test_times_have_their_distribution(times, distribution):
    drawn = times(20_000, torch.Generator().manual_seed(0), CPU)
    assert drawn.dtype == torch.float32
    assert distributions.kstest(drawn.numpy(), distribution.cdf).pvalue > 0.01


def test_logit_normal_times_have_normal_logits():
    drawn = LogitNormalTimes(mean=-0.5, std=0.8)(20_000, torch.Generator().manual_seed(0), CPU)
    assert distributions.kstest(torch.logit(drawn).numpy(), "norm", (-0.5, 0.8)).pvalue > 0.01


def test_steps_are_times_on_the_networks_scale_drawn_from_the_generator_alone():
    schedule = FlowSchedule(times=partial(BetaTimes, latest=0.5))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = (schedule.draw_steps(1000, torch.Generator().manual_seed(3), CPU) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert 45 < first.max().item() <= 50


@pytest.mark.parametrize(
    "network",
    [partial(MlpDenoiser, width=16, num_blocks=1), partial(Transformer1D, **SMALL_TRANSFORMER)],
)
@pytest.mark.parametrize("schedule", [None, FlowSchedule])
def test_an_episodes_actions_do_not_depend_on_how_many_run_beside_it(network, schedule):
    torch.manual_seed(0)
    policy = DiffusionPolicy(SPEC, network, schedule=schedule, horizon=4, execute=2)
    policy.set_stats(STATS)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    seeds = derive_seeds(7, torch.arange(40))
    state = torch.rand(40, 2, generator=torch.Generator().manual_seed(2))

    def actions(rows):
        executor = ChunkExecutor(policy.eval(), len(rows))
        executor.reset(torch.ones(len(rows), dtype=torch.bool), seeds[rows])
        return torch.stack([executor.next({"state": state[rows]}) for _ in range(4)])

    everyone = actions(torch.arange(40))
    for rows in (torch.tensor([17]), torch.tensor([39, 0, 17])):
        assert torch.equal(actions(rows), everyone[:, rows])


def test_tables_stay_out_of_the_state_dict():
    assert FlowSchedule().state_dict() == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(FlowSchedule, num_inference_steps=0), "num_inference_steps=0: needs at least 1"),
        (partial(FlowSchedule, num_inference_steps=3, midpoint=True), "=3: .* even number with midpoint"),
        (partial(FlowSchedule, prediction="noise"), "'noise' is unknown; valid: velocity, sample"),
        (partial(FlowSchedule, clip=-1.0), "clip=-1.0: needs a number above 0"),
        (partial(BetaTimes, alpha=0), "alpha=0"),
        (partial(BetaTimes, latest=1.5), "latest=1.5"),
        (partial(LogitNormalTimes, std=0), "std=0"),
        (
            partial(DiffusionPolicy, SPEC, Remember, schedule=FlowSchedule, prediction="sample", clip=2.0),
            "prediction, clip: of DDIM; a policy with a `schedule`",
        ),
    ],
)
def test_refuses_in_one_line(make, words):
    with pytest.raises(UserError, match=words) as error:
        make()
    assert "\n" not in str(error.value)
