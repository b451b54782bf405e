"""Episodes that are in the dataset twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from robofb.store.doctor.finding import ERROR, WARNING, DatasetCheck, Finding
from robofb.store.doctor.recorded import Recorded, image_keys
from robofb.types import SOURCE_POLICY

DUPLICATE, NEAR_DUPLICATE = "duplicate_episode", "near_duplicate_episode"

SAMPLES = 16  # points in time at which motions are compared
NEAR_SHARE = 0.12  # of the usual distance to the most similar other episode
LEAST_EPISODES = 5  # to know what is usual
LEAST_SPREAD = 0.3  # of the middle column's spread counts as spread
BLOCK = 256  # episodes compared with all others at a time


@dataclass(frozen=True)
class Fingerprint:
    """What is remembered of an episode to recognise it.

    Attributes:
        digest: hash of all arrays but the timestamps, which a copy may have rewritten.
        motions: low-dimensional observations, and actions, (SAMPLES, columns) float32 each, at equal parts
            of the episode.
        by_policy: a policy chose all actions; from the same start it may do the same again.
    """

    digest: bytes
    motions: tuple[np.ndarray, ...]
    by_policy: bool


def reduce_fingerprint(recorded: Recorded) -> Fingerprint | None:
    """Return an episode's fingerprint; None where an array is missing."""
    spec, arrays = recorded.spec, recorded.arrays
    names = [*spec.obs, "action", "reward"]
    if any(name not in arrays for name in names):
        return None
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(np.ascontiguousarray(arrays[name]).data)
    low_dim = [key for key in spec.obs if key not in image_keys(spec)]
    motions = [_sample(arrays["action"])]
    if low_dim:
        motions.append(np.concatenate([_sample(arrays[key]) for key in low_dim], 1))
    source = arrays.get("source")
    by_policy = source is not None and bool((source == SOURCE_POLICY).all())
    return Fingerprint(digest.digest(), tuple(motions), by_policy)


def _sample(rows: np.ndarray) -> np.ndarray:
    """Return rows (T, ...) as (SAMPLES, D) at equal parts of the time, between neighbours in proportion."""
    rows = rows.reshape(len(rows), -1)
    place = np.linspace(0.0, len(rows) - 1.0, SAMPLES)
    before = place.astype(int)
    share = (place - before)[:, None]
    after = np.minimum(before + 1, len(rows) - 1)
    return ((1.0 - share) * rows[before] + share * rows[after]).astype(np.float32)


def judge_duplicates(reduced: Mapping[int, Fingerprint]) -> list[Finding]:
    """Find episodes equal to an earlier one, and those far more similar to one than episodes are."""
    findings: list[Finding] = []
    first_of: dict[bytes, int] = {}
    for number, fingerprint in reduced.items():
        original = first_of.setdefault(fingerprint.digest, number)
        if original != number:
            text = f"the same observations, actions and rewards as episode {original}"
            severity = WARNING if fingerprint.by_policy else ERROR
            findings.append(Finding(DUPLICATE, severity, number, None, "", text))
    numbers = list(first_of.values())
    if len(numbers) < LEAST_EPISODES:
        return findings
    told: set[int] = set()
    for motions in zip(*(reduced[number].motions for number in numbers), strict=True):
        near = _near_duplicates(numbers, np.stack(motions).astype(np.float64))
        findings += [finding for finding in near if finding.episode not in told]
        told |= {finding.episode for finding in near if finding.episode is not None}
    return findings


def _near_duplicates(numbers: list[int], motions: np.ndarray) -> list[Finding]:
    """Compare motions (N, SAMPLES, D), each column on the scale on which it varies."""
    spread = motions.std((0, 1))
    # A column that hardly varies, such as the height of a part on the table, would tell only its noise.
    rows = (motions / np.maximum(spread, LEAST_SPREAD * np.median(spread) + 1e-9)).reshape(len(motions), -1)
    rows -= rows.mean(0)
    closest, earlier = np.full(len(rows), np.inf), np.full(len(rows), np.inf)
    original = np.zeros(len(rows), int)
    for first, distances in _distances(rows):
        part = np.arange(first, first + len(distances))
        closest[part] = distances.min(1)
        distances[np.arange(len(rows)) >= part[:, None]] = np.inf  # only what came before can be copied
        earlier[part], original[part] = distances.min(1), distances.argmin(1)
    usual = float(np.median(closest))
    findings = []
    for index in np.flatnonzero(earlier < NEAR_SHARE * usual).tolist():
        share = f"{earlier[index] / usual:.1%}"
        text = (
            f"nearly the same motion as episode {numbers[original[index]]}: {share} of the distance that"
            " episodes usually keep from the most similar other one"
        )
        findings.append(Finding(NEAR_DUPLICATE, WARNING, numbers[index], None, "", text))
    return findings


def _distances(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first, (n, N) distances) of BLOCK rows after another to all rows; infinite to themselves."""
    squares = (rows**2).sum(1)
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        squared = squares[first : first + BLOCK, None] + squares - 2.0 * block @ rows.T
        squared[np.arange(len(block)), first + np.arange(len(block))] = np.inf
        yield first, np.sqrt(np.maximum(squared, 0.0))


CHECK = DatasetCheck("duplicates", reduce_fingerprint, judge_duplicates)
