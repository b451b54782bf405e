"""Make a reset bank from whatever gives sound states of each kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.sim.bank_kinds import KINDS
from robofb.sim.reset_bank import ResetBank, check_kinds, model_digest
from robofb.sim.vec_env import SimVecEnv

LOG = logging.getLogger(__name__)


class StateSource(Protocol):
    """Gives sound simulator states."""

    env: SimVecEnv

    def fill(self, kind: str, wanted: int, told: Callable[[int], object]) -> Tensor:
        """Return up to `wanted` states (n, S) of a kind; call `told` with the number of each batch."""
        ...


def quotas(num_states: int, kinds: Mapping[str, float]) -> dict[str, int]:
    """Return how many states of each kind make up `num_states`, rounded down; the first kinds take the rest.

    Raises:
        UserError: see `check_kinds`.
    """
    weights = {kind: weight for kind, weight in check_kinds(kinds).items() if weight > 0}
    total = sum(weights.values())
    counts = {kind: int(num_states * weight / total) for kind, weight in weights.items()}
    for kind in list(counts)[: num_states - sum(counts.values())]:
        counts[kind] += 1
    return counts


def make_bank(
    source: StateSource, num_states: int, kinds: Mapping[str, float], provenance: Mapping[str, Any]
) -> ResetBank:
    """Fill a bank; kinds of which the source has too few end short, and the log says so.

    Raises:
        UserError: not one state was found.
    """
    states, found = [], []
    with progress_bar(num_states, "reset bank", "state") as bar:
        for kind, wanted in quotas(num_states, kinds).items():
            rows = source.fill(kind, wanted, bar.update).cpu().numpy().astype(np.float64)
            if len(rows) < wanted:
                LOG.warning("%s: only %d of %d states could be made", kind, len(rows), wanted)
            states.append(rows)
            found.append(np.full(len(rows), KINDS.index(kind), np.uint8))
    if not sum(map(len, states)):
        raise UserError("not one sound state was found: nothing is written")
    task = source.env.task
    digest = model_digest(source.env.engine.model)
    return ResetBank(task.spec, digest, np.concatenate(states), np.concatenate(found), provenance)
