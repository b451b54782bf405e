"""Run one IsaacGymEnvs task in the interpreter that Isaac Gym needs, for a robofb in another.

Isaac Gym is built for Python 3.7 and 3.8: this file keeps to what they understand, and imports nothing of
robofb. `python isaacgym_worker.py FD OPTIONS` serves the socket FD until it closes.
"""

from __future__ import annotations

import importlib
import json
import socket
import struct
import sys
from typing import Any

import numpy as np

HEADER = struct.Struct("<II")  # bytes of the JSON and of the arrays that follow


class VecTaskHost:
    """What the adapter asks of a VecTask, in one place for this process and another.

    Args:
        vec_task: has num_envs, num_obs, num_actions, act_space, dt, control_freq_inv, max_episode_length,
            reset_buf, rl_device, reset() and step(actions), as those of IsaacGymEnvs.
    """

    def __init__(self, vec_task: Any) -> None:
        self.vec_task = vec_task

    def facts(self) -> dict[str, Any]:
        """Return sizes, the actions' bounds, the control period [s] and the time limit [control steps]."""
        task = self.vec_task
        return {
            "num_envs": int(task.num_envs),
            "num_obs": int(task.num_obs),
            "num_actions": int(task.num_actions),
            "action_low": np.asarray(task.act_space.low, np.float64).ravel().tolist(),
            "action_high": np.asarray(task.act_space.high, np.float64).ravel().tolist(),
            "control_dt_s": float(task.dt) * int(task.control_freq_inv),
            "max_steps": int(task.max_episode_length),
        }

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Seed torch and numpy, begin an episode in every env, and return what `step` does.

        The tasks reset in the step after the one that ends an episode: so all are marked as ended, and
        stepped once without an action.
        """
        torch = importlib.import_module("torch")
        torch.manual_seed(seed & 0x7FFFFFFF)
        np.random.seed(seed & 0x7FFFFFFF)
        self.vec_task.reset()
        self.vec_task.reset_buf[:] = 1
        return self.step(np.zeros((self.vec_task.num_envs, self.vec_task.num_actions), np.float32))

    def step(self, action: np.ndarray) -> dict[str, np.ndarray]:
        """Apply actions (B, A); return "obs", "reward", "reset", and each (B,) entry of `extras`."""
        torch = importlib.import_module("torch")
        tensor = torch.tensor(action, device=self.vec_task.rl_device)
        obs, reward, reset, extras = self.vec_task.step(tensor)
        rows = {f"extras.{key}": value for key, value in extras.items() if _is_row(value, len(action))}
        values = {"obs": obs["obs"], "reward": reward, "reset": reset, **rows}
        return {key: value.detach().cpu().numpy().copy() for key, value in values.items()}


def _is_row(value: Any, num_envs: int) -> bool:
    return tuple(getattr(value, "shape", ())) == (num_envs,) and hasattr(value, "detach")


def send(sock: socket.socket, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Send a JSON object and named arrays."""
    described = [[name, str(array.dtype), list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**facts, "arrays": described}).encode()
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    sock.sendall(HEADER.pack(len(text), len(body)) + text + body)


def receive(sock: socket.socket) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `send` sent at the other end.

    Raises:
        EOFError: the other end is gone.
    """
    text_size, body_size = HEADER.unpack(_read(sock, HEADER.size))
    facts = json.loads(_read(sock, text_size))
    body, arrays, start = _read(sock, body_size), {}, 0
    for name, dtype, shape in facts.pop("arrays"):
        array = np.frombuffer(body, np.dtype(dtype), int(np.prod(shape)), start).reshape(shape)
        arrays[name] = array.copy()
        start += array.nbytes
    return facts, arrays


def _read(sock: socket.socket, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        part = sock.recv(min(missing, 1 << 20))
        if not part:
            raise EOFError("the other end is gone")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def make_host(options: dict[str, Any]) -> VecTaskHost:
    """Start the simulator; Isaac Gym wants to be imported before torch."""
    importlib.import_module("isaacgym")
    isaacgymenvs = importlib.import_module("isaacgymenvs")
    device = options["sim_device"]
    return VecTaskHost(
        isaacgymenvs.make(
            seed=0,
            task=options["id"],
            num_envs=options["num_envs"],
            sim_device=device,
            rl_device=device,
            headless=True,
        )
    )


def serve(sock: socket.socket, options: dict[str, Any]) -> None:
    """Answer requests until the other end is gone; the first answer tells the facts, or what failed."""
    try:
        host = make_host(options)
        send(sock, host.facts(), {})
    except Exception as error:
        send(sock, {"error": f"{type(error).__name__}: {error}"}, {})
        return
    while True:
        try:
            request, arrays = receive(sock)
        except EOFError:
            return
        answer = host.start(request["seed"]) if "seed" in request else host.step(arrays["action"])
        send(sock, {}, answer)


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules would be taken for packages such as gym
    serve(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2]))
