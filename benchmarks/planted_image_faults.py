"""Faults planted in the images of sound episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from planted_faults import Fault, Planted, Rng, inner

from robofb.types import EnvSpec, Episode


def with_image(episode: Episode, rng: Rng, change: Callable[[np.ndarray], int | None]) -> Planted:
    """Change the images of a random camera; `change` works in place and returns the first frame."""
    key = str(rng.choice([key for key in episode.obs if key.startswith("image_")]))
    frames = episode.obs[key].copy()
    frame = change(frames)
    return replace(episode, obs={**episode.obs, key: frames}), frame


def frozen_image(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Repeat an image 3 to 15 times under new timestamps."""
    count = int(rng.integers(3, 16))
    frame = inner(episode, rng, span=count)

    def change(frames: np.ndarray) -> int:
        frames[frame : frame + count] = frames[frame - 1]
        return frame

    return with_image(episode, rng, change)


def repeated_image(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Show 1 to 5 images from 6 to 15 frames ago."""
    count, back = int(rng.integers(1, 6)), int(rng.integers(6, 16))
    frame = inner(episode, rng, margin=16, span=count)

    def change(frames: np.ndarray) -> int:
        frames[frame : frame + count] = frames[frame - back : frame - back + count]
        return frame

    return with_image(episode, rng, change)


def exposed(low: float, high: float) -> Callable[[Episode, Rng, EnvSpec], Planted]:
    """Return a planter that multiplies 1 to 10 images by a factor from `low` to `high`."""

    def plant(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
        count = int(rng.integers(1, 11))
        frame, factor = inner(episode, rng, span=count), rng.uniform(low, high)

        def change(frames: np.ndarray) -> int:
            part = frames[frame : frame + count].astype(np.float32) * factor
            frames[frame : frame + count] = np.clip(part, 0, 255).astype(np.uint8)
            return frame

        return with_image(episode, rng, change)

    return plant


def flat_image(episode: Episode, rng: Rng, spec: EnvSpec) -> Planted:
    """Replace 1 to 10 images by one grey with noise of 1 of 255."""
    count = int(rng.integers(1, 11))
    frame, grey = inner(episode, rng, span=count), rng.integers(100, 140)

    def change(frames: np.ndarray) -> int:
        frames[frame : frame + count] = grey + rng.integers(-1, 2, (count, *frames.shape[1:]))
        return frame

    return with_image(episode, rng, change)


IMAGE_FAULTS = {
    "frozen_image": Fault("frozen_image", frozen_image, images=True),
    "repeated_image": Fault("repeated_image", repeated_image, images=True),
    "dark_image": Fault("dark_image", exposed(0.0, 0.25), images=True),
    "bright_image": Fault("bright_image", exposed(10.0, 30.0), images=True),
    "flat_image": Fault("flat_image", flat_image, images=True),
}
