"""Sensors of a scene: frames against frames, and how deep bodies overlap."""

from __future__ import annotations

import mujoco

_FRAME_TYPE = {mujoco.MjsBody: mujoco.mjtObj.mjOBJ_XBODY, mujoco.MjsSite: mujoco.mjtObj.mjOBJ_SITE}


def add_frame_sensor(
    spec: mujoco.MjSpec,
    name: str,
    quantity: mujoco.mjtSensor,
    frame: mujoco.MjsBody | mujoco.MjsSite,
    reference: mujoco.MjsSite | None = None,
) -> None:
    """Add a sensor of a frame's position, axis or velocity, in the world's frame or in that of a site."""
    sensor = spec.add_sensor(name=name, type=quantity, objtype=_FRAME_TYPE[type(frame)], objname=frame.name)
    if reference is not None:
        sensor.reftype, sensor.refname = _FRAME_TYPE[type(reference)], reference.name


def add_overlap_sensor(spec: mujoco.MjSpec, name: str, first: str, second: str) -> None:
    """Add a sensor of the deepest contact between two bodies: signed distance [m], 0 without contact."""
    sensor = spec.add_sensor(
        name=name,
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        objname=first,
        reftype=mujoco.mjtObj.mjOBJ_BODY,
        refname=second,
    )
    distance = 1 << mujoco.mjtConDataField.mjCONDATA_DIST.value
    sensor.intprm[:3] = [distance, 1, 1]  # field, reduce to the minimum distance, one slot
