"""The complete training histories of N single-task agents: a folder of one dataset for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robofb.errors import DamagedError, UserError
from robofb.store.checks import check_same_spec
from robofb.store.episodes import EpisodeStore
from robofb.store.layout import is_begun
from robofb.types import EnvSpec, Episode

PARAMS, PARAM_NAMES = "task_params", "task_param_names"
EPISODES_PER_TRIAL, START = "episodes_per_trial", "start_distribution"
AGENTS = "num_agents"
"""Keys of each dataset's `meta`: what its task is, how many episodes a trial has, where they start, and N."""


def agent_folder(root: Path, agent: int) -> Path:
    """Return where the history of an agent is kept."""
    return root / f"agent_{agent:04d}"


def write_agent_log(
    root: Path, agent: int, spec: EnvSpec, meta: Mapping[str, Any], episodes: Sequence[Episode]
) -> None:
    """Write the history of an agent; where a dataset is there already, what it lacks, all of that or nothing.

    Args:
        root: folder of all agents.
        meta: with the keys that stand at the top of this file.
        episodes: complete; a dataset that is there holds the first of them.

    Raises:
        UserError: it cannot be written, or the dataset that is there holds more.
    """
    folder = agent_folder(root, agent)
    is_there = folder.exists() and not is_begun(folder)
    with (
        EpisodeStore.open(folder, "a", spec=spec)
        if is_there
        else EpisodeStore.create(folder, spec, {**meta, "agent": agent})
    ) as store:
        if len(store) > len(episodes):
            raise UserError(f"{folder} holds {len(store)} episodes of another training; choose another logs=")
        store.extend(episodes[len(store) :])


class AgentLogs:
    """The histories of N agents, to read; a context manager.

    Args:
        root: folder that `write_agent_log` filled.

    Attributes:
        stores: of each agent.
        params: (P,) floats of each agent's task.

    Raises:
        UserError: there is none, or they do not belong together.
    """

    def __init__(self, root: str | Path) -> None:
        self.path = Path(root)
        folders = sorted(self.path.glob("agent_*")) if self.path.is_dir() else []
        if not folders:
            raise UserError(f"{self.path} holds no agents' logs: make some with robofb train agents")
        for number, folder in enumerate(folders):
            if folder != agent_folder(self.path, number):
                raise DamagedError(f"{agent_folder(self.path, number)} is missing")
        self.stores: list[EpisodeStore] = []
        for folder in folders:
            store = EpisodeStore.open(folder, spec=self.stores[0].spec if self.stores else None)
            self.stores.append(store)
        self.params = [self._fact(store, PARAMS, list) for store in self.stores]
        known = self.stores[0].meta.get(AGENTS, len(folders))  # logs of before November 2026 do not say it
        if len(folders) < known:
            raise DamagedError(f"{agent_folder(self.path, len(folders))} is missing, of {known} agents")
        if len({len(params) for params in self.params}) > 1:
            raise DamagedError(f"{self.path}: the agents' tasks have different numbers of parameters")
        self.episodes_per_trial: int = self._same(EPISODES_PER_TRIAL, int)
        self.start: str = self._same(START, str)

    @property
    def spec(self) -> EnvSpec:
        """What all agents saw and did."""
        return self.stores[0].spec

    def _fact(self, store: EpisodeStore, key: str, kind: type) -> Any:
        value = store.meta.get(key)
        if not isinstance(value, kind):
            raise DamagedError(f"{store.path} is no agent's log: its meta has no {key}")
        return value

    def _same(self, key: str, kind: type) -> Any:
        values = [self._fact(store, key, kind) for store in self.stores]
        for store, value in zip(self.stores, values, strict=True):
            if value != values[0]:
                raise UserError(f"{store.path}: {key} is {value!r}, of the first agent {values[0]!r}")
        return values[0]

    def check_fits(self, spec: EnvSpec) -> None:
        """Refuse logs that were not made in an environment of this spec.

        Raises:
            UserError: names the difference.
        """
        check_same_spec(self.spec, spec.only(self.spec.obs), str(self.path))

    def __len__(self) -> int:
        return len(self.stores)

    def __iter__(self) -> Iterator[EpisodeStore]:
        return iter(self.stores)

    def __enter__(self) -> AgentLogs:
        return self

    def __exit__(self, *failure: object) -> None:
        for store in self.stores:
            store.close()
