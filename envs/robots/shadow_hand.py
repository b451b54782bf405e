"""The Shadow hand of Gymnasium-Robotics, from that package's own files: nothing of them is kept here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import mujoco

from robofb.errors import UserError

SCENE = "manipulate_pen_touch_sensors.xml"
VERSION = "1.4.2"
_INSIDE = Path("envs") / "assets" / "hand"  # of the package
_UNSEEN_GROUP = 4  # of geoms and sites
_OWN, _TOUCH = "robot0:", "robot0:TS_"


def installed_assets() -> Path:
    """Return the folder of the hand's scenes in the installed package, without importing it.

    Raises:
        UserError: it is not installed; says how to.
    """
    package = find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise UserError(
            "the Shadow hand comes with Gymnasium-Robotics, which is not installed: "
            f"pip install gymnasium-robotics=={VERSION}, or say task.assets=<folder with {SCENE}>"
        )
    return Path(package.origin).parent / _INSIDE


def load_scene(assets: Path) -> mujoco.MjSpec:
    """Return the hand with a pen above its palm; the goal's look becomes a mocap body named `target`.

    Its light and sky are left out, and the touch sensors' volumes are not drawn.

    Args:
        assets: folder with `SCENE` and what it includes.

    Raises:
        UserError: there is no such file, or another scene in it.
    """
    path = assets / SCENE
    if not path.is_file():
        raise UserError(f"assets={assets}: holds no {SCENE}")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    for kind, name in (("body", "object"), ("body", "target"), ("joint", "target:joint")):
        if getattr(spec, kind)(name) is None:
            raise _other_scene(path, f"{kind} '{name}'")
    for what, found in (("joint of a hand", hand_joints(spec)), ("touch sensor", touch_sensors(spec))):
        if not found:
            raise _other_scene(path, what)
    spec.delete(spec.joint("target:joint"))
    spec.body("target").mocap = True
    skies = [each for each in spec.textures if each.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX]
    for unwanted in (*spec.lights, *skies):
        spec.delete(unwanted)
    for site in spec.sites:
        if site.name.startswith(_OWN):
            site.group = _UNSEEN_GROUP
    return spec


def _other_scene(path: Path, lacks: str) -> UserError:
    return UserError(f"{path} has no {lacks}: needs that of Gymnasium-Robotics {VERSION}")


def hand_joints(scene: mujoco.MjSpec) -> list[str]:
    """Return the names of the hand's joints."""
    return [joint.name for joint in scene.joints if joint.name.startswith(_OWN)]


def touch_sensors(scene: mujoco.MjSpec) -> list[str]:
    """Return the names of the sensors that feel how hard a patch of skin is pressed [N]."""
    return [sensor.name for sensor in scene.sensors if sensor.name.startswith(_TOUCH)]


def actuators(scene: mujoco.MjSpec) -> list[str]:
    """Return the names of the actuators, each of which is told a joint's angle [rad]."""
    return [actuator.name for actuator in scene.actuators]


def plain(name: str) -> str:
    """Return a name without what all names of the hand begin with."""
    return name.removeprefix(_TOUCH).removeprefix(_OWN).removeprefix("A_")
