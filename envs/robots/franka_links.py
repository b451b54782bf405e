"""Masses and looks of the Franka Emika Panda's links.

Masses and inertias: the identification of Gaz et al. (RA-L 2019). Shapes are for looks only.
"""

from __future__ import annotations

from dataclasses import dataclass

from robofb.envs.looks.palette import JOINT, SHELL


@dataclass(frozen=True)
class Link:
    """Mass [kg], centre of mass [m] and inertia xx yy zz xy xz yz [kg m^2], in the joint's frame."""

    mass: float
    com: tuple[float, float, float]
    inertia: tuple[float, float, float, float, float, float]


LINKS = (
    Link(
        4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169)
    ),
    Link(
        0.646926,
        (-0.003141, -0.02872, 0.003495),
        (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704),
    ),
    Link(
        3.228604,
        (0.027518, 0.039252, -0.066502),
        (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805),
    ),
    Link(
        3.587895,
        (-0.05317, 0.104419, 0.027454),
        (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641),
    ),
    Link(
        1.225946,
        (-0.011953, 0.041065, -0.038437),
        (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229),
    ),
    Link(
        1.666555,
        (0.060149, -0.014117, -0.010517),
        (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341),
    ),
    Link(
        0.735522,
        (0.010517, -0.004252, 0.061597),
        (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741),
    ),
)


@dataclass(frozen=True)
class Shape:
    """A capsule or cylinder for looks, in its link's frame [m]; link 0 is the base.

    The outlines are those of the real links: tubes of 55 mm radius that bend towards the next joint, whose
    gap is a dark ring.
    """

    link: int
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    flat: bool = False  # a cylinder, not a capsule
    colour: tuple[float, float, float, float] = SHELL


SHAPES = (
    Shape(0, (-0.035, 0, 0.0), (-0.035, 0, 0.012), 0.092, True, JOINT),
    Shape(0, (-0.085, 0, 0.012), (0, 0, 0.065), 0.058),
    Shape(0, (-0.04, -0.03, 0.012), (0, 0, 0.08), 0.055),
    Shape(0, (-0.04, 0.03, 0.012), (0, 0, 0.08), 0.055),
    Shape(0, (0, 0, 0.0), (0, 0, 0.137), 0.058, True),
    Shape(0, (0, 0, 0.137), (0, 0, 0.141), 0.056, True, JOINT),
    Shape(1, (0, 0, -0.192), (0, 0, -0.13), 0.055, True),
    Shape(1, (0, 0, -0.137), (0, -0.072, 0), 0.055),
    Shape(1, (0, -0.072, 0), (0, -0.003, 0), 0.055, True),
    Shape(2, (0, 0, -0.003), (0, 0, 0.003), 0.0545, True, JOINT),
    Shape(2, (0, 0, 0.072), (0, 0, 0.003), 0.055, True),
    Shape(2, (0, 0, 0.072), (0, -0.137, 0), 0.055),
    Shape(2, (0, -0.137, 0), (0, -0.192, 0), 0.055, True),
    Shape(3, (0, 0, -0.125), (0, 0, -0.119), 0.0545, True, JOINT),
    Shape(3, (0, 0, -0.119), (0, 0, -0.066), 0.055, True),
    Shape(3, (0, 0, -0.066), (0.0825, 0.056, 0), 0.055),
    Shape(3, (0.0825, 0.056, 0), (0.0825, 0.003, 0), 0.055, True),
    Shape(4, (0, 0, -0.003), (0, 0, 0.003), 0.0545, True, JOINT),
    Shape(4, (0, 0, 0.056), (0, 0, 0.003), 0.055, True),
    Shape(4, (0, 0, 0.056), (-0.0825, 0.069, 0), 0.055),
    Shape(4, (-0.0825, 0.069, 0), (-0.0825, 0.120, 0), 0.055, True),
    Shape(5, (0, 0, -0.264), (0, 0, -0.259), 0.0545, True, JOINT),
    Shape(5, (0, 0, -0.259), (0, 0, -0.215), 0.055, True),
    Shape(5, (0, 0, -0.215), (0, 0.022, -0.14), 0.0545),
    Shape(5, (0, 0.012, -0.18), (0, 0.076, 0), 0.0515),
    Shape(5, (0, 0.076, 0), (0, 0.047, 0), 0.0515, True),
    Shape(6, (0, 0, -0.047), (0, 0, -0.041), 0.0495, True, JOINT),
    Shape(6, (0, 0, -0.041), (0, 0, 0.010), 0.048, True),
    Shape(6, (0, 0, 0.008), (0.074, 0.028, 0.004), 0.047),
    Shape(6, (0.088, 0.030, 0), (0.088, -0.047, 0), 0.045, True),
    Shape(6, (0.074, 0.036, 0), (0.088, 0.030, 0), 0.045),
    Shape(7, (0, 0, 0.047), (0, 0, 0.053), 0.0445, True, JOINT),
    Shape(7, (0, 0, 0.053), (0, 0, 0.098), 0.044, True),
    Shape(7, (0, 0, 0.080), (0.046, 0.046, 0.082), 0.020),
    Shape(7, (0, 0, 0.098), (0, 0, 0.107), 0.032, True, JOINT),
)
