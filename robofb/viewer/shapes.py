"""Triangle meshes of the shapes that MuJoCo knows and a browser does not."""

from __future__ import annotations

import mujoco
import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices (V, 3) float32 [m] and faces (F, 3) uint32, counterclockwise seen from outside."""

AROUND, HALF = 24, 8  # segments around the axis, and from pole to equator


def revolve(radii_m: np.ndarray, heights_m: np.ndarray) -> Mesh:
    """Return the surface that a profile from top to bottom sweeps around z; pole radii may be 0."""
    angles = np.linspace(0.0, 2 * np.pi, AROUND, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], -1)  # (AROUND, 2)
    flat = radii_m[:, None, None] * ring
    vertices = np.concatenate([flat, np.broadcast_to(heights_m[:, None, None], (*flat.shape[:2], 1))], -1)
    row, column = np.meshgrid(np.arange(len(radii_m) - 1), np.arange(AROUND), indexing="ij")
    upper, lower = row * AROUND, (row + 1) * AROUND
    after = (column + 1) % AROUND
    first = np.stack([upper + column, lower + column, lower + after], -1)
    second = np.stack([upper + column, lower + after, upper + after], -1)
    faces = np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)])
    return vertices.reshape(-1, 3).astype(np.float32), faces.astype(np.uint32)


def capsule(radius_m: float, half_length_m: float) -> Mesh:
    """Return a cylinder along z with round ends; `half_length_m` is that of the cylinder."""
    angles = np.linspace(0.0, np.pi / 2, HALF + 1)
    radii, heights = radius_m * np.sin(angles), radius_m * np.cos(angles)
    profile = np.concatenate([heights + half_length_m, -heights[::-1] - half_length_m])
    return revolve(np.concatenate([radii, radii[::-1]]), profile)


def ellipsoid(radii_m: np.ndarray) -> Mesh:
    """Return an ellipsoid of three radii (3,)."""
    vertices, faces = capsule(1.0, 0.0)
    return (vertices * radii_m).astype(np.float32), faces


def cylinder(radius_m: float, half_length_m: float) -> Mesh:
    """Return a closed cylinder along z."""
    heights = half_length_m * np.array([1.0, 1.0, -1.0, -1.0])
    return revolve(radius_m * np.array([0.0, 1.0, 1.0, 0.0]), heights)


def box(half_sizes_m: np.ndarray) -> Mesh:
    """Return a box of three half sizes (3,)."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in sides for triangle in ((a, b, c), (a, c, d))]
    return (corners * half_sizes_m).astype(np.float32), np.array(faces, np.uint32)


def geom_mesh(model: mujoco.MjModel, geom: int) -> Mesh | None:
    """Return a geom's mesh in its own frame; None for height fields and signed distance fields."""
    types = mujoco.mjtGeom
    kind, size = types(int(model.geom_type[geom])), model.geom_size[geom]
    if kind == types.mjGEOM_MESH:
        return _model_mesh(model, int(model.geom_dataid[geom]))
    makers = {
        types.mjGEOM_PLANE: lambda: _plane(size),
        types.mjGEOM_SPHERE: lambda: ellipsoid(np.repeat(size[0], 3)),
        types.mjGEOM_CAPSULE: lambda: capsule(size[0], size[1]),
        types.mjGEOM_ELLIPSOID: lambda: ellipsoid(size),
        types.mjGEOM_CYLINDER: lambda: cylinder(size[0], size[1]),
        types.mjGEOM_BOX: lambda: box(size),
    }
    maker = makers.get(kind)
    return None if maker is None else maker()


def _plane(size: np.ndarray) -> Mesh:
    thickness_m, endless_m = 0.005, 5.0
    half = [value if value > 0 else endless_m for value in size[:2]]
    vertices, faces = box(np.array([*half, thickness_m]))
    return vertices - np.array([0, 0, thickness_m], np.float32), faces


def _model_mesh(model: mujoco.MjModel, mesh: int) -> Mesh:
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    face, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    return model.mesh_vert[first : first + count].copy(), model.mesh_face[face : face + faces].astype(
        np.uint32
    )
