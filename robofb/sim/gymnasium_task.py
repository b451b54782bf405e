"""Name any Gymnasium environment as a task: `task=gymnasium task.id=...`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cached_property
from importlib.metadata import packages_distributions
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode

from robofb.errors import UserError
from robofb.interfaces import Agent
from robofb.sim.gymnasium_env import GymnasiumVecEnv
from robofb.sim.success import SuccessRule
from robofb.types import EnvSpec

VECTORIZATIONS = ("sync", "async", "vector_entry_point")


class GymnasiumTask:
    """Make vector envs of one Gymnasium id; satisfies `interfaces.EnvMaker`.

    Args:
        id: as `gymnasium.make` takes it; `package:Name-v0` imports the installed package that registers it.
        max_steps: time limit [control steps]; the environment's own where None.
        control_dt: time of one control step [s]; 1 / its `render_fps` where None.
        success_key, success_reward, success_total: what counts as a success, see `SuccessRule`.
        end_on_success: a success ends its episode.
        vectorization: sync (one process), async (one for each env), or vector_entry_point, the environment's
            own vector env.
        kwargs: arguments of the environment.
        expert: makes a demonstrator for `collect` from (num_envs, noise); None has none.

    Raises:
        UserError: a value that does not fit.
    """

    def __init__(
        self,
        id: str,
        max_steps: int | None = None,
        control_dt: float | None = None,
        success_key: str | None = None,
        success_reward: float | None = None,
        success_total: float | None = None,
        end_on_success: bool = False,
        vectorization: str = "sync",
        kwargs: Mapping[str, Any] | None = None,
        expert: Callable[[int, float], Agent] | None = None,
    ) -> None:
        if vectorization not in VECTORIZATIONS:
            raise UserError(f"task.vectorization={vectorization}: choose one of {', '.join(VECTORIZATIONS)}")
        self.id, self.name = id, f"gymnasium_{re.sub(r'[^A-Za-z0-9]+', '_', id.partition(':')[2] or id)}"
        self.meta = {"gymnasium_id": id, "kwargs": dict(kwargs or {})}
        self._max_steps, self._control_dt, self._vectorization = max_steps, control_dt, vectorization
        self._success = SuccessRule(success_key, success_reward, success_total)
        self._end_on_success, self._kwargs = end_on_success, dict(kwargs or {})
        if expert is not None:
            if not callable(expert):
                raise UserError(
                    f"task.expert={expert}: say the class as {{_target_: package.Class, _partial_: true}}"
                )
            self.expert = expert

    @cached_property
    def spec(self) -> EnvSpec:
        """What the environment shows and takes; starts one to see it."""
        with closing(self.make_env(1)) as env:
            return env.spec

    def make_env(self, num_envs: int) -> GymnasiumVecEnv:
        """Start the environment `num_envs` times.

        Raises:
            UserError: there is no such environment, it does not start, or it lacks what we must know.
        """
        self._check_package()
        try:
            registered = gymnasium.spec(self.id) if ":" not in self.id else self._import_and_find()
            vec = self._make_vec(registered, num_envs)
        except Exception as error:  # each environment's constructor raises its own kind
            reason = f"{type(error).__name__} {(str(error).splitlines() or [''])[0]}".strip()
            raise UserError(f"task.id={self.id} does not start: {reason}") from error
        try:
            return GymnasiumVecEnv(
                vec,
                self.name,
                control_dt_s=self._control_dt_s(vec),
                max_steps=self._time_limit(registered),
                success=self._success,
                end_on_success=self._end_on_success,
                seeds_each=self._vectorization != "vector_entry_point",
                task=self,
            )
        except BaseException:
            vec.close()
            raise

    def _import_and_find(self) -> Any:
        """Import the package before the colon, which registers its environments, and return the one named."""
        package, _, name = self.id.partition(":")
        importlib.import_module(package)
        return gymnasium.spec(name)

    def _check_package(self) -> None:
        """Refuse a module of no installed package: ids come from configs, and a run folder may lie here."""
        package, colon, _ = self.id.partition(":")
        if colon and package.partition(".")[0] not in packages_distributions():
            raise UserError(f"task.id={self.id}: no package {package} is installed")

    def _make_vec(self, registered: Any, num_envs: int) -> Any:
        kwargs = dict(self._kwargs)
        if self._max_steps is not None:
            kwargs["max_episode_steps"] = self._max_steps
        if self._vectorization == "vector_entry_point":
            return gymnasium.make_vec(
                registered, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs
            )
        modes = getattr(_creator(registered), "metadata", {}).get("render_modes", ())
        if "rgb_array" in modes:
            kwargs.setdefault("render_mode", "rgb_array")  # nothing is rendered until a film asks
        return gymnasium.make_vec(
            registered,
            num_envs=num_envs,
            vectorization_mode=self._vectorization,
            vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
            **kwargs,
        )

    def _time_limit(self, registered: Any) -> int:
        limit = self._max_steps if self._max_steps is not None else registered.max_episode_steps
        if limit is None:
            raise UserError(f"task.id={self.id} has no time limit: set task.max_steps")
        return int(limit)

    def _control_dt_s(self, vec: Any) -> float:
        rate = vec.metadata.get("render_fps")
        if self._control_dt is None and not rate:
            raise UserError(f"task.id={self.id} does not say its control period: set task.control_dt in s")
        return float(self._control_dt if self._control_dt is not None else 1.0 / rate)


def _creator(registered: Any) -> Any:
    entry = registered.entry_point
    return load_env_creator(entry) if isinstance(entry, str) else entry
