"""Triangle meshes of Wavefront OBJ files: read strictly, written plainly, and measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from robofb.errors import UserError

MOST_FACES = 200_000  # MuJoCo's own limit for STL; a part has some ten thousand
_CORNER = re.compile(r"(-?\d+)(?:/(-?\d*))?(?:/(-?\d+))?")


@dataclass(frozen=True)
class ObjMesh:
    """A triangle mesh.

    Attributes:
        vertices_m: (V, 3) float64.
        faces: (F, 3) int64, indices of vertices.
        normals: (N, 3) float64; empty where the file has none.
        face_normals: (F, 3) int64, indices of normals; empty where the file has none.
        materials: (F,) names, "" where a face has none.
    """

    vertices_m: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    face_normals: np.ndarray
    materials: np.ndarray

    def moved(self, turn: np.ndarray, origin_m: Sequence[float]) -> ObjMesh:
        """Return the mesh in a frame with rows `turn` (3, 3) whose origin lies at `origin_m`."""
        vertices = (self.vertices_m - np.asarray(origin_m)) @ turn.T
        return ObjMesh(vertices, self.faces, self.normals @ turn.T, self.face_normals, self.materials)

    def of_main_material(self) -> ObjMesh:
        """Return the faces of the material that most faces have, with the vertices that they need."""
        names, counts = np.unique(self.materials, return_counts=True)
        kept = self.materials == names[counts.argmax()]
        vertices, faces = _needed(self.vertices_m, self.faces[kept])
        normals, face_normals = self.normals, self.face_normals
        if len(face_normals):
            normals, face_normals = _needed(normals, face_normals[kept])
        return ObjMesh(vertices, faces, normals, face_normals, self.materials[kept])


def _needed(rows: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used, places = np.unique(indices, return_inverse=True)
    return rows[used], places.reshape(indices.shape)


def read_obj(content: bytes, name: str) -> ObjMesh:
    """Read vertices, normals, faces and the names of their materials; polygons become fans of triangles.

    Args:
        content: of the file.
        name: of the file, for errors.

    Raises:
        UserError: it is no OBJ text, has a number or an index that cannot be, no faces, or too many.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{name} is no OBJ file: it is not text") from None
    vertices: list[list[float]] = []
    normals: list[list[float]] = []
    corners: list[tuple[tuple[int, int], ...]] = []
    materials: list[str] = []
    material = ""
    for number, line in enumerate(lines, 1):
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "v":
                vertices.append(_three(rest))
            elif word == "vn":
                normals.append(_three(rest))
            elif word == "usemtl":
                material = rest.strip()
            elif word == "f":
                polygon = [_corner(text, len(vertices), len(normals)) for text in rest.split()]
                fan = [(polygon[0], *pair) for pair in pairwise(polygon[1:])]
                if not fan:
                    raise ValueError("a face needs three corners")
                corners += fan
                materials += [material] * len(fan)
        except (ValueError, IndexError) as error:
            raise UserError(f"{name} is damaged: line {number}: {error}") from None
        if len(corners) > MOST_FACES:
            raise UserError(f"{name} has more than {MOST_FACES} faces")
    if not corners:
        raise UserError(f"{name} is damaged: it has no faces")
    indices = np.array(corners, np.int64)  # (F, 3, 2)
    with_normals = bool((indices[..., 1] >= 0).all())
    return ObjMesh(
        np.array(vertices),
        indices[..., 0],
        np.array(normals) if with_normals else np.zeros((0, 3)),
        indices[..., 1] if with_normals else np.zeros((0, 3), np.int64),
        np.array(materials),
    )


def _three(text: str) -> list[float]:
    values = [float(word) for word in text.split()[:3]]
    if len(values) != 3 or not np.isfinite(values).all():
        raise ValueError(f"'{text.strip()}' is not three numbers")
    return values


def _corner(text: str, vertices: int, normals: int) -> tuple[int, int]:
    """Return the indices of a corner's vertex and normal, -1 for no normal."""
    match = _CORNER.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no corner of a face")
    vertex, _, normal = match.groups()
    return _index(vertex, vertices), -1 if normal is None else _index(normal, normals)


def _index(text: str, count: int) -> int:
    """Return an index from 0; OBJ counts from 1, or backwards from -1."""
    index = int(text)
    found = index - 1 if index > 0 else count + index
    if not 0 <= found < count:
        raise ValueError(f"index {index} of {count}")
    return found


def write_obj(mesh: ObjMesh) -> bytes:
    """Return a mesh as OBJ text, without materials."""
    lines = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in mesh.vertices_m.tolist()]
    if len(mesh.face_normals):
        lines += [f"vn {x:.5g} {y:.5g} {z:.5g}" for x, y, z in mesh.normals.tolist()]
        both = np.stack([mesh.faces, mesh.face_normals], -1) + 1
        lines += ["f " + " ".join(f"{v}//{n}" for v, n in face) for face in both.tolist()]
    else:
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    return ("\n".join(lines) + "\n").encode()


def size_m(mesh: ObjMesh) -> np.ndarray:
    """Return the sides (3,) of the box around a mesh."""
    return np.ptp(mesh.vertices_m[np.unique(mesh.faces)], axis=0)


def outline_m(mesh: ObjMesh, height_m: float) -> np.ndarray:
    """Return where the edges of a mesh cross a height, (n, 2): x and y."""
    corners = mesh.vertices_m[mesh.faces]  # (F, 3, 3)
    above = corners[..., 2] - height_m
    crossings = []
    for first, second in ((0, 1), (1, 2), (2, 0)):
        cuts = above[:, first] * above[:, second] < 0
        share = above[cuts, first] / (above[cuts, first] - above[cuts, second])
        start, end = corners[cuts, first, :2], corners[cuts, second, :2]
        crossings.append(start + share[:, None] * (end - start))
    return np.concatenate(crossings)


def radius_at_m(mesh: ObjMesh, height_m: float) -> float:
    """Return the largest distance of the outline at a height from the z axis; 0 where there is none."""
    outline = outline_m(mesh, height_m)
    return float(np.hypot(*outline.T).max()) if len(outline) else 0.0


def pin_m(mesh: ObjMesh, step_m: float = 0.00025) -> tuple[float, float]:
    """Return length and radius of the pin at the lower end: up to where the outline suddenly grows wide."""
    heights = np.arange(mesh.vertices_m[:, 2].min() + step_m / 2, mesh.vertices_m[:, 2].max(), step_m)
    radii = np.array([radius_at_m(mesh, height) for height in heights])
    widest = radii[0]
    for index, radius in enumerate(radii):
        if radius > 1.25 * widest and index * step_m > 0.005:  # a tip may be rounded
            return index * step_m, float(widest)
        widest = max(widest, radius)
    return float(heights[-1] - heights[0]), float(widest)


def hole_m(
    mesh: ObjMesh, height_m: float, near_m: tuple[float, float], reach_m: float = 0.016
) -> tuple[float, float, float]:
    """Return x, y and radius of the hole that a height cuts next to a place.

    The innermost points of the outline, seen from the place, are taken for the wall; a circle is fitted to
    them, and its centre is the next place.

    Raises:
        UserError: nothing within `reach_m` surrounds the place.
    """
    outline, centre = outline_m(mesh, height_m), np.array(near_m)
    for _ in range(6):
        away = outline - centre
        distance, angle = np.hypot(*away.T), np.arctan2(away[:, 1], away[:, 0])
        sector = np.floor((angle + np.pi) / (2 * np.pi) * 24).astype(int) % 24
        wall = [
            outline[sector == k][distance[sector == k].argmin()] for k in range(24) if (sector == k).any()
        ]
        ring = np.array([point for point in wall if np.hypot(*(point - centre)) < reach_m])
        if len(ring) < 8:
            raise UserError(f"no hole at ({1e3 * near_m[0]:g}, {1e3 * near_m[1]:g}) mm of the mesh")
        terms = np.column_stack([2 * ring, np.ones(len(ring))])  # x^2 + y^2 = 2 a x + 2 b y + c
        a, b, c = np.linalg.lstsq(terms, (ring**2).sum(1), rcond=None)[0]
        centre, radius = np.array([a, b]), float(np.sqrt(max(c + a * a + b * b, 0.0)))
    return float(centre[0]), float(centre[1]), radius
