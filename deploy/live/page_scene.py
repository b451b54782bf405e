"""The scene of a deployment's page: where the arm may be, is, should be, was and will be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from robofb.deploy.limits import Limits
from robofb.deploy.live.lookout import Sight, pose_in
from robofb.deploy.pose import Pose

AXES_M, LINE_M = 0.08, 0.002
MEASURED, SET, PLANNED = (37, 99, 235), (234, 88, 12), (22, 163, 74)
HOME, BOX = (147, 51, 234), (120, 120, 120)
LEGEND = (
    ("the tool and its trail", MEASURED),
    ("set-point", SET),
    ("plan, as the policy said it", PLANNED),
    ("home", HOME),
    ("limits of the tool's centre", BOX),
)
_NOTHING = np.zeros((1, 2, 3), np.float32)


class SceneNodes:
    """The nodes, made once and moved. All is in the base frame of the robot.

    Args:
        server: viser's.
        limits: whose box is shown.
    """

    def __init__(self, server: Any, limits: Limits) -> None:
        scene = server.scene
        low_m, high_m = np.array(limits.low_m), np.array(limits.high_m)
        middle_m = (low_m + high_m) / 2
        scene.set_up_direction("+z")
        reach_m = float(np.linalg.norm(high_m - low_m))
        server.initial_camera.look_at = tuple(middle_m)
        server.initial_camera.position = tuple(middle_m + reach_m * np.array([0.9, -1.1, 0.6]))
        scene.add_grid("/ground", 2.0, 2.0, cell_size=0.1, section_size=0.5)
        scene.add_frame("/base", axes_length=2 * AXES_M, axes_radius=AXES_M / 16)
        scene.add_line_segments("/limits", box_edges(low_m, high_m), BOX, thickness=LINE_M)
        self.tool = self._axes(scene, "/tool", MEASURED)
        self.set_point = self._axes(scene, "/set_point", SET)
        self.home = self._axes(scene, "/home", HOME)
        self.trail = scene.add_line_segments("/trail", _NOTHING, MEASURED, thickness=LINE_M, visible=False)
        self.plan = scene.add_line_segments("/plan", _NOTHING, PLANNED, thickness=LINE_M, visible=False)
        self.plan_points = scene.add_point_cloud(
            "/plan_points", _NOTHING[0], PLANNED, point_size=4 * LINE_M, precision="float32", visible=False
        )

    def update(self, sight: Sight) -> None:
        """Move all to where it is now, and hide what is nowhere."""
        tick = sight.tick
        _move(self.tool, None if tick is None else pose_in(tick["pose"]))
        _move(self.set_point, None if tick is None else pose_in(tick["sent"]))
        _move(self.home, sight.home)
        _lay(self.trail, sight.trail_m)
        _lay(self.plan, sight.plan_m)
        self.plan_points.visible = len(sight.plan_m) > 0
        if len(sight.plan_m):
            self.plan_points.points = sight.plan_m

    def _axes(self, scene: Any, path: str, colour: tuple[int, int, int]) -> Any:
        node = scene.add_frame(path, axes_length=AXES_M, axes_radius=AXES_M / 24, visible=False)
        scene.add_icosphere(f"{path}/ball", AXES_M / 8, colour, subdivisions=2)
        return node


def box_edges(low_m: np.ndarray, high_m: np.ndarray) -> np.ndarray:
    """Return the twelve edges (12, 2, 3) of a box: between corners that differ in one coordinate."""
    corners = [np.where(choice, high_m, low_m) for choice in itertools.product((0, 1), repeat=3)]
    pairs = itertools.combinations(corners, 2)
    return np.array([pair for pair in pairs if np.count_nonzero(pair[0] != pair[1]) == 1], np.float32)


def _move(node: Any, pose: Pose | None) -> None:
    node.visible = pose is not None
    if pose is not None:
        node.position, node.wxyz = pose.position_m, pose.turn


def _lay(lines: Any, places_m: np.ndarray) -> None:
    """Let lines go through places (n, 3)."""
    lines.visible = len(places_m) > 1
    if len(places_m) > 1:
        lines.points = np.stack([places_m[:-1], places_m[1:]], 1).astype(np.float32)
