"""Which mesh of furniture-bench shows which part, and how it lies in the part's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_Y_UP = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # rows: our x, y and z axes in the mesh's frame
_Y_DOWN = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
_Z_UP = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class PartMesh:
    """A mesh of furniture-bench.

    Attributes:
        part: what it is the look of.
        file: below furniture-bench's folder of meshes.
        axes: rows: the part's axes in the mesh's frame.
        origin_m: the part's origin in the mesh's frame: where the part seats, so that what is assembled in
            simulation looks assembled.
        why_hidden: why pictures show our own shape instead; "" where they show the mesh.
    """

    part: str
    file: str
    axes: tuple[tuple[float, float, float], ...]
    origin_m: tuple[float, float, float]
    why_hidden: str = ""

    @property
    def turn(self) -> np.ndarray:
        """Rows (3, 3): the part's axes in the mesh's frame."""
        return np.array(self.axes)


PART_MESHES = (
    PartMesh("square_top", "square_table/square_table_top.obj", _Y_UP, (0.0, 0.015575, 0.0)),
    PartMesh("square_leg", "square_table/square_table_leg1.obj", _Y_UP, (0.0, -0.03125, 0.000625)),
    PartMesh("round_top", "round_table/round_table_top.obj", _Z_UP, (0.0, 0.0, 0.03125)),
    PartMesh("round_leg", "round_table/round_table_leg.obj", _Y_UP, (0.0, -0.013125, 0.0)),
    PartMesh(
        "cross_base",
        "round_table/round_table_base.obj",
        _Z_UP,
        (0.0, 0.0, -0.00125),
        "it has a pin where ours has a hole, and no hub to grip",
    ),
    PartMesh("lamp_base", "lamp/lamp_base.obj", _Y_DOWN, (0.0, -0.0458, 0.0)),
    PartMesh(
        "bulb",
        "lamp/lamp_bulb.obj",
        _Y_UP,
        (0.0, -0.022, 0.0),
        "it is round where ours has a neck to grip",
    ),
    PartMesh("hood", "lamp/lamp_hood.obj", _Y_DOWN, (0.0, 0.04858, 0.0)),
)
