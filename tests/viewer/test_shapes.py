"""Meshes: closed, seen from outside, and of the volume that geometry gives."""

import math
from collections import Counter

import mujoco
import numpy as np
import pytest

from robofb.viewer.shapes import box, capsule, cylinder, ellipsoid, geom_mesh

SMOOTH = 0.04  # share of the volume that facets cut off


def volume(mesh):
    """Return the signed volume: positive where all faces are counterclockwise seen from outside."""
    a, b, c = (mesh[0][mesh[1][:, corner]].astype(float) for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (box(np.array([0.1, 0.2, 0.3])), 8 * 0.006),
        (cylinder(0.2, 0.5), math.pi * 0.04),
        (capsule(0.2, 0.5), math.pi * 0.04 + 4 / 3 * math.pi * 0.008),
        (ellipsoid(np.array([0.1, 0.2, 0.3])), 4 / 3 * math.pi * 0.006),
    ],
)
def test_volumes(mesh, expected):
    assert (1 - SMOOTH) * expected <= volume(mesh) <= expected * 1.0001
    assert mesh[0].dtype == np.float32 and mesh[1].dtype == np.uint32


def test_a_box_is_closed():
    edges = Counter((int(face[i]), int(face[(i + 1) % 3])) for face in box(np.ones(3))[1] for i in range(3))
    assert all(count == 1 and edges[b, a] == 1 for (a, b), count in edges.items())


def test_extents_are_the_shapes():
    vertices = capsule(0.2, 0.5)[0]
    np.testing.assert_allclose(vertices.max(0), [0.2, 0.2, 0.7], atol=1e-6)
    np.testing.assert_allclose(vertices.min(0), [-0.2, -0.2, -0.7], atol=1e-6)


XML = """<mujoco><asset><mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/>
<hfield name="h" nrow="2" ncol="2" size="1 1 1 1"/></asset><worldbody>
<geom type="plane" size="0 2 .1"/><geom type="sphere" size=".1"/><geom type="capsule" size=".1 .2"/>
<geom type="ellipsoid" size=".1 .2 .3"/><geom type="cylinder" size=".1 .2"/><geom type="box" size=".1 .2 .3"/>
<geom type="mesh" mesh="m"/><geom type="hfield" hfield="h"/></worldbody></mujoco>"""


def test_every_shape_of_mujoco_but_fields_has_a_mesh_of_its_extent():
    model = mujoco.MjModel.from_xml_string(XML)
    meshes = [geom_mesh(model, geom) for geom in range(model.ngeom)]
    assert meshes[-1] is None
    for geom in range(1, 6):
        extent = model.geom_aabb[geom, 3:]
        np.testing.assert_allclose(meshes[geom][0].max(0), extent, rtol=0.01)
    assert meshes[0][0][:, 2].max() == 0.0 and meshes[0][0][:, 1].max() == pytest.approx(2.0)
    assert volume(meshes[6]) == pytest.approx(1 / 6, rel=1e-4)
