"""Take the visual meshes of MuJoCo Menagerie's Franka, and check that its links stand where ours do."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from robofb.envs.looks.asset_folder import ARM_PACK, AssetPack, check_free, save_pack
from robofb.envs.looks.mesh_source import MeshSource
from robofb.envs.looks.obj_mesh import read_obj, write_obj
from robofb.envs.robots import franka
from robofb.errors import UserError
from robofb.geometry import quat_to_matrix
from robofb.sim.ik import rotation_about_x, rotation_about_z

MODEL = "panda.xml"
LINKS = ("link0", *(f"link{index + 1}" for index in range(7)), "hand", "left_finger", "right_finger")
AGREES_M, AGREES_RAD = 1e-4, 1e-3
_FOLDERS = ("franka_emika_panda/", "mujoco_menagerie/franka_emika_panda/", "")

Pose = tuple[np.ndarray, np.ndarray]
"""Rotation (3, 3) and position (3,) [m]."""


def import_menagerie(path: Path, folder: Path, dry_run: bool = False) -> tuple[int, AssetPack | None]:
    """Read the arm's visual meshes and keep them.

    Args:
        path: a checkout of Menagerie, its folder of the arm, or robot_descriptions' cache.
        folder: of all packs; the meshes go to `menagerie` in it.
        dry_run: write nothing.

    Returns:
        The number of meshes, and what was written.

    Raises:
        UserError: files are missing or damaged, a link stands elsewhere than ours, or the pack exists.
    """
    if not dry_run:
        check_free(folder / ARM_PACK)
    with MeshSource(path) as source:
        tops = [top for top in _FOLDERS if source.has(top + MODEL)]
        if not tops:
            raise UserError(f"{path} lacks {' or '.join(top + MODEL for top in _FOLDERS)}")
        model = _parse(source.read(tops[0] + MODEL), f"{path}/{tops[0]}{MODEL}")
        check_frames(model)
        files = list(_meshes(source, tops[0], model))
        licence = source.read(tops[0] + "LICENSE").decode("utf-8", "replace")
    if dry_run:
        return len(files), None
    return len(files), save_pack(folder / ARM_PACK, files, licence, path.name)


def _parse(content: bytes, name: str) -> ElementTree.Element:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise UserError(f"{name} defines entities: it is not Menagerie's")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UserError(f"{name} is damaged: {error}") from None


def check_frames(model: ElementTree.Element) -> None:
    """Raise UserError unless every link of the model stands, at zero joint angles, where ours does."""
    theirs, ours = dict(_poses(model)), our_poses()
    for link in LINKS:
        if link not in theirs:
            raise UserError(f"{MODEL} has no body {link}")
        turn, position = theirs[link]
        off_m = float(np.linalg.norm(position - ours[link][1]))
        off_rad = math.acos(min(1.0, max(-1.0, (np.trace(turn.T @ ours[link][0]) - 1) / 2)))
        if off_m > AGREES_M or off_rad > AGREES_RAD:
            raise UserError(
                f"{MODEL}: {link} stands {1e3 * off_m:.2f} mm and {off_rad:.4f} rad from where ours does"
            )


def our_poses() -> dict[str, Pose]:
    """Return the poses of our links at zero joint angles, by Menagerie's names of them."""
    turn, position = np.eye(3), np.zeros(3)
    poses: dict[str, Pose] = {"link0": (turn, position)}
    for link, offset_m, about_x in zip(
        LINKS[1:8], franka.JOINT_OFFSET_M, franka.JOINT_TURN_X_RAD, strict=True
    ):
        position = position + turn @ np.array(offset_m)
        turn = turn @ rotation_about_x(about_x).numpy()
        poses[link] = (turn, position)
    position = position + turn @ np.array([0, 0, franka.FLANGE_M])
    turn = turn @ rotation_about_z(-math.pi / 4).numpy()
    poses["hand"] = (turn, position)
    position = position + turn @ np.array([0, 0, franka.FINGER_M])
    poses["left_finger"] = (turn, position)
    poses["right_finger"] = (turn @ _HALF_TURN, position)  # ours is not turned
    return poses


_HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def _poses(model: ElementTree.Element) -> Iterator[tuple[str, Pose]]:
    """Yield every body's name and pose in the world."""

    def descend(parent: ElementTree.Element, turn: np.ndarray, position: np.ndarray) -> Iterator:
        for body in parent.findall("body"):
            quat = torch.tensor(_numbers(body, "quat", (1.0, 0.0, 0.0, 0.0)), dtype=torch.float64)
            here = position + turn @ np.array(_numbers(body, "pos", (0.0, 0.0, 0.0)))
            turned = turn @ quat_to_matrix(quat / quat.norm()).numpy()
            yield body.get("name", ""), (turned, here)
            yield from descend(body, turned, here)

    for world in model.findall("worldbody"):
        yield from descend(world, np.eye(3), np.zeros(3))


def _numbers(element: ElementTree.Element, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    text = element.get(key)
    try:
        numbers = default if text is None else tuple(float(word) for word in text.split())
    except ValueError:
        numbers = ()
    if len(numbers) != len(default):
        raise UserError(f"{MODEL}: {element.tag} {element.get('name', '')} has {key} '{text}'")
    return numbers


def _meshes(
    source: MeshSource, top: str, model: ElementTree.Element
) -> Iterator[tuple[str, tuple[float, ...], bytes]]:
    """Yield for each visual geom the link, its colour and the mesh, in our link's frame."""
    folder = top + "".join(f"{found.get('meshdir')}/" for found in model.findall("compiler[@meshdir]"))
    files = {found.get("name", Path(found.get("file", "")).stem): found for found in model.iter("mesh")}
    colours = {
        found.get("name"): _numbers(found, "rgba", (1.0, 1.0, 1.0, 1.0)) for found in model.iter("material")
    }
    for body in model.iter("body"):
        link = body.get("name", "")
        for geom in body.findall("geom[@class='visual']"):
            mesh = geom.get("mesh", "")
            if link not in LINKS:
                continue
            moved = {"pos", "quat"}.intersection(geom.keys())
            if mesh not in files or moved or files[mesh].get("scale") is not None:
                raise UserError(f"{MODEL}: {link} shows mesh '{mesh}' in a way that is not Menagerie's")
            name = folder + files[mesh].get("file", "")
            turn = _HALF_TURN if link == "right_finger" else np.eye(3)
            shown = read_obj(source.read(name), name).moved(turn, (0.0, 0.0, 0.0))
            yield link, colours.get(geom.get("material"), (1.0, 1.0, 1.0, 1.0)), write_obj(shown)
