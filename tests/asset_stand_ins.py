"""Stand-ins for what other projects ship: small meshes in the layout of furniture-bench and of Menagerie."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from robofb.envs.looks.dimension_check import OUR_HOLES_M, OUR_PINS_M, OUR_SIZES_M
from robofb.envs.looks.part_meshes import PART_MESHES

MESH_FOLDER = "furniture_bench/assets/furniture/mesh/"
LICENCE = "furniture_bench-0.1.dist-info/LICENSE"
SIDES = 24
# Each link of the arm in the one before it: name, pos, quat as Menagerie writes them.
MENAGERIE_LINKS = (
    ("link1", "0 0 0.333", ""),
    ("link2", "", "1 -1 0 0"),
    ("link3", "0 -0.316 0", "1 1 0 0"),
    ("link4", "0.0825 0 0", "1 1 0 0"),
    ("link5", "-0.0825 0.384 0", "1 -1 0 0"),
    ("link6", "", "1 1 0 0"),
    ("link7", "0.088 0 0", "1 1 0 0"),
    ("link8", "0 0 0.107", ""),
    ("hand", "", "0.9238795 0 0 -0.3826834"),
)


def box(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[list, list]:
    """Return vertices and faces (from 0, quads) of a box."""
    corners = [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    return corners, [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def tube(centre: tuple[float, float], radius: float, low: float, high: float) -> tuple[list, list]:
    """Return vertices and faces (from 0, quads) of an open tube along z."""
    angles = [2 * math.pi * (index + 0.5) / SIDES for index in range(SIDES)]
    ring = [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]
    vertices = [(x, y, z) for z in (low, high) for x, y in ring]
    after = [(index + 1) % SIDES for index in range(SIDES)]
    return vertices, [(k, after[k], SIDES + after[k], SIDES + k) for k in range(SIDES)]


def part_shapes(part: str) -> list[tuple[list, list]]:
    """Return the shapes of a part as our tables have it, in its frame: a body, its pin and its hole."""
    width, depth, height = OUR_SIZES_M[part]
    pin = OUR_PINS_M.get(part, (0.0, 0.0))[0]
    hangs = part in OUR_HOLES_M  # its origin is in its upper face
    low = -height if hangs else 0.0
    high = 0.0 if hangs else height - pin
    shapes = [box((-width / 2, -depth / 2, low), (width / 2, depth / 2, high))]
    if part in OUR_PINS_M:
        shapes.append(tube((0.0, 0.0), OUR_PINS_M[part][1] / math.cos(math.pi / SIDES), -pin, 0.0))
    if part in OUR_HOLES_M:
        x, y, radius = OUR_HOLES_M[part]
        shapes.append(tube((x, y), radius, -0.01, 0.0))
    return shapes


def obj_text(shapes: list[tuple[list, list]], turn: np.ndarray, origin: np.ndarray, scale: float) -> str:
    """Return shapes as OBJ, moved from the part's frame to the mesh's."""
    lines, count = ["mtllib part.mtl", "usemtl shell"], 0
    for vertices, faces in shapes:
        placed = scale * (np.array(vertices) @ turn + origin)
        lines += [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in placed]
        lines += ["f " + " ".join(f"{count + corner + 1}/1/1" for corner in face) for face in faces]
        count += len(vertices)
    lines.insert(2, "vn 0 0 1")
    return "\n".join(lines) + "\n"


def part_obj(part: str, scale: float = 1.0) -> str:
    """Return the OBJ text of a part's stand-in, in the frame of furniture-bench's mesh, with a tag."""
    (place,) = (place for place in PART_MESHES if place.part == part)
    tag = "v 0 0 0\nv .001 0 0\nv 0 .001 0\nusemtl tag\nf -3//1 -2//1 -1//1\n"
    return obj_text(part_shapes(part), place.turn, np.array(place.origin_m), scale) + tag


def furniture_bench_files(scale: float = 1.0) -> dict[str, str]:
    """Return what a wheel of furniture-bench holds, as far as it concerns us, by its names."""
    files = {MESH_FOLDER + place.file: part_obj(place.part, scale) for place in PART_MESHES}
    return {**files, LICENCE: "a licence"}


def write_wheel(path: Path, files: dict[str, str]) -> Path:
    """Write files into a zip archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def write_tree(path: Path, files: dict[str, str]) -> Path:
    """Write files into a folder."""
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def menagerie_files(links: tuple = MENAGERIE_LINKS, meshes: dict[str, str] | None = None) -> dict[str, str]:
    """Return a folder like Menagerie's of the arm: one mesh for each link, one for both fingers."""
    names = ["link0", *(name for name, _, _ in links if name != "link8"), "finger"]
    meshes = meshes or {
        name: obj_text([box((0,) * 3, (0.02,) * 3)], np.eye(3), np.zeros(3), 1.0) for name in names
    }
    assets = "".join(f'<mesh file="{name}_0.obj"/>' for name in names)
    inner = "".join(
        f'<body name="{side}_finger" pos="0 0 0.0584"{quat}>'
        '<geom mesh="finger_0" material="black" class="visual"/><geom class="pad"/></body>'
        for side, quat in (("left", ""), ("right", ' quat="0 0 0 1"'))
    )
    for name, pos, quat in reversed(links):
        place = "".join(f' {key}="{value}"' for key, value in (("pos", pos), ("quat", quat)) if value)
        shown = "" if name == "link8" else f'<geom mesh="{name}_0" material="white" class="visual"/>'
        inner = f'<body name="{name}"{place}>{shown}{inner}</body>'
    text = (
        '<mujoco><compiler angle="radian" meshdir="assets"/><asset>'
        '<material name="white" rgba="1 1 1 1"/><material name="black" rgba="0.25 0.25 0.25 1"/>'
        f'{assets}</asset><worldbody><body name="link0">'
        '<geom mesh="link0_0" material="white" class="visual"/>'
        f'<geom mesh="link0_0" class="collision"/>{inner}</body></worldbody></mujoco>'
    )
    return {
        "panda.xml": text,
        "LICENSE": "another licence",
        **{f"assets/{name}_0.obj": meshes[name] for name in names},
    }
