import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robofb.errors import UserError
from robofb.policies.schedule import DiffusionSchedule, leading_steps, squared_cosine_betas

PREDICTIONS = ("sample", "epsilon")


def any_network(noisy, step):
    """A smooth function of everything, of the size of a prediction."""
    mix = torch.randn(noisy.shape[-1], noisy.shape[-1], generator=torch.Generator().manual_seed(3))
    return torch.tanh(0.5 * noisy @ mix + 0.3 * noisy.mean(1, keepdim=True) + step[:, None, None] / 60)


def unit_noise(batch=5, horizon=8, action=3):
    return torch.randn(batch, horizon, action, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_steps", [1, 10, 100, 1000])
def test_betas_are_those_of_diffusers(num_steps):
    from diffusers import DDPMScheduler

    oracle = DDPMScheduler(num_steps, beta_schedule="squaredcos_cap_v2").betas
    assert torch.equal(squared_cosine_betas(num_steps), oracle)


def test_two_betas_by_hand():
    bar = [math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0.0, 0.5, 1.0)]
    assert bar[1] == pytest.approx(0.49377, abs=1e-5)
    expected = [1 - bar[1] / bar[0], 0.999]  # the last ratio is 0: capped
    torch.testing.assert_close(squared_cosine_betas(2), torch.tensor(expected))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("num_inference_steps", [1, 4, 7, 16, 100])
@pytest.mark.parametrize("clip", [1.0, 0.3])
def test_sampling_agrees_with_diffusers_ddim(prediction, num_inference_steps, clip):
    from diffusers import DDIMScheduler

    oracle = DDIMScheduler(
        100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        clip_sample=True,
        clip_sample_range=clip,
    )
    oracle.set_timesteps(num_inference_steps)
    expected = unit_noise()
    for step in oracle.timesteps:
        prediction_now = any_network(expected, step.expand(len(expected)))
        expected = oracle.step(prediction_now, step, expected, eta=0.0).prev_sample
    ours = DiffusionSchedule(
        prediction=prediction, num_train_steps=100, num_inference_steps=num_inference_steps, clip=clip
    )
    assert ours.steps.tolist() == oracle.timesteps.tolist()
    tolerance = 1e-5 if num_inference_steps < 100 else 1e-4  # float32 noise grows over 100 steps
    torch.testing.assert_close(ours.denoise(unit_noise(), any_network), expected, rtol=0, atol=tolerance)


def test_adding_noise_agrees_with_diffusers():
    from diffusers import DDPMScheduler

    oracle = DDPMScheduler(100, beta_schedule="squaredcos_cap_v2")
    sample, noise, step = unit_noise() / 3, unit_noise().flip(0), torch.tensor([0, 17, 50, 98, 99])
    ours = DiffusionSchedule(prediction="sample").add_noise(sample, noise, step)
    torch.testing.assert_close(ours, oracle.add_noise(sample, noise, step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(st.integers(0, 99), st.integers(0, 2**31))
def test_sample_and_noise_are_recovered_from_a_perfect_prediction(prediction, step, seed):
    schedule = DiffusionSchedule(prediction=prediction)
    generator = torch.Generator().manual_seed(seed)
    sample, noise = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    signal, level = schedule.signal[step].double(), schedule.noise_level[step].double()
    noisy = signal * sample + level * noise
    target = schedule.prediction.target(sample, noise)
    for coefficients, expected in (
        (schedule.prediction.to_sample, sample),
        (schedule.prediction.to_noise, noise),
    ):
        of_noisy, of_target = coefficients(signal, level)
        torch.testing.assert_close(of_noisy * noisy + of_target * target, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("num_inference_steps", [1, 4, 16])
def test_a_network_that_knows_the_answer_gets_it(prediction, num_inference_steps):
    schedule = DiffusionSchedule(prediction=prediction, num_inference_steps=num_inference_steps)
    answer = unit_noise().clamp(-0.9, 0.9)

    def oracle(noisy, step):
        signal, level = schedule.signal[step][:, None, None], schedule.noise_level[step][:, None, None]
        return schedule.prediction.target(answer, (noisy - signal * answer) / level)

    torch.testing.assert_close(schedule.denoise(unit_noise(), oracle), answer, rtol=0, atol=1e-4)


def test_steps_by_hand():
    assert leading_steps(100, 4).tolist() == [75, 50, 25, 0]
    assert leading_steps(100, 16).tolist() == list(range(90, -1, -6))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_samples_stay_within_the_clip(prediction):
    schedule = DiffusionSchedule(prediction=prediction, num_inference_steps=16, clip=0.5)
    sampled = schedule.denoise(unit_noise(batch=50), lambda noisy, step: 5 * torch.ones_like(noisy))
    assert sampled.abs().max().item() <= 0.5


def test_tables_stay_out_of_the_state_dict():
    assert DiffusionSchedule(prediction="sample").state_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prediction": "velocity"}, "'velocity' is unknown; valid: sample, epsilon"),
        ({"clip": 0}, "clip=0: needs a number above 0"),
        ({"clip": "wide"}, "clip=wide: needs a number above 0"),
        ({"prediction": "sample", "num_inference_steps": 0}, "num_inference_steps 0: valid are 1 to"),
        (
            {"prediction": "sample", "num_inference_steps": 101},
            r"101: valid are 1 to num_train_steps \(100\)",
        ),
    ],
)
def test_refuses_in_one_line(arguments, words):
    with pytest.raises(UserError, match=words):
        DiffusionSchedule(**arguments)
