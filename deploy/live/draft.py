"""An episode while it is being recorded: control steps as they were seen, planned, judged and commanded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robofb.deploy.live.records import JUDGED, MODES, MOST_JOINTS, pose_of
from robofb.deploy.live.spool import Spool
from robofb.deploy.modes import Mode
from robofb.deploy.pose import columns_of
from robofb.deploy.safety import ACTION_DIM
from robofb.normalize import is_image
from robofb.store.gaps import PAUSES
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY, ArraySpec, EnvSpec, Episode

PLAN, FACTS = "deploy_plan", "deploy_facts"
PLAN_ROWS = 32
FACT_NAMES = (
    "mode",
    "epoch",
    "followed_plan_age_s",  # -1 where none is
    "plan_took_s",
    "plan_count",  # actions of the plan that was made from this row; 0 where none was
    "longest_compute_s",
    "longest_period_s",
    "frames_age_s",
    "chunks_passed",
    "chunks_clamped",
    "chunks_refused",
    *(f"measured_{name}" for name in ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper")),
    *(f"joint_{number}" for number in range(MOST_JOINTS)),
    *(f"force_{axis}" for axis in "xyz"),
    "chunk_refused",  # 1 where the newest chunk of the step before this row was
    *(f"chunk_clamped_{what}" for what in JUDGED[1:]),
)
_POLICY, _HOMING = MODES.index(Mode.POLICY), MODES.index(Mode.HOMING)


def recorded_spec(spec: EnvSpec) -> EnvSpec:
    """Return the spec of a dataset of deployments: what a policy sees, what it planned and what happened.

    Facts end with when each camera's picture was captured, by the clock of the rows.
    """
    names = (*FACT_NAMES, *(f"{key}_captured_s" for key, array in spec.obs.items() if is_image(array)))
    more = {
        PLAN: ArraySpec((PLAN_ROWS, ACTION_DIM), unit="as the action; the last one repeated behind its end"),
        FACTS: ArraySpec((len(names),), "float64", unit="s, m, rad, N or counts", names=names),
    }
    return spec.with_obs({**spec.obs, **more})


class Draft:
    """Rows of an episode, one a control step in which the arm was driven.

    Where it stood in between, the row that nobody acted on gives way to the one on which somebody did. An
    episode begins at home: what was done before the arm went there is no part of it. Pictures are on disk.

    Args:
        spec: see `recorded_spec`; it may lack what only a policy's deployment has.
        folder: of the dataset, on whose disk pictures wait.
        human_source: what a person's steps are labelled.

    Attributes:
        broken: why it cannot be kept; empty where it can.
    """

    def __init__(self, spec: EnvSpec, folder: Path, human_source: int = SOURCE_INTERVENTION) -> None:
        self.spec, self._human_source = spec, human_source
        self.broken = ""
        self._rows: list[dict[str, np.ndarray]] = []
        self._pictures = {key: Spool(folder, array) for key, array in spec.obs.items() if is_image(array)}
        self._times: list[float] = []
        self._actions: list[np.ndarray] = []
        self._sources: list[int] = []
        self._source = SOURCE_POLICY
        self._sent: np.ndarray | None = None
        self._plans: dict[float, np.void] = {}  # by the time of the row they were made from
        self._live = self._over = False
        self._pauses = 0
        self._longest = [0.0, 0.0]  # compute, period
        self._wall_s: float | None = None

    def __len__(self) -> int:
        return len(self._actions)

    def plan(self, plan: np.void) -> None:
        """Take in what the policy planned from some row."""
        self._plans[float(plan["observed_s"])] = plan

    def add(self, tick: np.void, acting: bool, pictures: Mapping[str, np.void]) -> None:
        """Take in a tick; `pictures` (of `frame_dtype`) where a step begins with it and the arm is driven.

        Raises:
            OSError: the disk is full.
        """
        if self._over or self.broken:
            return
        wall_s = float(tick["wall_s"])
        period_s = 0.0 if self._wall_s is None else wall_s - self._wall_s
        self._longest = [max(self._longest[0], float(tick["compute_s"])), max(self._longest[1], period_s)]
        self._wall_s = wall_s
        if int(tick["mode"]) == _HOMING:
            for kept in (self._rows, self._times, self._actions, self._sources):
                kept.clear()
            self._pauses = 0
            self.close()
        if not acting:
            self._live = False
        elif tick["is_step"]:
            self._begin_step(tick, pictures)
            self._over = bool(tick["verdict"])
        if np.isfinite(tick["sent"]).all():
            self._sent = tick["sent"].copy()

    def made(self, success: bool, facts: Mapping[str, Any]) -> Episode:
        """Return the episode; its last action is paid where it succeeded. Its pictures stay on disk."""
        steps = len(self)
        for row, time_s in zip(self._rows, self._times, strict=True):
            if time_s in self._plans:
                _add_plan(row, self._plans[time_s])
        reward = np.zeros(steps, np.float32)
        reward[-1] = float(success)
        return Episode(
            obs={key: self._column(key, steps + 1) for key in self.spec.obs},
            action=np.stack(self._actions).astype(self.spec.action.dtype),
            reward=reward,
            terminated=True,
            success=success,
            timestamps=np.array(self._times[: steps + 1]),
            source=np.array(self._sources, np.uint8),
            meta={**facts, PAUSES: self._pauses},
        )

    def fail(self, why: str) -> None:
        """Know that it cannot be kept, and let its pictures go."""
        self.broken = self.broken or why
        self.close()

    def close(self) -> None:
        """Let pictures go that are in no episode; safe twice."""
        for spool in self._pictures.values():
            spool.close()

    def _column(self, key: str, count: int) -> np.ndarray:
        """Return the first rows (count, ...) of an observation."""
        if key in self._pictures:
            return self._pictures[key].rows(count)
        return np.stack([row[key] for row in self._rows[:count]])

    def _begin_step(self, tick: np.void, pictures: Mapping[str, np.void]) -> None:
        """Close the step before this one, and begin a row."""
        row = self._row(tick, [float(pictures[key]["captured_s"]) for key in self._pictures])
        if self._live and self._sent is not None:
            self._actions.append(_action(self._sent))
            self._sources.append(self._source)
        elif self._rows:
            self._pauses += bool(self._actions)
            self._rows.pop()
            self._times.pop()
            for spool in self._pictures.values():
                spool.drop_last()
        for key, spool in self._pictures.items():
            spool.append(pictures[key]["image"])
        self._rows.append(row)
        self._times.append(float(tick["time_s"]))
        self._source = SOURCE_POLICY if int(tick["mode"]) == _POLICY else self._human_source
        self._live, self._longest = True, [0.0, 0.0]

    def _row(self, tick: np.void, captured_s: Sequence[float]) -> dict[str, np.ndarray]:
        """Return what was seen at a tick, and what happened in the step before it.

        Args:
            tick: of dtype `records.tick_dtype`.
            captured_s: when each picture was, by `time.monotonic`; what claims to be of the future is of now.
        """
        row = {"state": tick["state"].copy()}
        row[PLAN] = np.zeros((PLAN_ROWS, ACTION_DIM), np.float32)
        followed_s = float(tick["observed_s"])
        age_s = float(tick["time_s"]) - followed_s if math.isfinite(followed_s) else -1.0
        facts = [tick["mode"], tick["epoch"], age_s, 0.0, 0.0, *self._longest, tick["frames_age_s"]]
        arm = [*tick["pose"], *tick["joints"], *tick["force"]]
        shown_s = [tick["time_s"] - max(0.0, tick["wall_s"] - each_s) for each_s in captured_s]
        row[FACTS] = np.array([*facts, *tick["gate"], *arm, *tick["judged"], *shown_s], np.float64)
        return row


def _add_plan(row: dict[str, np.ndarray], plan: np.void) -> None:
    """Write into a row what was planned from it; what is not finite becomes 0, and its count is -1."""
    count = int(plan["count"])
    kept = plan["actions"][: max(0, min(count, PLAN_ROWS))]
    finite = np.isfinite(kept).all()
    if len(kept):
        row[PLAN][: len(kept)], row[PLAN][len(kept) :] = np.nan_to_num(kept), np.nan_to_num(kept[-1])
    row[FACTS][FACT_NAMES.index("plan_took_s")] = plan["took_s"]
    row[FACTS][FACT_NAMES.index("plan_count")] = count if finite else -1


def _action(sent: np.ndarray) -> np.ndarray:
    """Return a set-point as an action (10,): xyz [m], 6D rotation, gripper."""
    x, y, _ = columns_of(pose_of(sent.tolist()).turn)
    return np.array([*sent[:3], *x, *y, sent[7]])
