"""Number, mean and variance of streams of numbers, in float64, and a normaliser that follows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robofb.ranks import ALONE, Ranks
from robofb.types import Obs


class Invertible(Protocol):
    """What a running normaliser needs of the one that it starts from."""

    def inverse(self, y: Tensor, key: str) -> Tensor: ...


class Moments(NamedTuple):
    """Statistics of N rows, element by element.

    Attributes:
        num: () N.
        mean: (...).
        sum_of_squares: (...) of deviations from the mean.
    """

    num: Tensor
    mean: Tensor
    sum_of_squares: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Moments:
        """Return the statistics of rows (N, ...), N >= 1."""
        rows = rows.double()
        mean = rows.mean(0)
        return cls(rows.new_tensor(len(rows)), mean, ((rows - mean) ** 2).sum(0))

    def merged(self, other: Moments) -> Moments:
        """Return the statistics of both streams, by the formula of Chan, Golub and LeVeque (1983)."""
        num = self.num + other.num
        shift = other.mean - self.mean
        return Moments(
            num,
            self.mean + shift * other.num / num,
            self.sum_of_squares + other.sum_of_squares + shift**2 * self.num * other.num / num,
        )

    def over(self, ranks: Ranks) -> Moments:
        """Return the statistics of all ranks' streams."""
        flat = torch.cat([part.reshape(-1) for part in self])
        merged: Moments | None = None
        for row in ranks.gathered(flat):
            parts = row[1:].chunk(2)
            theirs = Moments(row[0], *(part.view_as(self.mean) for part in parts))
            merged = theirs if merged is None else merged.merged(theirs)
        return self if merged is None else merged

    @property
    def std(self) -> Tensor:
        """(...) population standard deviation."""
        return (self.sum_of_squares / self.num).sqrt()


class RunningNormalizer(nn.Module):
    """Map each observation to zero mean and unit deviation over all that training has seen.

    The statistics are buffers: they belong to the weights. What `watch` takes in counts from the next
    `commit`, so that a whole rollout is normalised alike. It starts from zero mean and unit deviation, which
    count as one observation.

    Args:
        shapes: of one element of each key.
        clamp: largest absolute normalised value.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], clamp: float = 5.0) -> None:
        super().__init__()
        self.clamp = clamp
        self._new: dict[str, Moments] = {}
        for key, shape in shapes.items():
            one, zeros = torch.ones((), dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
            for name, value in zip(Moments._fields, (one, zeros, zeros + 1.0), strict=True):
                self.register_buffer(_buffer(name, key), value)

    def start_from(self, normalizer: Invertible, keys: Iterable[str]) -> None:
        """Start from another normaliser's centres and radii; a radius of 0, of a constant, becomes 1."""
        for key in keys:
            one = torch.ones_like(self._moments(key).mean, dtype=torch.float32)[None]
            high, low = (normalizer.inverse(sign * one, key)[0].double() for sign in (1, -1))
            radius = (high - low) / 2

            num = self._moments(key).num
            self._put(key, Moments(num, (high + low) / 2, torch.where(radius > 0, radius, 1.0) ** 2))

    def forward(self, x: Tensor, key: str) -> Tensor:
        """Return normalised values of `x` (B, ...), given in the key's units."""
        moments = self._moments(key)
        return ((x - moments.mean.to(x)) / moments.std.to(x)).clamp(-self.clamp, self.clamp)

    def watch(self, obs: Obs) -> None:
        """Note observations (B, ...) for the next `commit`."""
        for key, rows in obs.items():
            new = Moments.of(rows)
            self._new[key] = self._new[key].merged(new) if key in self._new else new

    def commit(self, ranks: Ranks = ALONE) -> None:
        """Let what all ranks have watched count from now on."""
        for key, new in self._new.items():
            self._put(key, self._moments(key).merged(new.over(ranks)))
        self._new = {}

    def _moments(self, key: str) -> Moments:
        return Moments(*(self.get_buffer(_buffer(name, key)) for name in Moments._fields))

    def _put(self, key: str, moments: Moments) -> None:
        for old, new in zip(self._moments(key), moments, strict=True):
            old.copy_(new)


def _buffer(name: str, key: str) -> str:
    return f"{name}_{key.replace('.', '/')}"  # a buffer's name cannot hold a dot
