"""How many contacts and constraint rows a world of a model may need, from its shapes alone."""

from __future__ import annotations

from collections import defaultdict
from enum import IntFlag
from math import ceil

import mujoco
import numpy as np

from robofb.errors import UserError

MOST_PER_PAIR = 16  # contacts of one pair of bodies that there is room for
_SPHERE, _CAPSULE = mujoco.mjtGeom.mjGEOM_SPHERE.value, mujoco.mjtGeom.mjGEOM_CAPSULE.value
_BOX, _MESH = mujoco.mjtGeom.mjGEOM_BOX.value, mujoco.mjtGeom.mjGEOM_MESH.value


class _Overflow(IntFlag):
    """What else MuJoCo Warp may lack room for; it also flags iteration limits, which MuJoCo allows, too."""

    NJMAX_NNZ = 1 << 1
    CCD = 1 << 4
    HFIELD = 1 << 5
    CONTACT_MATCH = 1 << 6
    NVMAX = 1 << 7
    EPA_HORIZON = 1 << 8
    TACTILE = 1 << 11


def contacts_per_world(model: mujoco.MjModel) -> int:
    """Return room for contacts: as many as the shapes of each pair of bodies can make, at most 16.

    In one_leg_insert that is 136; MuJoCo made at most 49 (and 148 rows) in 32 worlds of noisy experts.
    """
    return max(16, sum(min(count, MOST_PER_PAIR) for count in _contacts_by_bodies(model).values()))


def constraints_per_world(model: mujoco.MjModel, contacts: int) -> int:
    """Return room for constraint rows: `contacts` in full, every equality, limit and dry friction."""
    cone_rows = _rows_of_contact(model)
    rows_of_equality = {mujoco.mjtEq.mjEQ_CONNECT: 3, mujoco.mjtEq.mjEQ_WELD: 6}
    equalities = sum(rows_of_equality.get(mujoco.mjtEq(kind), 1) for kind in model.eq_type)
    limits = int(model.jnt_limited.sum()) + 2 * int(model.tendon_limited.sum())
    friction = int((model.dof_frictionloss > 0).sum() + (model.tendon_frictionloss > 0).sum())
    return contacts * cone_rows + equalities + limits + friction


def _rows_of_contact(model: mujoco.MjModel) -> int:
    largest = int(model.geom_condim.max(initial=1))
    if largest == 1 or model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC:
        return largest
    return 2 * (largest - 1)


def _contacts_by_bodies(model: mujoco.MjModel) -> dict[tuple[int, int], int]:
    """Return how many contacts the geoms of each pair of bodies can make, by the (welded) bodies."""
    kinds, affinities, bodies = model.geom_contype, model.geom_conaffinity, model.geom_bodyid
    welded = model.body_weldid[bodies]
    first, second = np.triu_indices(model.ngeom, 1)
    touch = (kinds[first] & affinities[second]) | (kinds[second] & affinities[first])
    touch = (touch != 0) & (welded[first] != welded[second])
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for one, other in zip(first[touch], second[touch], strict=True):
        pair = sorted((int(welded[one]), int(welded[other])))
        counts[pair[0], pair[1]] += _contacts_of_shapes(
            int(model.geom_type[one]), int(model.geom_type[other])
        )
    for one, other in zip(model.pair_geom1, model.pair_geom2, strict=True):
        counts[int(welded[one]), int(welded[other])] += MOST_PER_PAIR
    return counts


def _contacts_of_shapes(one: int, other: int) -> int:
    """Return how many points a pair of shapes may touch in."""
    if _SPHERE in (one, other):
        return 1
    if _CAPSULE in (one, other):
        return 2
    return 8 if {one, other} & {_BOX, _MESH} else 4


def check_room(report: list[int], contacts_room: int, rows_room: int, num_worlds: int) -> None:
    """Raise UserError where a control step needed more room than there was.

    Args:
        report: any divergence, MuJoCo Warp's overflow flags, and the largest numbers of pairs of shapes
            close to each other, of contacts (both of all worlds) and of constraint rows (of one world).
        contacts_room: for contacts and for pairs of shapes, of all worlds.
        rows_room: for the constraint rows of one world.
    """
    _, flags, pairs, contacts, rows = report
    needed = max(pairs, contacts)
    if needed > contacts_room:
        raise UserError(
            f"engine warp: {needed} contacts in {num_worlds} worlds found room for {contacts_room}: "
            f"set engine.contacts={2 * ceil(needed / num_worlds)}"
        )
    if rows > rows_room:
        raise UserError(
            f"engine warp: {rows} constraint rows in a world found room for {rows_room}: "
            f"set engine.constraints={2 * rows}"
        )
    if lacking := [kind.name for kind in _Overflow if kind & flags]:
        raise UserError(
            f"engine warp: MuJoCo Warp lacks room for {', '.join(map(str, lacking))} in this scene"
        )
