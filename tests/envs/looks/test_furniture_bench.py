"""The importer of furniture-bench's meshes, on a stand-in wheel built here."""

import json
import zipfile

import pytest
from asset_stand_ins import (
    LICENCE,
    MESH_FOLDER,
    furniture_bench_files,
    part_obj,
    write_tree,
    write_wheel,
)

from robofb import cli
from robofb.envs.looks.asset_folder import LICENCE_FILE, LIST_FILE, load_pack
from robofb.envs.looks.furniture_bench import import_furniture_bench
from robofb.envs.looks.obj_mesh import read_obj, size_m
from robofb.envs.looks.part_meshes import PART_MESHES
from robofb.errors import UserError

LEG = MESH_FOLDER + "square_table/square_table_leg1.obj"


def refusal(path, out) -> str:
    with pytest.raises(UserError) as refused:
        import_furniture_bench(path, out)
    assert not out.exists() or not [*out.iterdir()], "something was left behind"
    return str(refused.value)


@pytest.mark.parametrize("inside", [True, False])
def test_wheel_and_checkout_give_the_same_pack(tmp_path, inside):
    files = furniture_bench_files()
    wheel = write_wheel(tmp_path / "a.whl", files)
    tree = write_tree(tmp_path / "tree", {**files, "LICENSE": files[LICENCE]})
    path = tree if inside else tree / "furniture_bench"
    if not inside:
        (path / "LICENSE").write_text(files[LICENCE])
    first = import_furniture_bench(wheel, tmp_path / "one")
    second = import_furniture_bench(path, tmp_path / "two")
    assert first.sound and second.sound
    assert [mesh.sha256 for mesh in first.pack.meshes] == [mesh.sha256 for mesh in second.pack.meshes]
    assert {mesh.shows for mesh in first.pack.meshes} == {
        place.part for place in PART_MESHES if not place.why_hidden
    }
    assert (first.pack.folder / LICENCE_FILE).read_text() == "a licence"
    assert not [*tmp_path.glob("**/.*")]


def test_kept_meshes_are_in_the_frames_of_our_parts(tmp_path):
    """Of a leg: the shoulder at z = 0, the peg 16 mm below it, the body 71.5 mm above."""
    pack = import_furniture_bench(write_wheel(tmp_path / "a.whl", furniture_bench_files()), tmp_path).pack
    (leg,) = pack.showing("square_leg")
    mesh = read_obj((pack.folder / leg.file).read_bytes(), leg.file)
    assert size_m(mesh) == pytest.approx([0.03, 0.03, 0.0875])
    assert mesh.vertices_m[:, 2].min() == pytest.approx(-0.016)
    assert mesh.vertices_m[:, 2].max() == pytest.approx(0.0715)


def test_our_own_shapes_agree_in_every_dimension(tmp_path):
    rows = import_furniture_bench(
        write_wheel(tmp_path / "a.whl", furniture_bench_files()), tmp_path
    ).dimensions
    assert len(rows) == 39
    assert [row for row in rows if not row.agrees] == []


def test_an_outer_size_that_differs_takes_nothing_and_fails(tmp_path, capsys):
    files = furniture_bench_files()
    files[LEG] = part_obj("square_leg", scale=1.02)  # 89.25 instead of 87.5 mm
    wheel = write_wheel(tmp_path / "a.whl", files)
    assert cli.run(["assets", "furniture-bench", str(wheel), "--out", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.startswith("square_leg") and "along z" in line]
    assert row.split() == ["square_leg", "size", "along", "z", "87.50", "89.25", "+1.75", "DIFFERS"]
    assert "3 of 24 outer sizes differ" in lines[-2]
    assert not (tmp_path / "out").exists()


def test_another_unit_is_told(tmp_path):
    wheel = write_wheel(tmp_path / "a.whl", furniture_bench_files(scale=1000.0))
    assert "is in millimetres" in refusal(wheel, tmp_path / "out")


@pytest.mark.parametrize(("scale", "ratio"), [(0.0, 0), (0.05, 0.05), (700.0, 700), (2e9, 2e9)])
def test_a_mesh_of_which_nothing_can_be_measured_is_named(tmp_path, scale, ratio):
    files = furniture_bench_files()
    files[LEG] = part_obj("square_leg", scale)
    message = refusal(write_wheel(tmp_path / "a.whl", files), tmp_path / "out")
    assert f"the mesh of square_leg is {ratio:.4g} times as large as our part: furniture-bench's" in message


@pytest.mark.parametrize(
    ("place", "change"),
    [(6, b"\x63\x00"), (46, b"\xff")],  # after the signature of the directory's first entry: version, name
)
def test_a_wheel_with_a_directory_that_nobody_reads_is_refused(tmp_path, place, change):
    wheel = write_wheel(tmp_path / "a.whl", {"\u00e9": "", **furniture_bench_files()})
    content = bytearray(wheel.read_bytes())
    start = content.index(b"PK\x01\x02") + place
    content[start : start + len(change)] = change
    wheel.write_bytes(content)
    assert "is neither a folder nor a wheel" in refusal(wheel, tmp_path / "out")


@pytest.mark.parametrize("name", ["../" + LEG, "/etc/" + LEG, "a/../../b", "..\\b"])
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path, name):
    wheel = write_wheel(tmp_path / "a.whl", {**furniture_bench_files(), name: "x"})
    assert "leads out of it" in refusal(wheel, tmp_path / "out")


def test_what_is_missing_is_named(tmp_path):
    files = furniture_bench_files()
    without = {name: text for name, text in files.items() if name != LEG}
    said = refusal(write_wheel(tmp_path / "a.whl", without), tmp_path / "out")
    assert said.endswith(f"lacks {LEG}")
    del files[LICENCE]
    assert "lacks a licence" in refusal(write_wheel(tmp_path / "b.whl", files), tmp_path / "out")
    assert "no file or folder" in refusal(tmp_path / "nothing", tmp_path / "out")


def test_damage_is_told_in_one_line(tmp_path, monkeypatch):
    files = {**furniture_bench_files(), LEG: "v 0 0 0\nf 1 2 3\n"}
    wheel = write_wheel(tmp_path / "a.whl", files)
    assert "square_table_leg1.obj is damaged: line 2" in refusal(wheel, tmp_path / "out")
    (tmp_path / "no.whl").write_bytes(b"PK\x03\x04 and no more")
    assert "neither a folder nor a wheel" in refusal(tmp_path / "no.whl", tmp_path / "out")
    content = wheel.read_bytes()
    (tmp_path / "bent.whl").write_bytes(content.replace(b"usemtl shell", b"usemtl shall", 1))
    assert "cannot read" in refusal(tmp_path / "bent.whl", tmp_path / "out")  # its checksum tells
    monkeypatch.setattr("robofb.envs.looks.mesh_source.MOST_BYTES", 100)
    assert "is larger than" in refusal(wheel, tmp_path / "out")


def test_a_second_import_is_refused_before_it_starts_and_a_dry_run_writes_nothing(tmp_path, capsys):
    wheel, out = write_wheel(tmp_path / "a.whl", furniture_bench_files()), tmp_path / "out"
    words = ["assets", "furniture-bench", str(wheel), "--out", str(out)]
    assert cli.run([*words, "--dry-run"]) == 0
    assert not out.exists()
    assert cli.run(words) == 0
    assert f"ROBOFB_ASSETS={out}" in capsys.readouterr().out
    assert cli.run(words) == 2
    assert "exists: remove it" in capsys.readouterr().err


def test_a_pack_that_was_changed_is_refused(tmp_path):
    pack = import_furniture_bench(write_wheel(tmp_path / "a.whl", furniture_bench_files()), tmp_path).pack
    path = pack.folder / LIST_FILE
    held = json.loads(path.read_text())
    for change in (
        {"format": 9},
        {"meshes": [{"file": "../a"}]},
        {"meshes": [{**held["meshes"][0], "file": "../a"}]},
    ):
        path.write_text(json.dumps({**held, **change}))
        with pytest.raises(UserError, match=r"meshes.json is damaged"):
            load_pack(pack.folder)
    path.write_text(json.dumps(held))
    (pack.folder / held["meshes"][0]["file"]).write_text("v 0 0 0")
    with pytest.raises(UserError, match="is not the file that was imported"):
        load_pack(pack.folder).showing(held["meshes"][0]["shows"])


def test_a_stored_wheel_is_not_unpacked_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "extract", None)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    assert import_furniture_bench(write_wheel(tmp_path / "a.whl", furniture_bench_files()), tmp_path).pack
