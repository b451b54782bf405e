"""The packages that cameras need, imported when one is opened."""

from __future__ import annotations

from typing import Any

from robofb.errors import UserError


def load_opencv() -> Any:
    """Import OpenCV.

    Raises:
        UserError: it is missing.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError("opencv is missing: pip install 'robofb[deploy]'") from error
    return cv2


def load_realsense() -> Any:
    """Import pyrealsense2.

    Raises:
        UserError: it is missing, or cannot be loaded for want of libusb.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise UserError(
            f"pyrealsense2 is missing ({error}): pip install 'robofb[realsense]'"
            " (on Debian or Ubuntu also: apt install libusb-1.0-0)"
        ) from error
    return pyrealsense2
