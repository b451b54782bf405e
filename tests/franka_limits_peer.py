"""A Franka that minds its limits, in a process of its own: franka-sim's, which has a real one's reflexes.

It lives in an environment of its own (`make franka-sim`), for it needs an old NumPy and an old MuJoCo. As a
script it is that process: `franka_limits_peer.py HOST ASSETS MINDS_LOSS`. Once it has missed 20 answers in a
row it says "missed".
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

_VENV = Path(__file__).resolve().parents[1] / ".venv-franka-sim"
INSTALLED = (_VENV / ".installed").exists()


def franka_sim(minds_loss: bool = True) -> AbstractContextManager:
    """Start a Franka without a hand.

    Args:
        minds_loss: whether 20 missed answers in a row are a reflex too; a busy machine may miss them.
    """
    from franka_peer import Peer, own_host, started

    spec = find_spec("franky_sim")
    assert spec is not None and spec.origin is not None
    assets = Path(spec.origin).parent / "assets"  # of an FR3: franka-sim's own would have to be downloaded
    host = own_host()
    script = [str(_VENV / "bin" / "python"), str(Path(__file__).resolve())]
    return started(Peer(host, [*script, host, str(assets), str(int(minds_loss))]))


def _arm_of(assets: Path) -> str:
    """Return the description of the arm alone."""
    root = ET.parse(assets / "fr3.xml").getroot()
    compiler, world = root.find("compiler"), root.find("worldbody")
    assert compiler is not None and world is not None
    compiler.set("meshdir", str(assets / "meshes"))
    for body in list(world.iter("body")):
        for part in body.findall("body[@name='hand']"):
            body.remove(part)
    for name in ("actuator", "tendon", "equality", "keyframe"):
        for part in root.findall(name):
            root.remove(part)
    return ET.tostring(root, encoding="unicode")


def _serve(host: str, assets: Path, minds_loss: bool) -> None:
    """Be the process."""
    from franka_sim.franka_sim_server import FrankaSimServer

    class Server(FrankaSimServer):
        def run_server(self) -> None:
            print("ready", flush=True)
            threading.Thread(target=self.watch_loss, daemon=True).start()
            super().run_server()

        def watch_loss(self) -> None:
            while not self.comm.violated:
                time.sleep(0.01)
            print("missed", flush=True)

    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(_arm_of(assets))
        file.flush()
        os.environ["FR3_MJCF"] = file.name
        server = Server(
            host, enable_gripper=False, enforce_comm_constraints=minds_loss, enforce_motion_limits=True
        )
        server.start()


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "1")
