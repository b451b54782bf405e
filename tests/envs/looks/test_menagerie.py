"""The importer of Menagerie's arm, on a stand-in of its layout."""

import numpy as np
import pytest
from asset_stand_ins import MENAGERIE_LINKS, menagerie_files, write_tree

from robofb import cli
from robofb.envs.looks.menagerie import LINKS, import_menagerie
from robofb.envs.looks.obj_mesh import read_obj
from robofb.errors import UserError


def refusal(files, folder) -> str:
    with pytest.raises(UserError) as refused:
        import_menagerie(write_tree(folder / "panda", files), folder)
    assert not (folder / "menagerie").exists()
    return str(refused.value)


@pytest.mark.parametrize("inner", ["", "franka_emika_panda", "mujoco_menagerie/franka_emika_panda"])
def test_every_link_has_its_mesh_and_colour(tmp_path, inner):
    write_tree(tmp_path / "panda" / inner, menagerie_files())
    count, pack = import_menagerie(tmp_path / "panda", tmp_path)
    assert count == len(LINKS) == 11
    assert [mesh.shows for mesh in pack.meshes] == list(LINKS)
    assert {mesh.shows: mesh.rgba for mesh in pack.meshes}["left_finger"] == (0.25, 0.25, 0.25, 1.0)
    assert (pack.folder / "LICENSE").read_text() == "another licence"


def test_the_right_finger_is_turned_into_our_frame(tmp_path):
    """Menagerie turns the body by half a turn about z, we do not: 20 mm along +x become 20 along -x."""
    _, pack = import_menagerie(write_tree(tmp_path / "panda", menagerie_files()), tmp_path)
    ends = {}
    for side in ("left", "right"):
        (mesh,) = pack.showing(f"{side}_finger")
        ends[side] = read_obj((pack.folder / mesh.file).read_bytes(), mesh.file).vertices_m
    np.testing.assert_allclose(ends["right"], ends["left"] * [-1, -1, 1], atol=1e-9)
    assert ends["left"].max() == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("link", "change", "words"),
    [
        ("link5", "-0.0825 0.394 0", "link5 stands 10.00 mm"),
        ("link3", "0 -0.316 0.0002", "link3 stands 0.20 mm"),
    ],
)
def test_a_link_that_stands_elsewhere_is_refused(tmp_path, link, change, words):
    links = tuple((name, change if name == link else pos, quat) for name, pos, quat in MENAGERIE_LINKS)
    assert words in refusal(menagerie_files(links), tmp_path)


def test_a_link_that_is_turned_or_missing_is_refused(tmp_path):
    turned = tuple((name, pos, "1 1 0 0" if name == "link2" else quat) for name, pos, quat in MENAGERIE_LINKS)
    assert "link2 stands 0.00 mm and 3.1416 rad" in refusal(menagerie_files(turned), tmp_path / "a")
    files = menagerie_files()
    files["panda.xml"] = files["panda.xml"].replace('name="link6"', 'name="link9"')
    assert "has no body link6" in refusal(files, tmp_path / "b")


def test_what_is_missing_or_strange_is_named(tmp_path):
    files = menagerie_files()
    scaled = files["panda.xml"].replace('file="link1_0.obj"', 'file="link1_0.obj" scale="1 1 1"')
    for number, (change, words) in enumerate(
        (
            ({"panda.xml": "<mujoco>"}, "is damaged"),
            ({"panda.xml": "<!DOCTYPE a [<!ENTITY b 'c'>]><mujoco/>"}, "defines entities"),
            ({"assets/link3_0.obj": "v 1"}, "link3_0.obj is damaged"),
            ({"panda.xml": files["panda.xml"].replace('pos="0 0 0.333"', 'pos="0 0"')}, "has pos '0 0'"),
            ({"panda.xml": scaled}, "link1 shows mesh 'link1_0'"),
        )
    ):
        assert words in refusal({**files, **change}, tmp_path / str(number))
    for gone in ("LICENSE", "assets/link7_0.obj", "panda.xml"):
        rest = {name: text for name, text in files.items() if name != gone}
        assert gone in refusal(rest, tmp_path / gone.replace("/", "_"))


def test_command(tmp_path, capsys):
    panda = write_tree(tmp_path / "panda", menagerie_files())
    words = ["assets", "menagerie", str(panda), "--out", str(tmp_path / "out")]
    assert cli.run([*words, "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()
    assert cli.run(words) == 0
    assert "all links stand where ours do; 11 meshes" in capsys.readouterr().out
