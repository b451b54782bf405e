"""How near beliefs in GridNavi come to Bayes' rule, a count there: one goal among the cells not yet seen.

python benchmarks/borel_posterior.py RUN [RUN ...] [--trials 20] [--no-save]

Runs are of `train borel task=grid_navi`. Their encoders follow mixtures of the logs they learnt from, and
the chances that the decoders read in the beliefs, in the mean of 32 latents, are compared with the exact ones
before the goal was seen, by how many cells were seen to be none: chances of these (0 is right), of the others
(1 over how many there are), and how many pairs of one of each are in the right order (half, by luck). A
belief is blind to a cell that keeps more than half of its chance once it was seen to be no goal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from borel_logs import compare_runs
from torch import Tensor

from robofb.envs.meta.grid_navi import GridNavi
from robofb.evaluate_belief import decoders_of
from robofb.loading import policy_of
from robofb.rl.borel.decoders import OutcomeDecoder
from robofb.rl.borel.relabel import TrialDraw
from robofb.rl.histories import Histories, Trials
from robofb.run import Run
from robofb.store.checks import check_same_spec

BINS = ((0, 1), (1, 4), (4, 8), (8, 12), (12, 16), (16, 20))  # cells seen to be no goal: from, below
SHOWN = (
    *(
        "seed",
        "compat",
        "mixed",
        "whole",
        "mixture_episodes",
        "piece",
        "early",
        "common_trials",
        "asked_steps",
    ),
    *("reader", "memory", "waves", "latent", "kl_weight", "belief_updates"),
)
_LATENTS, _SEED = 32, 5


class Posterior(NamedTuple):
    """What the steps of trials have shown, before the first one and after each.

    Attributes:
        seen: (M, T + 1, C) bool, a cell where a goal can be turned out to be none.
        found: (M, T + 1) bool, the goal was stood on.
    """

    seen: Tensor
    found: Tensor


def exact_of(trials: Trials, family: GridNavi) -> Posterior:
    """Return what trials (M) have shown of the C cells that can be goals."""
    ends_in = family.outcome(trials.next_obs)[..., None] == family.outcome(family.all_params())  # (M, T, C)
    paid = (trials.reward > 0)[..., None]
    none = torch.zeros_like(ends_in[:, :1])
    seen = torch.cat([none, (ends_in & ~paid).cumsum(1) > 0], 1)
    found = torch.cat([none, (ends_in & paid).cumsum(1) > 0], 1).any(-1)
    return Posterior(seen, found)


@torch.no_grad()
def read(run: Run, histories: Histories, trials: int) -> dict[str, Any]:
    """Return a row for each of `BINS` that has beliefs, and how many cells the belief is blind to."""
    family, generator = GridNavi(), torch.Generator().manual_seed(_SEED)
    checkpoint = run.load_checkpoint("latest")
    policy = policy_of(checkpoint)
    check_same_spec(policy.spec, family.spec.only(policy.spec.obs), f"the policy in {run.path}")
    decoder: OutcomeDecoder = decoders_of(checkpoint, policy, family)[0].decoder
    draw = TrialDraw(
        histories, family, checkpoint["episodes_per_trial"], mixed=1, whole=True, generator=generator
    )
    some = draw(histories.num_agents, trials)
    belief = policy.encoder(some)
    noise = torch.randn(_LATENTS, *belief.mean.shape, generator=generator)
    cells = family.outcome(family.all_params())
    chances = decoder.chances(belief.sample(noise)).mean(0)[..., cells]  # (M, T + 1, C)
    exact = exact_of(some, family)
    rows = [row for low, high in BINS if (row := judged(chances, exact, low, high))]
    return {"blind_cells": blind(chances, exact), "rows": rows}


def blind(chances: Tensor, exact: Posterior) -> int:
    """Return how many cells' chances (M, T + 1, C) keep more than half once seen, the goal not found."""
    said, seen = chances[~exact.found], exact.seen[~exact.found]
    left, before = (
        (said * which).sum(0) / which.sum(0).clamp_min(1) for which in (seen.float(), (~seen).float())
    )
    return int(((left > before / 2) & seen.any(0)).sum())


def judged(chances: Tensor, exact: Posterior, low: int, high: int) -> dict[str, Any]:
    """Return how chances (M, T + 1, C) compare where low..high-1 cells are seen; nothing where none are."""
    count = exact.seen.sum(-1)
    here = (count >= low) & (count < high) & ~exact.found
    if not here.any():
        return {}
    said, seen = chances[here], exact.seen[here]
    row = {"cells": [low, high - 1], "beliefs": len(said), "others": float(said[~seen].mean())}
    row["exact_others"] = float((1 / (~seen).sum(-1, keepdim=True)).expand_as(said)[~seen].mean())
    if high > 1:
        pairs = ~seen[:, :, None] & seen[:, None, :]
        right = (said[:, :, None] > said[:, None, :]) & pairs
        row |= {"seen": float(said[seen].mean()), "pairs_right": float(right.sum() / pairs.sum())}
    return row


def table(name: str, rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table of a run's rows."""
    lines = [
        name,
        "",
        "| cells seen | beliefs | chance of these | of the others | exact | pairs right |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["cells"]
        cells = f"{low}" if low == high else f"{low} to {high}"
        seen = f"{row['seen']:.3f}" if "seen" in row else ""
        pairs = f"{100 * row['pairs_right']:.0f} %" if "seen" in row else ""
        others = f"{row['others']:.3f} | {row['exact_others']:.3f}"
        lines.append(f"| {cells} | {row['beliefs']} | {seen} | {others} | {pairs} |")
    return "\n".join(lines) + "\n"


def text(path: Path, found: dict[str, Any]) -> str:
    """Return a run's table."""
    return table(f"{path}: blind to {found['blind_cells']} cells", found["rows"])


if __name__ == "__main__":
    compare_runs("borel_posterior", __doc__, 20, SHOWN, read, text)
