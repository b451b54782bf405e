"""Success rates with honest intervals, and paired comparison of two policies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


def _quantile(confidence: float) -> float:
    """Return z such that a standard normal lies within +-z with probability `confidence`."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie strictly between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of a success probability.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927:
    the p with |s/n - p| <= z sqrt(p (1 - p) / n). No episodes tell nothing: (0, 1).

    Raises:
        ValueError: unless 0 <= successes <= episodes.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"successes must lie between 0 and episodes={episodes}, not {successes}")
    z = _quantile(confidence)
    if episodes == 0:
        return 0.0, 1.0
    rate = successes / episodes
    shrink = 1.0 + z * z / episodes
    centre = (rate + z * z / (2 * episodes)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes * episodes))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == episodes else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class SuccessRate:
    """How many episodes of an evaluation succeeded, with its Wilson 95 % interval."""

    successes: int
    episodes: int

    def __post_init__(self) -> None:
        wilson_interval(self.successes, self.episodes)  # refuses impossible counts

    @property
    def rate(self) -> float:
        """Share of successful episodes in [0, 1]; nan without episodes."""
        return self.successes / self.episodes if self.episodes else math.nan

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return wilson_interval(self.successes, self.episodes)[0]

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return wilson_interval(self.successes, self.episodes)[1]

    def to_dict(self) -> dict[str, int | float]:
        """Return JSON-ready {successes, episodes, low, high}."""
        return {"successes": self.successes, "episodes": self.episodes, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        if not self.episodes:
            return "no episodes"
        return (
            f"{100 * self.rate:.1f} % ({self.successes}/{self.episodes}, "
            f"95 % interval {100 * self.low:.1f}-{100 * self.high:.1f})"
        )


@dataclass(frozen=True)
class PairedComparison:
    """Two policies on the same seeds.

    Attributes:
        both, only_first, only_second, neither: episodes by who solved them.
        difference: success rate of the second minus that of the first.
        low, high: interval of the difference.
        p_value: McNemar's exact two-sided test that both policies are equally good.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    low: float
    high: float
    p_value: float


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the exact two-sided McNemar p-value: 2 P(X <= min), X ~ Binomial(discordant, 1/2)."""
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def compare_paired(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> PairedComparison:
    """Compare the successes of two policies, episode by episode on the same seeds.

    The interval is the adjusted Wald interval of D. G. Bonett and R. M. Price, "Adjusted Wald
    confidence interval for a difference of binomial proportions based on paired data", J. Educ.
    Behav. Stat. 2012: one episode is added to each discordant cell.

    Raises:
        ValueError: where the two differ in length or are empty.
    """
    if len(first) != len(second) or len(first) == 0:
        raise ValueError(f"paired episodes needed: {len(first)} of the first, {len(second)} of the second")
    pairs = [(bool(a), bool(b)) for a, b in zip(first, second, strict=True)]
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    episodes = len(pairs)
    p_first, p_second = (only_first + 1) / (episodes + 2), (only_second + 1) / (episodes + 2)
    centre = p_second - p_first
    half = _quantile(confidence) * math.sqrt((p_first + p_second - centre**2) / (episodes + 2))
    return PairedComparison(
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=(only_second - only_first) / episodes,
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        p_value=mcnemar_exact(only_first, only_second),
    )
