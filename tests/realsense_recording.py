"""Recordings as a RealSense camera would leave them, made by librealsense's own software device."""

from __future__ import annotations

import time
from pathlib import Path

import pyrealsense2 as rs

from robofb.deploy.cameras.synthetic import numbered_picture

SERIAL, HEIGHT, WIDTH, FPS = "0123456", 48, 64, 30
FOCAL_PX, CENTRE_PX = (50.0, 51.0), (31.0, 23.0)
_PERIOD_S = 0.02


def record(path: Path, num_frames: int, step: int = 1) -> None:
    """Record numbered pictures 0, 1, ... whose frame numbers rise by `step`; takes their real time."""
    device = rs.software_device()
    device.register_info(rs.camera_info.name, "software")
    device.register_info(rs.camera_info.serial_number, SERIAL)
    sensor = device.add_sensor("Color")
    profile = sensor.add_video_stream(_stream()).as_video_stream_profile()
    recorder = rs.recorder(str(path), device)
    recorded = recorder.query_sensors()[0]
    recorded.open(recorded.get_stream_profiles()[0])
    recorded.start(rs.frame_queue(num_frames))
    for number in range(num_frames):
        frame = rs.software_video_frame()
        frame.pixels = numbered_picture(number, HEIGHT, WIDTH)
        frame.bpp, frame.stride = 3, 3 * WIDTH
        frame.timestamp, frame.domain = 1000 * time.time(), rs.timestamp_domain.system_time
        frame.frame_number, frame.profile = 1 + step * number, profile
        sensor.on_video_frame(frame)
        time.sleep(_PERIOD_S)
    recorded.stop()
    recorded.close()


def _stream() -> rs.video_stream:
    lens = rs.intrinsics()
    lens.width, lens.height = WIDTH, HEIGHT
    (lens.fx, lens.fy), (lens.ppx, lens.ppy) = FOCAL_PX, CENTRE_PX
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid = rs.stream.color, 0, 1
    stream.width, stream.height, stream.fps = WIDTH, HEIGHT, FPS
    stream.bpp, stream.fmt, stream.intrinsics = 3, rs.format.rgb8, lens
    return stream
