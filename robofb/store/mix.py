"""How often each training window is drawn: shares of datasets, factors of who acted."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.types import SOURCE_NAMES

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mix:
    """Weigh windows by dataset and by the source of their first action.

    A window's chance is its source's factor, scaled within its dataset so that the dataset as a whole
    gets its share. With shares (3, 1), a dataset of 2 windows and one of 4 get chances 3/8 and 1/16 a window.

    Attributes:
        data_weights: relative share of the draws that each dataset gets, or None: each window counts
            alike whatever its dataset.
        source_weights: factor by name of `SOURCE_NAMES`; 1 where not named.

    Raises:
        UserError: an unknown source, or a weight that is negative or not a finite number.
    """

    data_weights: Sequence[float] | None = None
    source_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, weight in enumerate(self.data_weights or ()):
            _check_weight(f"data_weights[{number}]", weight)
        if self.data_weights is not None and not sum(self.data_weights):
            raise UserError(f"data_weights={list(self.data_weights)}: at least one must be above 0")
        for name, weight in self.source_weights.items():
            if name not in SOURCE_NAMES:
                raise UserError(f"source_weights.{name}: no such source; valid: {', '.join(SOURCE_NAMES)}")
            _check_weight(f"source_weights.{name}", weight)

    def check_fits(self, num_datasets: int) -> None:
        """Refuse weights of another number of datasets."""
        if self.data_weights is not None and len(self.data_weights) != num_datasets:
            raise UserError(
                f"data_weights={list(self.data_weights)}: needs one for each of {num_datasets} datasets"
            )

    def chances(self, dataset: Tensor, source: Tensor, names: Sequence[str]) -> Tensor | None:
        """Return the relative chance (N,) float64 of each window, or None where all are alike.

        Args:
            dataset: (N,) int64, which dataset each window is of.
            source: (N,) uint8, who chose its first action.
            names: of the datasets, for messages.

        Raises:
            UserError: a dataset that shall have a share has no window that may be drawn.
        """
        self.check_fits(len(names))
        if self.data_weights is None and not self.source_weights:
            return None
        self._warn_of_absent(source, names)
        factors = [float(self.source_weights.get(name, 1.0)) for name in SOURCE_NAMES]
        chance = torch.tensor(factors, dtype=torch.float64, device=source.device)[source.long()]
        totals = torch.zeros(len(names), dtype=torch.float64, device=chance.device).index_add(
            0, dataset, chance
        )
        if self.data_weights is not None:
            shares = torch.tensor(self.data_weights, dtype=torch.float64, device=chance.device)
            for number in torch.nonzero((shares > 0) & (totals == 0)).flatten().tolist():
                raise UserError(
                    f"data_weights[{number}]={self.data_weights[number]}: source_weights leave "
                    f"nothing to draw from {names[number]}"
                )
            scale = torch.where(shares > 0, shares / totals, 0.0)
            chance = chance * scale[dataset]
        elif not totals.sum() > 0:
            raise UserError(
                f"source_weights={dict(self.source_weights)}: nothing to draw from {', '.join(names)}"
            )
        return chance

    def _warn_of_absent(self, source: Tensor, names: Sequence[str]) -> None:
        """Warn of a source that shall be weighed and chose nothing."""
        held = [SOURCE_NAMES[number] for number in source.unique().tolist()]
        for name in self.source_weights:
            if name not in held:
                told = (name, ", ".join(names), ", ".join(held))
                LOG.warning("source_weights.%s: no step of it to train on; %s: %s alone", *told)


class Draws:
    """Draw window numbers with replacement, uniformly or by their chances.

    Args:
        num_windows: N.
        chances: (N,) float64 relative chances, or None where all are alike.
    """

    def __init__(self, num_windows: int, chances: Tensor | None) -> None:
        self._num_windows = num_windows
        self._upto = None if chances is None else chances.cumsum(0)  # (N,)
        self._last = num_windows - 1 if chances is None else int(torch.nonzero(chances)[-1])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count,) int64 window numbers, on the generator's device."""
        if self._upto is None:
            return torch.randint(self._num_windows, (count,), generator=generator, device=generator.device)
        zeros, ends = torch.zeros(count, dtype=torch.int64), torch.full((count,), self._num_windows)
        return self.draw_within(zeros, ends, generator)

    def draw_within(self, first: Tensor, stop: Tensor, generator: torch.Generator) -> Tensor:
        """Return one window number out of each range first..stop - 1 (n,), by the chances therein."""
        device = generator.device
        share = torch.rand(len(first), generator=generator, dtype=torch.float64, device=device)
        first, stop = first.to(device), stop.to(device)
        if self._upto is None:
            index = first + (share * (stop - first)).long()
            return torch.minimum(index, stop - 1)
        upto = self._upto.to(device)
        low = torch.where(first > 0, upto[(first - 1).clamp_min(0)], 0.0)
        target = low + share * (upto[stop - 1] - low)
        index = torch.searchsorted(upto, target, right=True)
        return index.clamp_max(self._last).clamp(first, stop - 1)


def _check_weight(name: str, weight: object) -> None:
    sound = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not sound or not 0 <= float(weight) < math.inf:  # type: ignore[arg-type]
        raise UserError(f"{name}={weight}: needs a number of at least 0")
