"""OpenCV with a V4L2 camera that is not there; it answers as OpenCV's source says, not as one was seen to."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from robofb.deploy.cameras.synthetic import numbered_picture

PERIOD_S = 0.01
MJPG = cv2.VideoWriter_fourcc(*"MJPG")
"""The only pixels that it has."""


class V4l2StandIn:
    """One camera and its driver.

    Attributes:
        opened: how often it was opened.
        plugged: it is there.
        frozen: it brings nothing.
        most_px: width and height that it takes at most.
        stamp_ahead_s: of its stamps before the monotonic clock.
        module: what stands for cv2.
    """

    def __init__(self) -> None:
        self.opened, self.plugged, self.frozen = 0, True, False
        self.most_px, self.stamp_ahead_s = (640, 480), 0.0
        stand_in = self

        class Capture:
            def __init__(self) -> None:
                self.values: dict[int, float] = {}
                self.number, self.stamp_s = 0, 0.0

            def open(self, device: int | str, backend: int) -> bool:
                assert backend == cv2.CAP_V4L2
                stand_in.opened += 1
                return stand_in.plugged and device in (0, "/dev/v4l/by-id/it")

            def set(self, key: int, value: float) -> bool:
                most = {cv2.CAP_PROP_FRAME_WIDTH: 0, cv2.CAP_PROP_FRAME_HEIGHT: 1}
                self.values[key] = min(value, stand_in.most_px[most[key]]) if key in most else value
                if key == cv2.CAP_PROP_FOURCC and value != MJPG:
                    self.values[key] = MJPG
                return True

            def get(self, key: int) -> float:
                return 1000 * self.stamp_s if key == cv2.CAP_PROP_POS_MSEC else self.values[key]

            def grab(self) -> bool:
                return stand_in.plugged and not stand_in.frozen

            def retrieve(self) -> tuple[bool, np.ndarray]:
                height, width = (
                    int(self.values[key]) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
                )
                return True, numbered_picture(self.number, height, width)[..., ::-1].copy()

            def release(self) -> None:
                """Nothing is to be let go."""

            @staticmethod
            def waitAny(captures: list[Any], timeout_ns: int) -> tuple[bool, list[int]]:  # noqa: N802
                if not stand_in.plugged:
                    raise cv2.error("the stream reports an error")
                if stand_in.frozen:
                    time.sleep(timeout_ns / 1e9)
                    return False, []
                time.sleep(PERIOD_S)
                captures[0].number += 1
                captures[0].stamp_s = time.monotonic() - 0.004 + stand_in.stamp_ahead_s
                return True, [0]

        self.module = SimpleNamespace(**{**vars(cv2), "VideoCapture": Capture})
