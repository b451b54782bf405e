"""A dataset as a deployment records it, from ticks written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from live_parts import SPEC

from robofb.deploy.live.bench import image_specs
from robofb.deploy.live.draft import Draft, recorded_spec
from robofb.deploy.live.records import MODES, PLAN, frame_dtype, tick_dtype
from robofb.deploy.modes import Mode
from robofb.store.episodes import EpisodeStore
from robofb.types import EnvSpec

NUM_STATE = 13
HERE = Path()
DOWN = (0.0, 1.0, 0.0, 0.0)
_ACTING = (MODES.index(Mode.POLICY), MODES.index(Mode.HUMAN))


def tick(time_s: float, x: float | None, mode: Mode = Mode.POLICY, **more: object) -> np.void:
    """Return a tick at which the set-point (x, 0, 0.2), pointing down, was sent."""
    row = np.zeros((), tick_dtype(NUM_STATE))
    row["time_s"] = row["wall_s"] = time_s
    row["mode"] = MODES.index(mode)
    row["state"] = time_s
    row["pose"] = (0.4, 0.0, 0.2, *DOWN, -1.0)
    row["sent"] = np.nan if x is None else (x, 0.0, 0.2, *DOWN, 1.0)
    row["observed_s"] = np.nan
    for name, value in more.items():
        row[name] = value
    return row[()]


def shown(image: np.ndarray, captured_s: float = 0.0) -> np.void:
    """Return the record of a picture (3, H, W)."""
    record = np.zeros((), frame_dtype(*image.shape[1:]))
    record["image"], record["captured_s"] = image, captured_s
    return record[()]


def drafted(
    ticks: Iterable[np.void], spec: EnvSpec | None = None, folder: Path = HERE, **pictures: np.ndarray
) -> Draft:
    """Return the draft of an episode; each row has the same pictures, which are kept in a folder."""
    draft = Draft(spec or recorded_spec(SPEC), folder)
    for each in ticks:
        draft.add(
            each,
            int(each["mode"]) in _ACTING,
            {key: shown(image, float(each["time_s"])) for key, image in pictures.items()},
        )
    return draft


def write_deployed(path: Path) -> Path:
    """Write one episode of 20 steps, of which a person drives number 8 to 13; the policy plans in its own."""
    spec = recorded_spec(SPEC.with_obs({**SPEC.obs, **image_specs({"front": (24, 32)})}))
    modes = [Mode.HUMAN if 8 <= step < 14 else Mode.POLICY for step in range(21)]
    gates = [(step, step // 2, int(step > 15)) for step in range(21)]
    judged = [(0, 0, 0, step == 10, 0, 0) for step in range(21)]
    ticks = [
        tick(0.1 * step, 0.4 + 0.002 * step, modes[step], is_step=True, gate=gates[step], judged=judged[step])
        for step in range(21)
    ]
    picture = np.full((3, 24, 32), 128, np.uint8)
    picture[0] = 200  # reddish
    draft = drafted(ticks, spec, path.parent, image_front=picture)
    for step in (0, 4, 14):
        plan = np.zeros((), PLAN)
        plan["observed_s"], plan["count"], plan["actions"][:8, 0] = 0.1 * step, 8, 0.4
        draft.plan(plan[()])
    modes_by_number = {str(number): mode.value for number, mode in enumerate(MODES)}
    with EpisodeStore.create(path, spec, {"recorded_by": "deploy"}) as store:
        facts = {"label": "success", "reason": "a person", "modes": modes_by_number}
        store.append(draft.made(True, facts))
    return path
