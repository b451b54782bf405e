"""How a simulated world stands, as plain numbers: one process simulates it, others take its picture."""

from __future__ import annotations

import numpy as np
import torch

from robofb.deploy.ring import Ring
from robofb.interfaces import Engine
from robofb.sim.render import shown_fields

MOST_NUMBERS = 512

SCENE = np.dtype([("at_s", "f8"), ("count", "i4"), ("numbers", "f8", (MOST_NUMBERS,))])
"""The world since `at_s` of `time.monotonic`: `count` of the `numbers` are some."""


def numbers_of(engine: Engine) -> np.ndarray:
    """Return the numbers (n,) float64 that a picture of an engine's first world hangs on."""
    fields = [engine.field(name)[0].reshape(-1) for name in shown_fields(engine.model)]
    return torch.cat(fields).double().cpu().numpy()


def tell(states: Ring, numbers: np.ndarray, at_s: float) -> None:
    """Write into a ring of `SCENE` how a world stands since `at_s`."""
    held = np.zeros(MOST_NUMBERS)
    held[: len(numbers)] = numbers
    states.write(at_s=at_s, count=len(numbers), numbers=held)


def told(state: np.void) -> np.ndarray:
    """Return the numbers (n,) in a record of `SCENE`."""
    return state["numbers"][: int(state["count"])]


def stand(engine: Engine, numbers: np.ndarray) -> None:
    """Let an engine's first world look as `numbers_of` another of the same scene says; nothing else fits."""
    done = 0
    for name in shown_fields(engine.model):
        field = engine.field(name)[0]
        part = torch.from_numpy(numbers[done : done + field.numel()].copy())
        field[...] = part.reshape(field.shape)
        done += field.numel()
