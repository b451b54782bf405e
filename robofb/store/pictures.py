"""Encode and decode single images and video files. Images are (H, W, C) uint8, videos RGB."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.store.foreign import extra_missing, reading

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG", b"\xff\xd8"
CODEC, PIXEL_FORMAT = "libx264", "yuv420p"
QUALITY = "16"  # of H.264 (crf): 0 is lossless, 23 usual
KEY_FRAME_EVERY = 2  # frames, so that random access decodes few


def encode_png(image: np.ndarray) -> bytes:
    """Return a PNG file of an image (H, W, C), without loss."""
    return bytes(_imagecodecs().png_encode(image[..., 0] if image.shape[-1] == 1 else image))


def decode_picture(data: bytes, where: object) -> np.ndarray:
    """Return the image (H, W, C) in a PNG or JPEG file."""
    codecs = _imagecodecs()
    decoders = {PNG_MAGIC: codecs.png_decode, JPEG_MAGIC: codecs.jpeg_decode}
    for magic, decode in decoders.items():
        if data.startswith(magic):
            with reading(where):
                image = decode(data)
            if image.dtype != np.uint8:
                raise UserError(f"{where}: the image is {image.dtype}, expected uint8")
            return image[..., None] if image.ndim == 2 else image
    raise UserError(f"{where}: the image is neither PNG nor JPEG")


def read_frames(path: Path, start_s: float, num_frames: int, rate_hz: float) -> np.ndarray:
    """Return frames (T, H, W, 3) at start_s, start_s + 1 / rate_hz, ... of a video.

    Raises:
        UserError: no video, or no frame within half a period of a wanted time.
    """
    av = _av()
    frames: list[np.ndarray | None] = [None] * num_frames
    with reading(path), av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(max(int((start_s - 0.5 / rate_hz) / stream.time_base), 0), stream=stream)
        found = 0
        for frame in container.decode(stream):
            number = round((float(frame.pts * stream.time_base) - start_s) * rate_hz)
            if number >= num_frames:
                break
            if number >= 0 and frames[number] is None:
                frames[number] = frame.to_ndarray(format="rgb24")
                found += 1
                if found == num_frames:
                    break
    missing = [number for number, frame in enumerate(frames) if frame is None]
    if missing:
        first = f"no frame at {start_s + missing[0] / rate_hz:.3f} s ({len(missing)} of {num_frames} missing)"
        raise UserError(f"{path} is cut off or declared at a wrong rate: {first}")
    return np.stack([frame for frame in frames if frame is not None])


def write_video(path: Path, frames: Iterable[np.ndarray], rate_hz: float) -> None:
    """Write frames (H, W, 3) as H.264; sizes must be even. Loses a little.

    Raises:
        UserError: an odd size.
    """
    av = _av()
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(rate_hz).limit_denominator(65535)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for number, image in enumerate(frames):
            if stream is None:
                height, width = image.shape[:2]
                if height % 2 or width % 2:
                    raise UserError(f"images of {width}x{height} cannot become video: sizes must be even")
                options = {"crf": QUALITY, "g": str(KEY_FRAME_EVERY), "bf": "0"}
                stream = container.add_stream(CODEC, rate=rate, options=options)
                stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
                stream.codec_context.time_base = 1 / rate
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise extra_missing("imagecodecs") from None
    return imagecodecs


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise extra_missing("av") from None
    return av
