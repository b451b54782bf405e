"""How near beliefs in PointRobotSparse come to Bayes' rule, on a grid of goals along the half circle.

python benchmarks/borel_arc.py RUN [RUN ...] [--trials 6] [--no-save]

Runs are of `train borel task=point_robot_sparse`. Their encoders follow mixtures of the logs they learnt
from, in tasks evenly along the half circle, and what the decoder expects to be paid at 13 places on it, in
the mean of 8 latents, is compared with what the goals that are still possible would pay there: before the
goal was found, where it has to tell where the goal is not, and after. Last line: one JSON line.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from borel_logs import compare_runs
from torch import Tensor

from robofb.envs.meta.point_robot_sparse import REACH_M, PointRobotSparse
from robofb.evaluate_belief import decoders_of
from robofb.loading import policy_of
from robofb.rl.borel.decoders import RewardDecoder
from robofb.rl.borel.mixtures import Mixing, MixtureDraw
from robofb.rl.histories import Histories, Trials
from robofb.run import Run
from robofb.store.checks import check_same_spec

SHOWN = (
    *("seed", "reader", "memory", "waves", "latent", "kl_weight", "common_trials", "asked_steps"),
    *("belief_tasks", "belief_trials", "belief_lr", "belief_updates"),
)
GOALS, TASKS_EVERY, PLACES_EVERY = 73, 4, 6
MIXING = Mixing(episodes=3, piece=10)
_LATENTS, _SEED = 8, 5


def goals() -> Tensor:
    """Return goals (G, 2) every 2.5 degrees of the half circle."""
    angle = torch.linspace(0, math.pi, GOALS)
    return torch.stack([angle.cos(), angle.sin()], -1)


def possible(trials: Trials, where: Tensor) -> Tensor:
    """Return (M, T + 1, G) bool: which goals (G, 2) are left before the first step and after each."""
    near = (trials.next_obs[:, :, None] - where).norm(dim=-1) <= REACH_M
    fits = near == (trials.reward > 0)[..., None]
    return torch.cat([torch.ones_like(fits[:, :1]), fits.cumprod(1).bool()], 1)


def expected_pay(left: Tensor, where: Tensor, places: Tensor) -> Tensor:
    """Return (M, T + 1, P): chances that a step to places (P, 2) pays, goals `left` being as likely."""
    pays = ((places[:, None] - where).norm(dim=-1) <= REACH_M).float()  # (P, G)
    chance = left.float() / left.sum(-1, keepdim=True).clamp_min(1)
    return chance @ pays.T


@torch.no_grad()
def read(run: Run, histories: Histories, trials: int) -> dict[str, Any]:
    """Return how a run's belief compares, before the goal was found and after."""
    family, generator = PointRobotSparse(), torch.Generator().manual_seed(_SEED)
    checkpoint = run.load_checkpoint("latest")
    policy = policy_of(checkpoint)
    check_same_spec(policy.spec, family.spec.only(policy.spec.obs), f"the policy in {run.path}")
    decoder: RewardDecoder = decoders_of(checkpoint, policy, family)[0].decoder
    where = goals()
    tasks, places = where[::TASKS_EVERY], where[::PLACES_EVERY]
    some = MixtureDraw(histories, family, tasks, MIXING, generator)(len(tasks), trials)
    belief = policy.encoder(some)
    seen = policy.encoder.places(places)[None].expand(len(some.obs), -1, -1)
    noise = torch.randn(_LATENTS, *belief.mean.shape, generator=generator)
    told = torch.stack([decoder.net(belief.sample(each), seen) for each in noise]).mean(0) / decoder.scale
    left = possible(some, where)
    exact = expected_pay(left, where, places)
    paid = (some.reward > 0).cumsum(1) > 0
    found = torch.cat([torch.zeros_like(paid[:, :1]), paid], 1)
    there = left.any(-1)  # a goal between those of the grid may be left alone
    return {"before": compared(told, exact, ~found & there), "after": compared(told, exact, found & there)}


def compared(told: Tensor, exact: Tensor, which: Tensor) -> dict[str, float]:
    """Return how told chances (M, T + 1, P) compare with exact ones in `which` (M, T + 1) beliefs."""
    told, exact = told[which].flatten(), exact[which].flatten()
    return {
        "beliefs": int(which.sum()),
        "correlation": float(torch.corrcoef(torch.stack([told, exact]))[0, 1]),
        "rms_error": float((told - exact).square().mean().sqrt()),
        "exact_deviation": float(exact.std()),
    }


def text(path: Path, found: dict[str, Any]) -> str:
    """Return a line for before the goal was found, and one for after."""
    return "\n".join(
        f"{path}: {when} the goal was found, correlation {row['correlation']:.2f}, error"
        f" {row['rms_error']:.3f} of {row['exact_deviation']:.3f}, {row['beliefs']} beliefs"
        for when, row in found.items()
    )


if __name__ == "__main__":
    compare_runs("borel_arc", __doc__, 6, SHOWN, read, text)
