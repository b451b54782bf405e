"""Time of one chunk from a frozen policy against the plain scheduler loop.

python benchmarks/policy.py [--threads 1] [--budget-s 2] [--unet-batch-sizes 1 64]

The plain loop is that of diffusers' documentation: set_timesteps, then for every timestep the network and
DDIMScheduler.step. Network, normalisation and numbers are the same; both end in environment units, and
their results are compared first. `ratio_batch1` is the quickstart's policy with 4 steps at batch 1.
`ratio_batch1024_bfloat16` is the same at batch 1,024 with `base_precision=bfloat16`, which rounds; the plain
loop stays in float32. Ours is timed as it acts: through `ChunkExecutor`, which calls networks in whole tiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from diffusers import DDIMScheduler
from results import save_result
from timing import medians_in_turns
from torch import Tensor
from tqdm import tqdm

from robofb.nets.mlp import MlpDenoiser
from robofb.nets.unet1d import UNet1D
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.executor import ChunkExecutor
from robofb.rng import EpisodeRng, derive_seeds
from robofb.types import ArraySpec, EnvSpec

SPEC = EnvSpec(
    task="one_leg_sizes",
    obs={"state": ArraySpec((58,))},
    action=ArraySpec((10,)),
    control_dt=0.1,
    max_steps=700,
)
POLICIES = {
    "mlp": partial(DiffusionPolicy, denoiser=MlpDenoiser, horizon=16, prediction="sample"),
    "unet": partial(DiffusionPolicy, denoiser=UNet1D, horizon=32, prediction="epsilon"),
}
MLP_BATCH_SIZES, INFERENCE_STEPS = (1, 64, 1024), (4, 16)


def make_policy(name: str, num_inference_steps: int) -> DiffusionPolicy:
    """Build a frozen policy; its random weights cost what trained ones do."""
    torch.manual_seed(0)
    policy = POLICIES[name](SPEC, num_inference_steps=num_inference_steps)
    policy.set_stats({key: _unit_stats(size) for key, size in (("state", 58), ("action", 10))})
    for parameter in policy.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return policy.eval().requires_grad_(False)


def _unit_stats(size: int) -> dict[str, Tensor]:
    low, high = -2 * torch.ones(size), torch.ones(size)
    return {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4}


@torch.no_grad()
def plain_sampling(
    policy: DiffusionPolicy, scheduler: DDIMScheduler, num_inference_steps: int, state: Tensor, noise: Tensor
) -> Tensor:
    """Sample as diffusers' documentation does."""
    cond = policy.normalizer(state, "state").flatten(1)
    sample = noise
    scheduler.set_timesteps(num_inference_steps)
    for timestep in scheduler.timesteps:
        prediction = policy.denoiser(sample, timestep.expand(len(sample)), cond)
        sample = scheduler.step(prediction, timestep, sample).prev_sample
    return policy.normalizer.inverse(sample, "action")


def compare(name: str, num_inference_steps: int, batch_size: int, budget_s: float) -> dict[str, float]:
    """Return the time of one chunk for every row of a batch, plain and ours [ms], and their ratio."""
    policy = make_policy(name, num_inference_steps)
    scheduler = DDIMScheduler(
        100, beta_schedule="squaredcos_cap_v2", prediction_type=POLICIES[name].keywords["prediction"]
    )
    state = torch.randn(batch_size, 1, 58)
    rng = EpisodeRng(derive_seeds(0, torch.arange(batch_size)))
    streams = rng.state_dict()
    noise = rng.normal(policy.horizon, 10)
    rng.load_state_dict(streams)
    plain = partial(plain_sampling, policy, scheduler, num_inference_steps, state)
    torch.testing.assert_close(policy.act({"state": state}, rng), plain(noise), rtol=1e-4, atol=1e-4)

    executor = ChunkExecutor(policy, batch_size, tile=1 if batch_size == 1 else None)
    executor.reset(torch.ones(batch_size, dtype=torch.bool), torch.arange(batch_size))

    def ours() -> Tensor:
        executor.replan()
        return executor.next({"state": state[:, 0]})

    def in_bfloat16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return ours()

    ways: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: plain(torch.randn(batch_size, policy.horizon, 10)),
        "ours": ours,
        "bfloat16": in_bfloat16,
    }
    seconds = medians_in_turns(ways, budget_s=budget_s)
    figures = {f"{way}_ms": 1e3 * seconds[way] for way in ways}
    ratios = {"ratio": seconds["plain"] / seconds["ours"]}
    return {**figures, **ratios, "ratio_bfloat16": seconds["plain"] / seconds["bfloat16"]}


def main() -> None:
    """Measure, print one JSON line and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch; a robot acts at batch 1, where one is best"
    )
    parser.add_argument("--budget-s", type=float, default=2, help="time for each combination")
    parser.add_argument(
        "--unet-batch-sizes", type=int, nargs="+", default=[1, 64], help="1024 takes minutes on a CPU"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batch_sizes = {"mlp": MLP_BATCH_SIZES, "unet": options.unet_batch_sizes}
    cells = [
        (name, steps, size) for name in POLICIES for steps in INFERENCE_STEPS for size in batch_sizes[name]
    ]
    figures = {
        f"{name}_ddim{steps}_batch{size}": compare(name, steps, size, options.budget_s)
        for name, steps, size in tqdm(cells, desc="sampling", mininterval=0.5, disable=None)
    }
    headline = {
        "ratio_batch1": figures["mlp_ddim4_batch1"]["ratio"],
        "ratio_batch1_unet": figures["unet_ddim16_batch1"]["ratio"],
        "ratio_batch1024": figures["mlp_ddim4_batch1024"]["ratio"],
        "ratio_batch1024_bfloat16": figures["mlp_ddim4_batch1024"]["ratio_bfloat16"],
    }
    save_result("policy", {**headline, "threads": torch.get_num_threads(), "chunks": figures})


if __name__ == "__main__":
    main()
