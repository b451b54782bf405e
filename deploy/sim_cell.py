"""A simulated task as a cell that a person drives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robofb.deploy.cell import CellState
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import UserError
from robofb.sim.render import FIGURE_CAMERA, ImageObserver
from robofb.sim.vec_env import SimVecEnv
from robofb.store.element_names import EE, PoseColumns, find_poses
from robofb.types import Obs, Step


class SimCell:
    """Drive one simulated world; it stands still while nobody steps it. Satisfies `cell.Cell`.

    Its clock is simulated time: capture times and what the world did between them agree to the bit,
    however late the person's computer runs. An episode has no time limit here.

    Args:
        env: of one world, without auto-reset. The cell closes it.
        view_px: height and width of the pictures for the person, of the scene's cameras but for
            `FIGURE_CAMERA`; None shows what is recorded, if anything is.

    Raises:
        UserError: the task's state or action does not tell the tool's pose by the names we use.
    """

    rewinds = True

    def __init__(self, env: SimVecEnv, view_px: tuple[int, int] | None = None) -> None:
        if env.num_envs != 1 or env.autoreset:
            raise ValueError("a cell needs one environment without auto-reset")
        self.spec = env.spec
        self._env = env
        self._tool = tool_columns(env)
        self._view: ImageObserver | None = None
        if view_px is not None and env.images is None:
            model = env.engine.model
            names = [model.camera(index).name for index in range(model.ncam)]
            shown = [name for name in names if name != FIGURE_CAMERA]
            self._view = ImageObserver(env.engine, dict.fromkeys(shown, view_px))
        self._gripper = -1.0
        self._state: CellState | None = None

    def reset(self, seed: int) -> CellState:
        """Start the episode that `seed` gives, gripper open."""
        self._gripper = -1.0
        return self._seen(self._env.reset(seed))

    def step(self, action: np.ndarray) -> CellState:
        """Advance the world by one control period under `action` (10,)."""
        self._gripper = float(action[-1])
        step = self._env.step(torch.from_numpy(action).unsqueeze(0))
        return self._seen(step.final_obs, step)

    def hold(self) -> CellState:
        """Return the present state; the world stands still."""
        if self._state is None:
            raise RuntimeError("call reset before hold")
        return self._state

    def snapshot(self) -> Any:
        """Return the world's full state with the bookkeeping of its episode."""
        return copy.deepcopy((self._env.state_dict(), self._gripper))

    def restore(self, snapshot: Any) -> CellState:
        """Go back to a snapshot; the world goes on from there bit for bit."""
        state, self._gripper = copy.deepcopy(snapshot)
        return self._seen(self._env.load_state_dict(state))

    def frames(self) -> Mapping[str, np.ndarray]:
        """Return the recorded cameras' pictures, else those for the person."""
        seen = self._view.observe(torch.zeros(1, dtype=torch.int64)) if self._view is not None else None
        images = {key: image[0].numpy() for key, image in seen.items()} if seen else self.hold().obs
        return {
            key.removeprefix("image_"): np.ascontiguousarray(image.transpose(1, 2, 0))
            for key, image in images.items()
            if key.startswith("image_")
        }

    def facts(self) -> Mapping[str, Any]:
        """Return the episode's seed, from which its start state follows."""
        return {"episode_seed": int(self._env.episode_seed[0])}

    def close(self) -> None:
        """Release simulator and cameras; safe twice."""
        if self._view is not None:
            self._view.close()
        self._env.close()

    def _seen(self, obs: Obs, step: Step | None = None) -> CellState:
        arrays = {key: value[0].cpu().numpy().copy() for key, value in obs.items()}
        state = torch.from_numpy(arrays["state"].astype(np.float64))
        success = step is not None and bool(step.info["success"][0])
        self._state = CellState(
            obs=arrays,
            time_s=int(self._env.elapsed[0]) * self.spec.control_dt,
            tool_pos_base_m=state[..., self._tool.position].numpy(),
            tool_rotation_base=self._tool.matrix(state).numpy(),
            gripper=self._gripper,
            reward=float(step.reward[0]) if step is not None else 0.0,
            success=success,
            failed=step is not None and bool(step.terminated[0]) and not success,
        )
        return self._state


def tool_columns(env: SimVecEnv) -> PoseColumns:
    """Return where the tool's pose stands in the state observation."""
    poses = find_poses(env.spec.obs["state"]) if "state" in env.spec.obs else []
    tool = [pose for pose in poses if (pose.body, pose.frame) == (EE, "base") and pose.rotation]
    if not tool:
        raise UserError(
            f"task {env.spec.task} cannot be driven by hand: its state lacks {EE}_pos_base or {EE}_rot6d_base"
        )
    if env.spec.action.names != ACTION_NAMES:
        raise UserError(
            f"task {env.spec.task} cannot be driven by hand: its action is not {', '.join(ACTION_NAMES)}"
        )
    return tool[0]
