"""An assembly task with its parts where a test wants them."""

import torch

from robofb.envs.furniture.assembly import AssemblyTask
from robofb.geometry import quat_from_axis_angle, quat_from_yaw, quat_multiply, rotate
from robofb.sim.mujoco_engine import MujocoEngine

SOCKET_M = torch.tensor([0.5, 0.1, 0.03325], dtype=torch.float64)


def assembled(
    task: AssemblyTask,
    shift_m=(0.0, 0.0, 0.0),
    tilt_rad: float = 0.0,
    yaw_rad: float = 0.0,
    socket_yaw_rad: float = 0.0,
    pair: int = 0,
) -> MujocoEngine:
    """Seat every plug in its socket; that of `pair` shifted (in the socket's frame), tilted about x, turned.

    The socket of the first pair stands at SOCKET_M, turned about z.
    """
    engine = MujocoEngine(task.build(), 1)
    qpos = engine.field("qpos")
    socket_quat = quat_from_yaw(torch.tensor(socket_yaw_rad, dtype=torch.float64))
    place = {task.pairs[0].socket: (SOCKET_M, socket_quat)}
    x_axis = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for number, each in enumerate(task.pairs):
        origin, turn = place[each.socket]
        chosen = number == pair
        own = quat_from_yaw(torch.tensor(yaw_rad if chosen else 0.0, dtype=torch.float64))
        tilt = torch.tensor(tilt_rad if chosen else 0.0, dtype=torch.float64)
        quat = quat_multiply(turn, quat_multiply(quat_from_axis_angle(x_axis, tilt), own))
        seat = torch.tensor(each.socket_seat_m, dtype=torch.float64)
        seat = seat + torch.tensor(shift_m if chosen else (0.0, 0.0, 0.0), dtype=torch.float64)
        plug_seat = torch.tensor(each.plug_seat_m, dtype=torch.float64)
        place[each.plug] = (origin + rotate(turn, seat) - rotate(quat, plug_seat), quat)
    for row, part in enumerate(task.parts):
        if part.name in place:
            qpos[0, task._part_q[row]] = torch.cat(place[part.name])
    engine.forward(torch.tensor([0]))
    return engine
