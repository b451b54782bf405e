"""What tasks show: meshes where they are asked for, and physics that knows nothing of it."""

import mujoco
import numpy as np
import pytest
import torch
from asset_stand_ins import furniture_bench_files, menagerie_files, write_tree, write_wheel

from robofb.envs import make_task, scripted_task_names
from robofb.envs.looks.furniture_bench import import_furniture_bench
from robofb.envs.looks.menagerie import import_menagerie, our_poses
from robofb.envs.looks.palette import grain
from robofb.envs.looks.show import ARM_BODIES, HIDDEN_GROUP
from robofb.errors import UserError
from robofb.rng import derive_seeds
from robofb.sim.vec_env import SimVecEnv
from robofb.worlds import env_of_task

MESH = mujoco.mjtGeom.mjGEOM_MESH
OF_PHYSICS = ("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_pos", "body_quat", "dof_armature")


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    """Return a folder with both packs."""
    folder = tmp_path_factory.mktemp("assets")
    import_furniture_bench(write_wheel(folder / "a.whl", furniture_bench_files()), folder)
    import_menagerie(write_tree(folder / "panda", menagerie_files()), folder)
    return folder


@pytest.fixture
def at_hand(assets, monkeypatch):
    monkeypatch.setenv("ROBOFB_ASSETS", str(assets))


def trajectory(task, steps: int) -> np.ndarray:
    env = SimVecEnv(task, 1, autoreset=False)
    expert = task.expert(1, 1.0)
    obs = env.repeat(derive_seeds(3, torch.arange(1)))
    expert.reset(torch.ones(1, dtype=torch.bool), env.episode_seed)
    states = []
    for _ in range(steps):
        obs = env.step(expert.next(obs)).obs
        states.append(np.concatenate([env.engine.field(name).numpy().copy()[0] for name in ("qpos", "qvel")]))
    env.close()
    return np.stack(states)


@pytest.mark.parametrize("name", ["one_leg_insert", "lamp", "peg_hole"])
def test_physics_is_the_same_bit_for_bit(name, at_hand):
    plain, meshes = make_task(name), make_task(name, looks="meshes")
    for field in OF_PHYSICS:
        np.testing.assert_array_equal(getattr(meshes.model, field), getattr(plain.model, field), field)
    assert meshes.model.stat.meaninertia == plain.model.stat.meaninertia
    np.testing.assert_array_equal(trajectory(meshes, 20), trajectory(plain, 20))


@pytest.mark.parametrize("name", scripted_task_names())
def test_what_is_only_seen_has_no_contact(name):
    """Every geom either may touch something, or is only seen: then no contact bit is set."""
    model = make_task(name).model
    touches = (model.geom_contype | model.geom_conaffinity) != 0
    seen = model.geom_group < HIDDEN_GROUP
    assert (touches | seen).all()  # nothing is there for nothing
    arm = [model.body(body).id for body in ARM_BODIES.values() if not body.startswith("finger")]
    assert not (touches & seen & np.isin(model.geom_bodyid, arm)).any()


def test_meshes_are_shown_and_what_they_stand_for_is_hidden(at_hand):
    model = make_task("square_table", looks="meshes").model
    meshes = model.geom_type == MESH
    assert meshes.sum() == 11 + 5  # links and fingers; four legs and the top
    assert not model.geom_contype[meshes].any() and not model.geom_conaffinity[meshes].any()
    assert (model.geom_group[meshes] < HIDDEN_GROUP).all()
    shown = [*ARM_BODIES.values(), "top", "leg1", "leg2", "leg3", "leg4"]
    bodies = [model.body(name).id for name in shown]
    primitives = np.isin(model.geom_bodyid, bodies) & ~meshes
    assert (model.geom_group[primitives] >= HIDDEN_GROUP).all()
    contacts = make_task("square_table").model
    assert (model.geom_contype != 0).sum() == (contacts.geom_contype != 0).sum()


def test_arm_alone_and_parts_alone(at_hand):
    counts = {looks: make_task("one_leg", looks=looks).model for looks in ("primitive", "arm", "parts")}
    assert [(model.geom_type == MESH).sum() for model in counts.values()] == [0, 11, 2]
    top = counts["parts"].geom_matid[counts["parts"].geom_type == MESH]
    assert {counts["parts"].mat(index).name for index in top} == {"oak", "maple"}


def test_links_stand_where_menageries_do(at_hand):
    """Our scene at zero angles against the chain that the importer compares: the oracle is MuJoCo's."""
    model = make_task("peg_hole").model
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for link, (turn, position) in our_poses().items():
        body = data.body(ARM_BODIES[link])
        np.testing.assert_allclose(body.xpos, position, atol=1e-9, err_msg=link)
        half_turn = np.diag([-1, -1, 1]) if link == "right_finger" else np.eye(3)
        np.testing.assert_allclose(body.xmat.reshape(3, 3) @ half_turn, turn, atol=1e-9, err_msg=link)


def test_a_mesh_lies_where_its_file_says(at_hand, assets):
    """The stand-in of a leg spans z from -16 to 71.5 mm in the body's frame."""
    model = make_task("one_leg", looks="parts").model
    (geom,) = [
        g
        for g in range(model.ngeom)
        if model.geom_type[g] == MESH and model.geom_bodyid[g] == model.body("leg").id
    ]
    mesh = model.geom_dataid[geom]
    start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    points = model.mesh_vert[start : start + count] @ turn.reshape(3, 3).T + model.geom_pos[geom]
    np.testing.assert_allclose(points.min(0), [-0.015, -0.015, -0.016], atol=1e-6)
    np.testing.assert_allclose(points.max(0), [0.015, 0.015, 0.0715], atol=1e-6)


def test_absent_meshes_are_told_with_the_way_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBOFB_ASSETS", str(tmp_path))
    for looks, pack in (("arm", "menagerie"), ("parts", "furniture-bench"), ("meshes", "menagerie")):
        with pytest.raises(UserError, match=f"no {pack} meshes in .*: robofb assets {pack} PATH"):
            make_task("one_leg", looks=looks)
    assert make_task("one_leg").meta.keys() == {"robot", "randomness", "rotation", "frame"}


def test_looks_that_cannot_be_are_refused(at_hand):
    with pytest.raises(UserError, match="looks must be one of primitive, arm, parts, meshes, not 'mesh'"):
        make_task("one_leg", looks="mesh")
    with pytest.raises(UserError, match="looks=parts: none of this task's parts has a mesh"):
        make_task("mug_rack", looks="parts")


def test_datasets_tell_their_looks_and_are_shown_by_them(at_hand):
    task = make_task("one_leg_insert", looks="parts")
    assert task.meta["looks"] == "parts"
    assert [*task.meta["looks_sha256"]] == ["furniture-bench"]
    env = env_of_task("one_leg_insert", 1, task.meta)
    assert env.task.meta == task.meta
    env.close()


def test_grain_is_continuous_across_the_edges_of_the_cube():
    """Faces in OpenGL's order: the right edge of +z meets the left edge of +x, and so on round the cube."""
    faces = grain(256)
    edges = [(faces[a][:, -1], faces[b][:, 0]) for a, b in ((4, 0), (0, 5), (5, 1), (1, 4))]
    edges.append((faces[2][-1], faces[4][0]))  # +y above +z
    assert max(np.abs(one - other).mean() for one, other in edges) < 0.01
    assert np.abs(faces[4][:, -1] - faces[1][:, 0]).mean() > 0.03  # no neighbours
    assert 0.7 < faces.min() < 0.85 and faces.max() <= 1.0
