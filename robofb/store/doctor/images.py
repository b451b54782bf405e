"""Images: frozen, repeated, too dark, too bright, flat."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from robofb.store.doctor.finding import ERROR, DatasetCheck, EpisodeCheck, Finding, runs
from robofb.store.doctor.poses import angles
from robofb.store.doctor.recorded import Recorded, image_keys
from robofb.store.element_names import POSITION, QUAT, ROT6D
from robofb.types import EnvSpec

FROZEN, REPEATED = "frozen_image", "repeated_image"
DARK, BRIGHT, FLAT = "dark_image", "bright_image", "flat_image"

FROZEN_MOTION = 0.001  # m that a body moved while the pixels did not; far images show less than a pixel of it
FROZEN_TURN = 0.01  # rad
FROZEN_FRAMES = 3  # equal images in a row are too many where no pose tells whether anything moved
DARK_MEAN, BRIGHT_MEAN = 12.0, 243.0  # of 255
FLAT_DEVIATION = 2.0  # of 255: a lens cap, a grey card, a dead driver
EXPOSURE_RATIO = 2.5  # times the camera's usual brightness in this dataset


def content_hashes(frames: np.ndarray) -> list[bytes]:
    """Return one hash of the pixels for each image (T, ...)."""
    return [hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=8).digest() for frame in frames]


def check_content(recorded: Recorded) -> list[Finding]:
    """Find images that repeat the last one though time went on and things moved, or an older one."""
    findings = []
    fresh = _new_timestamps(recorded)
    for key, frames in recorded.images().items():
        hashes = content_hashes(frames)
        same = np.array([later == earlier for earlier, later in pairwise(hashes)])
        for first, last in runs(same & fresh[: len(same)]):
            moved = _motion(recorded, first, last + 1)
            if moved == "" or (moved is None and last - first + 2 < FROZEN_FRAMES):
                continue
            text = f"{last - first + 1} images have new timestamps but the pixels of the one before"
            text += f", while {moved}" if moved else ""
            findings.append(Finding(FROZEN, ERROR, recorded.number, (first + 1, last + 1), key, text))
        findings += _repeats(recorded.number, key, hashes)
    return findings


def _new_timestamps(recorded: Recorded) -> np.ndarray:
    """Return (T,) bool, whether each observation but the first has another timestamp than the last."""
    time = recorded.arrays.get("timestamp")
    return np.ones(recorded.length, bool) if time is None else np.diff(time) != 0


def _motion(recorded: Recorded, first: int, last: int) -> str | None:
    """Say which body moved most visibly between two observations; "" if none, None if none is known."""
    known = False
    for group, xyz in recorded.groups(POSITION):
        known = True
        moved = float(np.linalg.norm(xyz[first : last + 1] - xyz[first], axis=1).max())
        if moved > FROZEN_MOTION:
            return f"{group.label} moves {moved:.3f} m"
    for kind in (ROT6D, QUAT):
        for group, rotations in recorded.groups(kind):
            known = True
            turned = float(angles(rotations[[first, last]])[0])
            if turned > FROZEN_TURN:
                return f"{group.label} turns {turned:.2f} rad"
    return "" if known else None


def _repeats(number: int, key: str, hashes: list[bytes]) -> list[Finding]:
    """Find images that show again what an older one showed, with others between."""
    last_seen: dict[bytes, int] = {}
    older = np.full(len(hashes), -1)
    for frame, value in enumerate(hashes):
        if value in last_seen and last_seen[value] < frame - 1:
            older[frame] = last_seen[value]
        last_seen[value] = frame
    findings = []
    for first, last in runs(older >= 0):
        text = (
            f"{last - first + 1} images show the pixels of image {older[first]} and on, with others between"
        )
        findings.append(Finding(REPEATED, ERROR, number, (first, last), key, text))
    return findings


def check_exposure(recorded: Recorded) -> list[Finding]:
    """Find images too dark, too bright or too flat to see anything in."""
    findings = []
    for key, frames in recorded.images().items():
        mean, deviation = _brightness(frames)
        usual = float(np.median(mean))
        dark = mean < max(DARK_MEAN, usual / EXPOSURE_RATIO)
        bright = mean > min(BRIGHT_MEAN, max(usual, DARK_MEAN) * EXPOSURE_RATIO)
        flat = (deviation < FLAT_DEVIATION) & ~dark & ~bright
        for fault, mask in ((DARK, dark), (BRIGHT, bright), (FLAT, flat)):
            for first, last in runs(mask):
                part = slice(first, last + 1)
                text = (
                    f"{last - first + 1} images of mean {mean[part].mean():.1f} and deviation"
                    f" {deviation[part].mean():.1f} of 255; the episode's usual mean is {usual:.1f}"
                )
                findings.append(Finding(fault, ERROR, recorded.number, (first, last), key, text))
    return findings


def _brightness(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of the pixels of each image, (T,) each, one image in memory at a time."""
    pairs = [(frame.mean(dtype=np.float64), frame.std(dtype=np.float32)) for frame in frames]
    mean, deviation = zip(*pairs, strict=True)
    return np.array(mean), np.array(deviation)


def reduce_brightness(recorded: Recorded) -> dict[str, float]:
    """Return the median brightness of each camera."""
    return {key: float(np.median(_brightness(frames)[0])) for key, frames in recorded.images().items()}


def judge_brightness(reduced: Mapping[int, dict[str, float]]) -> list[Finding]:
    """Find episodes that a camera shows much darker or brighter than it shows the others."""
    findings = []
    for key in sorted({key for values in reduced.values() for key in values}):
        means = {number: values[key] for number, values in reduced.items() if key in values}
        usual = float(np.median(list(means.values())))
        for number, mean in means.items():
            if usual / EXPOSURE_RATIO <= mean <= usual * EXPOSURE_RATIO:
                continue
            fault = DARK if mean < usual else BRIGHT
            text = (
                f"the episode's images have mean {mean:.1f} of 255, the dataset's usual mean is {usual:.1f}"
            )
            findings.append(Finding(fault, ERROR, number, None, key, text))
    return findings


def _no_images(spec: EnvSpec) -> str:
    return "" if image_keys(spec) else "the dataset holds no images"


CONTENT_CHECK = EpisodeCheck("images", check_content, _no_images)
EXPOSURE_CHECK = EpisodeCheck("exposure", check_exposure, _no_images)
BRIGHTNESS_CHECK = DatasetCheck("brightness", reduce_brightness, judge_brightness, obstacle=_no_images)
