"""The SO-101 of the config, connected to emulated servos that stand near home."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from omegaconf import DictConfig
from so101_peer import So101Peer

from robofb.build import build
from robofb.config import compose
from robofb.deploy.arms.so101 import So101Arm

PERIOD_S = 0.02
PATIENCE_S = 60.0


class Bench(NamedTuple):
    """An arm to be tested.

    Attributes:
        arm: connected.
        peer: that it speaks to.
        cfg: that it was made from.
    """

    arm: So101Arm
    peer: So101Peer
    cfg: DictConfig

    def until_at_its_goals(self) -> None:
        """Wait until all servos stand where they were sent."""
        deadline = time.monotonic() + PATIENCE_S
        while any(abs(report["goal"] - report["position"]) >= 1 for report in self.peer.reports().values()):
            assert time.monotonic() < deadline, "the servos do not arrive"
            time.sleep(PERIOD_S)


@contextmanager
def so101(wrong: dict[int, dict[str, int]] | None = None, **settings: Any) -> Iterator[Bench]:
    """Yield the arm and its emulator; see `emulated`."""
    with emulated(wrong, **settings) as (peer, cfg), closing(build(cfg.arm)) as arm:
        arm.connect()
        yield Bench(arm, peer, cfg)


@contextmanager
def emulated(
    wrong: dict[int, dict[str, int]] | None = None, **settings: Any
) -> Iterator[tuple[So101Peer, DictConfig]]:
    """Yield the emulator, and the config of an arm on it.

    Args:
        wrong: what is to be otherwise with a servo, by id.
        settings: of the arm, instead of the config's.
    """
    cfg = compose("deploy", ["run=x", "arm=so101"])
    servos = _servos(cfg)
    for number, facts in (wrong or {}).items():
        servos[number].update(facts)
    with TemporaryDirectory() as folder, So101Peer(Path(folder) / "tty", servos) as peer:
        cfg.arm.update({"port": peer.port, "answer_s": 5.0, **settings})
        yield peer, cfg


def _servos(cfg: DictConfig) -> dict[int, dict[str, int]]:
    """Return what the servos are like, and calibrate the config by them."""
    angles = dict(zip(cfg.arm.joints, [*cfg.arm.home_rad, 0.0], strict=True))
    servos = {}
    for index, (name, joint) in enumerate(cfg.arm.joints.items()):
        joint.homing_offset = 300 - 120 * index
        position = 0.5 * (joint.range_min + joint.range_max) + angles[name] * 4096 / (2 * math.pi)
        servos[joint.id] = {"position": round(position), "homing_offset": joint.homing_offset}
    return servos
