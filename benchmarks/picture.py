"""Make docs/quickstart.png of a finished quickstart: its films' last pictures, base above, residual below.

python benchmarks/picture.py runs/quickstart-benchmark/s0
"""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v2 as imageio
import numpy as np

GAP_PX = 12


def last_frame(run: Path) -> np.ndarray:
    """Return the last picture (H, W, 3) of a run's newest film."""
    films = sorted((run / "videos").glob("*.mp4"), key=lambda path: path.stat().st_mtime)
    if not films:
        sys.exit(f"no films in {run / 'videos'}")
    with imageio.get_reader(films[-1]) as reader:
        *_, frame = reader
    return np.asarray(frame)


def main() -> None:
    """Stack the two pictures and save them."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    above, below = (last_frame(Path(sys.argv[1]) / name) for name in ("bc", "residual"))
    gap = np.full((GAP_PX, above.shape[1], 3), 255, np.uint8)
    path = Path(__file__).parents[1] / "docs/quickstart.png"
    imageio.imwrite(path, np.concatenate([above, gap, below]))
    print(path)


if __name__ == "__main__":
    main()
