"""A recorded world as nodes of a viser scene: made once, moved from step to step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from robofb.sim.recorded import RecordedScene
from robofb.store.named_values import PoseTrack
from robofb.viewer.shapes import geom_mesh

LOG = logging.getLogger(__name__)
SHOWN_GROUPS = 3  # geom groups 0, 1, 2, as in MuJoCo's own viewer
AXES_M, TRAIL_M = 0.06, 0.0015  # length of the axes of a pose, width of its trail
TRAIL_COLOURS = ((37, 99, 235), (234, 88, 12), (22, 163, 74), (147, 51, 234))


class ModelNodes:
    """The bodies of a model, each a node with the meshes of its geoms below it.

    Args:
        scene: viser's scene.
        recorded: what to show; `update` shows its present state.
    """

    def __init__(self, scene: Any, recorded: RecordedScene) -> None:
        self._recorded = recorded
        model = recorded.model
        self.bodies = [
            scene.add_frame(f"/bodies/{body}", show_axes=False, **_pose(np.zeros(3), np.eye(4)[0]))
            for body in range(model.nbody)
        ]
        self.geoms: dict[int, Any] = {}
        for geom in range(model.ngeom):
            mesh, rgba = geom_mesh(model, geom), _rgba(model, geom)
            if model.geom_group[geom] >= SHOWN_GROUPS or rgba[3] == 0.0:
                continue
            if mesh is None:
                LOG.warning("geom %d has a shape that the viewer does not show", geom)
                continue
            self.geoms[geom] = scene.add_mesh_simple(
                f"/bodies/{model.geom_bodyid[geom]}/{geom}",
                *mesh,
                color=tuple(round(255 * float(value)) for value in rgba[:3]),
                opacity=None if rgba[3] >= 1.0 else float(rgba[3]),
                flat_shading=model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX.value,
                cast_shadow=False,
                receive_shadow=False,
                **_pose(model.geom_pos[geom], model.geom_quat[geom]),
            )

    def update(self) -> None:
        """Move every node to where its body is now."""
        data = self._recorded.data
        for body, node in enumerate(self.bodies):
            node.position, node.wxyz = data.xpos[body].copy(), data.xquat[body].copy()

    def path_of(self, frame: str) -> str:
        """Return the path of the node of a frame: that of the body of this name, else the world's, ""."""
        found = mujoco.mj_name2id(self._recorded.model, mujoco.mjtObj.mjOBJ_BODY, frame)
        return f"/bodies/{found}" if found >= 0 else ""


def _pose(position: np.ndarray, wxyz: np.ndarray) -> dict[str, np.ndarray]:
    return {"position": np.array(position), "wxyz": np.array(wxyz)}


def _rgba(model: mujoco.MjModel, geom: int) -> np.ndarray:
    material = model.geom_matid[geom]
    return np.asarray(model.geom_rgba[geom] if material < 0 else model.mat_rgba[material])


class PoseNodes:
    """The named poses of one episode: axes that move, and the trails of their whole courses.

    Args:
        scene: viser's scene.
        tracks: poses of the episode.
        axes: whether to show axes; a model's bodies may say more.
        parents: path of the node of each frame, where it has one.
    """

    def __init__(
        self, scene: Any, tracks: Sequence[PoseTrack], axes: bool, parents: dict[str, str] | None = None
    ) -> None:
        self._nodes: list[Any] = []
        self._moving: list[tuple[Any, PoseTrack]] = []
        for index, track in enumerate(tracks):
            place = f"{(parents or {}).get(track.frame, '')}/poses/{index}"
            segments = np.stack([track.pos_m[:-1], track.pos_m[1:]], 1).astype(np.float32)
            colour = TRAIL_COLOURS[index % len(TRAIL_COLOURS)]
            trail = scene.add_line_segments(f"{place}/trail", segments, colour, thickness=TRAIL_M)
            self._nodes.append(trail)
            if axes:
                self._add_axes(scene, place, track)
        self.update(0)

    def _add_axes(self, scene: Any, place: str, track: PoseTrack) -> None:
        turned = track.quat_wxyz is not None
        node = scene.add_frame(f"{place}/axes", show_axes=turned, axes_length=AXES_M, axes_radius=AXES_M / 20)
        ball = scene.add_icosphere(f"{place}/axes/ball", AXES_M / 8, (60, 60, 60), subdivisions=2)
        label = scene.add_label(f"{place}/axes/label", track.thing)
        self._nodes += [label, ball, node]
        self._moving.append((node, track))

    def update(self, step: int) -> None:
        """Move the axes to a step."""
        for node, track in self._moving:
            node.position = track.pos_m[step]
            if track.quat_wxyz is not None:
                node.wxyz = track.quat_wxyz[step]

    def remove(self) -> None:
        """Take all nodes out of the scene."""
        for node in self._nodes:
            node.remove()
        self._nodes, self._moving = [], []
