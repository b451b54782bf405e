"""Random numbers that depend on an episode's seed alone, never on the batch it runs in.

Counter-based: draw k of row i is a hash of (seed_i, k), computed for all rows at once on any
device. So an episode repeats exactly in whatever batch, order or env slot it is run again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Indices under which the streams of one seed are derived, one for each purpose.
RESET_STREAM, SAMPLER_STREAM, TRAINING_STREAM, EXPERT_STREAM, WEIGHTS_STREAM, EXPLORATION_STREAM = range(1, 7)
SNIPPET_STREAM = 17  # of backward augmentation
PERTURBATION_STREAM = 18  # of a task that disturbs what it shows
DOMAIN_STREAM, POSE_NOISE_STREAM = 23, 24  # of physical constants and of noise on observed poses
VISUALS_STREAM = 25  # of light, colours, cameras and textures
TEACHER_STREAM = 32  # of answers that a teacher gives without knowing
BANK_STREAM, BANK_MAKING_STREAM = 41, 42  # of starts in a reset bank, and of making one

TASKS_STREAM, HELD_OUT_TASKS_STREAM = 51, 52  # of which tasks of a family are trained and judged on
DRAWN_TASKS_STREAM = 53  # of tasks that nobody has learnt, whose reward pays what others did
ACTIONS_STREAM = 56  # of choices that are made by chance
MIXTURES_STREAM, PROBES_STREAM = 54, 55  # of what a policy learns from, and of steps that tell tasks apart

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def splitmix64(x: Tensor) -> Tensor:
    """Hash int64 to int64, elementwise: the finaliser of SplitMix64 (Steele et al., 2014)."""
    x = x + _GOLDEN
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def derive_seeds(seed: int | Tensor, index: int | Tensor) -> Tensor:
    """Derive independent int64 seeds from a seed (scalar or (B,)) and an index (scalar or (B,)).

    The same pair always gives the same seed; use distinct indices for distinct purposes.
    """
    base = splitmix64(torch.as_tensor(seed, dtype=torch.int64))
    return splitmix64(base ^ torch.as_tensor(index, dtype=torch.int64).to(base.device))


class EpisodeRng:
    """Draw random numbers for B episodes, each from its own stream.

    Args:
        seeds: (B,) int64, one per row.
    """

    def __init__(self, seeds: Tensor) -> None:
        self._seed = seeds.to(torch.int64).clone()
        self._drawn = torch.zeros_like(self._seed)
        self._rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self._seed) if self._rows is None else len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where what is drawn lives."""
        return self._seed.device

    def reseed(self, rows: Tensor, seeds: Tensor) -> None:
        """Restart the streams of `rows` ((n,) int64 or (B,) bool) from `seeds` (n,)."""
        self._seed[rows] = seeds.to(self._seed)
        self._drawn[rows] = 0

    def take_over(self, rows: Tensor, other: EpisodeRng, other_rows: slice) -> None:
        """Go on in `rows` (n,) int64 with the streams that some rows of another one have come to."""
        self._seed[rows], self._drawn[rows] = other._seed[other_rows], other._drawn[other_rows]

    def select(self, rows: Tensor) -> EpisodeRng:
        """Return a view of some rows ((n,) int64): its draws advance those rows' streams here."""
        child = EpisodeRng.__new__(EpisodeRng)
        child._seed, child._drawn = self._seed, self._drawn
        child._rows = rows if self._rows is None else self._rows[rows]
        return child

    def _bits(self, count: int) -> Tensor:
        rows = slice(None) if self._rows is None else self._rows
        draw = self._drawn[rows, None] + torch.arange(count, device=self._seed.device)
        self._drawn[rows] += count
        return splitmix64(self._seed[rows, None] ^ splitmix64(draw))  # (B, count)

    def uniform(self, *shape: int) -> Tensor:
        """Return (B, *shape) float32 uniform in [0, 1)."""
        bits = self._bits(math.prod(shape))
        return (_shift_right(bits, 40).to(torch.float32) * 2.0**-24).reshape(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Return (B, *shape) float32 standard normal, by Box-Muller."""
        count = math.prod(shape)
        u = self.uniform(2, count)
        radius = torch.sqrt(-2.0 * torch.log1p(-u[:, 0]))
        return (radius * torch.cos(2.0 * math.pi * u[:, 1])).reshape(-1, *shape)

    def gumbel(self, *shape: int) -> Tensor:
        """Return (B, *shape) float32 standard Gumbel: log-chances + these are largest where chance has it."""
        return -torch.log(-torch.log(self.uniform(*shape).clamp(1e-7, 1 - 1e-7)))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the streams' positions, for a checkpoint."""
        return {"seed": self._seed.clone(), "drawn": self._drawn.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self._seed.copy_(state["seed"])
        self._drawn.copy_(state["drawn"])
