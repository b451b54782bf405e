"""A VecTask that lives in another interpreter."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.sim.isaacgym_worker import receive, send

PYTHON_VARIABLE = "ROBOFB_ISAACGYM_PYTHON"
"""Environment variable with the path of the interpreter that has Isaac Gym. No config may name it: a run
folder comes from anywhere, and it would name what to execute."""

INSTALL = (
    "Isaac Gym (Preview 4, from developer.nvidia.com/isaac-gym) and isaacgymenvs run on Python 3.7 or 3.8, "
    "robofb on 3.11: install them into an interpreter of their own and set "
    f"{PYTHON_VARIABLE}=/path/to/its/bin/python"
)
_CLOSE_TIMEOUT_S = 10.0


class RemoteVecTask:
    """Start a task in a process of its own, and step it there; the same calls as `VecTaskHost`.

    Args:
        id: name of the IsaacGymEnvs task.
        num_envs: B.
        sim_device: where it simulates, such as cuda:0.

    Raises:
        UserError: no interpreter is named, or the simulator does not start in it.
    """

    def __init__(self, id: str, num_envs: int, sim_device: str) -> None:
        python = os.environ.get(PYTHON_VARIABLE)
        if not python:
            raise UserError(f"task=isaacgym: {INSTALL}")
        self.id = id
        options = json.dumps({"id": id, "num_envs": num_envs, "sim_device": sim_device})
        worker = str(Path(__file__).with_name("isaacgym_worker.py"))
        self._socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [python, worker, str(theirs.fileno()), options],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            )
        except OSError as error:
            self._socket.close()
            raise UserError(f"{PYTHON_VARIABLE}={python}: {error.strerror or error}") from error
        finally:
            theirs.close()
        self._facts = self._receive()[0]
        if "error" in self._facts:
            self.close()
            missing = "ModuleNotFoundError" in self._facts["error"]
            hint = f". {INSTALL}" if missing else ""
            raise UserError(f"task.id={id} does not start in {python}: {self._facts['error']}{hint}")

    def facts(self) -> dict[str, Any]:
        """Return what `VecTaskHost.facts` does."""
        return self._facts

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Begin an episode in every env; see `VecTaskHost.start`."""
        return self._ask({"seed": seed}, {})

    def step(self, action: np.ndarray) -> dict[str, np.ndarray]:
        """Apply actions (B, A); see `VecTaskHost.step`."""
        return self._ask({}, {"action": action})

    def _ask(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            send(self._socket, facts, arrays)
        except OSError as error:
            raise self._gone() from error
        return self._receive()[1]

    def _receive(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            return receive(self._socket)
        except (EOFError, OSError) as error:
            raise self._gone() from error

    def _gone(self) -> UserError:
        self.close()
        return UserError(
            f"the simulator of {self.id} is gone (exit code {self._process.returncode}): "
            "what it printed last stands above"
        )

    def close(self) -> None:
        """End the process; safe twice."""
        self._socket.close()
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _has_descriptor(stream: Any) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
