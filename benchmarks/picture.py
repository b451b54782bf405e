"""Make docs/quickstart.png of a finished quickstart: its films' last pictures, base above, residual below.

python benchmarks/picture.py runs/quickstart-benchmark/s0
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np

BAND_PX = 32


def last_frame(run: Path) -> np.ndarray:
    """Return the last picture (H, W, 3) of a run's newest film."""
    films = sorted((run / "videos").glob("*.mp4"), key=lambda path: path.stat().st_mtime)
    if not films:
        sys.exit(f"no films in {run / 'videos'}")
    with imageio.get_reader(films[-1]) as reader:
        *_, frame = reader
    return np.asarray(frame)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """Return a picture (H, W, 3) below a white band that says what it shows."""
    band = np.full((BAND_PX, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(band, title, (4, 23), cv2.FONT_HERSHEY_DUPLEX, 0.7, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([band, picture])


def main() -> None:
    """Stack the two pictures and save them."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    above, below = (last_frame(Path(sys.argv[1]) / name) for name in ("bc", "residual"))
    both = titled(above, "diffusion policy alone"), titled(below, "with its residual")
    path = Path(__file__).parents[1] / "docs/quickstart.png"
    imageio.imwrite(path, np.concatenate(both))
    print(path)


if __name__ == "__main__":
    main()
