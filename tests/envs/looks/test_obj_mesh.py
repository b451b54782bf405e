"""OBJ files: read, refused, written, measured."""

import math

import numpy as np
import pytest
from asset_stand_ins import box, obj_text, tube

from robofb.envs.looks.obj_mesh import hole_m, outline_m, pin_m, read_obj, size_m, write_obj
from robofb.errors import UserError

SQUARE = "v 0 0 0\nv 2 0 0\nv 2 3 0\nv 0 3 0\n"


def shapes(*parts):
    return read_obj(obj_text(list(parts), np.eye(3), np.zeros(3), 1.0).encode(), "a.obj").of_main_material()


def test_polygons_become_fans_and_indices_may_count_backwards():
    mesh = read_obj((SQUARE + "f 1 2 3 4\nf -4 -3 -2\n").encode(), "a.obj")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert size_m(mesh).tolist() == [2, 3, 0]
    assert len(mesh.face_normals) == 0


def test_written_text_is_read_again_with_its_normals():
    text = SQUARE + "vn 0 0 1\nvn 0 1 0\nusemtl a\nf 1/9/1 2/9/2 3/9/1\n"
    mesh = read_obj(text.encode(), "a.obj")
    again = read_obj(write_obj(mesh), "b.obj")
    for field in ("vertices_m", "faces", "normals", "face_normals"):
        np.testing.assert_array_equal(getattr(again, field), getattr(mesh, field))
    assert again.face_normals.tolist() == [[0, 1, 0]]


def test_the_main_material_alone_is_kept_with_what_it_needs():
    text = SQUARE + "v 9 9 9\nusemtl tag\nf 5 1 2\nusemtl wood\nf 1 2 3 4\n"
    mesh = read_obj(text.encode(), "a.obj").of_main_material()
    assert (len(mesh.vertices_m), mesh.faces.tolist()) == (4, [[0, 1, 2], [0, 2, 3]])


def test_moved_by_hand():
    """A frame with axes z, x, y of the mesh and origin (1, 1, 1): the point (2, 3, 0) is (-1, 1, 2)."""
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    mesh = read_obj((SQUARE + "vn 0 1 0\nf 1//1 2//1 3//1\n").encode(), "a.obj").moved(turn, (1, 1, 1))
    assert mesh.vertices_m[2].tolist() == [-1, 1, 2]
    assert mesh.normals.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SQUARE + "f 1 2 5\n", "line 5: index 5 of 4"),
        (SQUARE + "f 1 2 -5\n", "line 5: index -5 of 4"),
        (SQUARE + "f 1 2 0\n", "line 5: index 0 of 4"),
        (SQUARE + "f 1 2\n", "line 5: a face needs three corners"),
        (SQUARE + "f 1 2 x\n", "line 5: 'x' is no corner"),
        (SQUARE + "f 1//1 2//1 3//1\n", "line 5: index 1 of 0"),
        ("v 1 2\n", "line 1: '1 2' is not three numbers"),
        ("v 1 nan 2\n", "line 1: '1 nan 2' is not three numbers"),
        ("v 1 zwei 3\n", "line 1: could not convert"),
        (SQUARE, "it has no faces"),
        ("", "it has no faces"),
    ],
)
def test_damage_is_named_by_its_line(text, words):
    with pytest.raises(UserError, match="a.obj is damaged") as refusal:
        read_obj(text.encode(), "a.obj")
    assert words in str(refusal.value)


def test_what_is_no_text_or_too_large_is_refused(monkeypatch):
    with pytest.raises(UserError, match="it is not text"):
        read_obj(b"\xff\xfe\x00", "a.obj")
    monkeypatch.setattr("robofb.envs.looks.obj_mesh.MOST_FACES", 1)
    with pytest.raises(UserError, match="more than 1 faces"):
        read_obj((SQUARE + "f 1 2 3 4\n").encode(), "a.obj")


def test_outline_pin_and_hole_by_hand():
    """A box 40 mm wide on a pin 12 long, of 24 sides, with a hole at (8, -6)."""
    mesh = shapes(
        box((-0.02, -0.02, 0), (0.02, 0.02, 0.03)),
        tube((0, 0), 0.005, -0.012, 0),
        tube((0.008, -0.006), 0.004, 0.02, 0.03),
    )
    assert np.ptp(outline_m(mesh, 0.01), axis=0) == pytest.approx([0.04, 0.04])
    assert len(outline_m(mesh, 0.5)) == 0
    length, radius = pin_m(mesh)
    assert length == pytest.approx(0.012, abs=0.0003)
    assert 0.005 * math.cos(math.pi / 24) <= radius <= 0.0050001
    x, y, radius = hole_m(mesh, 0.025, (0.010, -0.004))  # looked for 2.8 mm off
    assert (x, y) == pytest.approx((0.008, -0.006), abs=1e-5)
    assert radius == pytest.approx(0.004, abs=5e-5)
    with pytest.raises(UserError, match=r"no hole at \(50, 0\) mm"):
        hole_m(mesh, 0.025, (0.05, 0.0))
