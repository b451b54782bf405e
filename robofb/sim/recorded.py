"""Show recorded simulator states again: where bodies were and which touched."""

from __future__ import annotations

import mujoco
import numpy as np

from robofb.errors import UserError
from robofb.types import SIM_STATE

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class RecordedScene:
    """One world of a model, put into recorded states; nothing is ever stepped.

    Args:
        model: of which the states were recorded.

    Attributes:
        data: positions, contacts and all that follows from them are current after `show`.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self.state_size = mujoco.mj_stateSize(model, _STATE)
        self._facing: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._owners = [_owner(model, body) for body in range(model.nbody)]
        self.parts = frozenset(
            owner for body, owner in enumerate(self._owners) if owner and _is_free(model, body)
        )

    def show(self, state: np.ndarray) -> None:
        """Put the world into a state (S,) of `Engine.snapshot`.

        Raises:
            ValueError: it has another size than the model's states.
            UserError: it is not finite.
        """
        if state.shape != (self.state_size,):
            raise ValueError(f"state has shape {state.shape}, the model's is ({self.state_size},)")
        if not np.isfinite(state).all():
            raise UserError(f"'{SIM_STATE}' holds NaN or infinity")
        mujoco.mj_setState(self.model, self.data, state, _STATE)
        mujoco.mj_fwdPosition(self.model, self.data)

    def touching(self) -> set[tuple[str, str]]:
        """Return the pairs of moving things that touch now, each sorted by name.

        A thing is a body that stands in the world with all that hangs on it: a part (free joint, see
        `parts`) or a robot. What cannot move, such as a table, is left out.
        """
        contacts = self.data.contact
        pairs = set()
        for geoms in contacts.geom[contacts.dist <= 0.0]:
            first, second = sorted(self._owners[body] for body in self.model.geom_bodyid[geoms])
            if first and first != second:
                pairs.add((first, second))
        return pairs

    def gap_m(self, first: str, second: str, farthest_m: float = 0.5) -> float:
        """Return the distance between the surfaces of two things that may touch each other [m].

        Negative where they overlap; `farthest_m` where they are farther apart or can never touch.
        """
        if (first, second) not in self._facing:
            self._facing[first, second] = self._facing_geoms(first, second)
        model, data = self.model, self.data
        gaps = (
            mujoco.mj_geomDistance(model, data, a, b, farthest_m, None)
            for a, b in self._facing[first, second]
        )
        return min(gaps, default=farthest_m)

    def _facing_geoms(self, first: str, second: str) -> list[tuple[int, int]]:
        """Return the pairs of geoms of two things whose contact bits let them touch."""
        model = self.model
        geoms = {
            thing: [g for g in range(model.ngeom) if self._owners[model.geom_bodyid[g]] == thing]
            for thing in (first, second)
        }
        wants, bears = model.geom_contype, model.geom_conaffinity
        return [
            (a, b) for a in geoms[first] for b in geoms[second] if wants[a] & bears[b] or wants[b] & bears[a]
        ]


def _is_free(model: mujoco.MjModel, body: int) -> bool:
    joint = model.body_jntadr[model.body_rootid[body]]
    return bool(joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE)


def _owner(model: mujoco.MjModel, body: int) -> str:
    """Return the name of the thing that a body belongs to; "" where it cannot move."""
    if model.body_weldid[body] == 0:
        return ""
    root = int(model.body_rootid[body])
    return model.body(root).name or f"body {root}"
