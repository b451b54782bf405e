"""Logs with what their reader would have believed: transitions between hyper-states (state relabelling)."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robofb.errors import DamagedError
from robofb.policies.hyper import HyperPolicy
from robofb.progress import progress_bar
from robofb.rl.borel.belief import BeliefEncoder
from robofb.rl.borel.released import beliefs_of, goes_on
from robofb.rl.histories import Histories, Trials
from robofb.store.atomic import replace_file

_TRIALS_AT_ONCE = 512


def weights_hash(encoder: BeliefEncoder) -> str:
    """Return 16 hexadecimal digits that tell encoders with other weights apart."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def all_trials(histories: Histories, count: int) -> Iterator[Trials]:
    """Yield every log cut into trials of `count` episodes; the last ones of a log may stay out."""
    numbers = [int(n) // count for n in histories.num_episodes]
    agent = torch.arange(histories.num_agents).repeat_interleave(torch.tensor(numbers))
    first = torch.cat([count * torch.arange(n) for n in numbers])
    episodes = first[:, None] + torch.arange(count)
    for rows in torch.arange(len(agent)).split(_TRIALS_AT_ONCE):
        yield histories.trials(agent[rows], episodes[rows])


class HyperTransitions:
    """R transitions between hyper-states, to be drawn from.

    A trial's belief goes on over the ends of its episodes, and so does value: after an episode's last step
    comes where the next one began (of pieces, the next one's episode), with the belief of then. After a
    trial's last episode comes where its first one began: a trial has no end that a policy could know of.
    Within an episode a step's own end comes next, even where the trial goes on elsewhere, made of pieces.

    Args:
        columns: "state", "next_state" (R, D), "belief", "next_belief" (R, 2 Z), "action" (R, A),
            "reward" and "goes_on" (R,), 1 but for where value ends.
    """

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["reward"])

    @classmethod
    @torch.no_grad()
    def of(
        cls, trials: Trials, encoder: BeliefEncoder, defects: frozenset[str] = frozenset()
    ) -> HyperTransitions:
        """Return the transitions of some trials, perhaps with `defects` of the released code."""
        belief = beliefs_of(trials, encoder, defects).flat()  # (M, T + 1, 2 Z)
        rows = torch.arange(len(belief))[:, None]
        follows = trials.starts.roll(-1, 1)[rows, trials.episode]
        columns = {
            "state": trials.obs,
            "next_state": torch.where(trials.ends[..., None], follows, trials.next_obs),
            "belief": belief[:, :-1],
            "next_belief": belief[:, 1:],
            "action": trials.action,
            "reward": trials.reward,
            "goes_on": goes_on(trials, defects),
        }
        return cls({name: column[trials.valid] for name, column in columns.items()})

    @classmethod
    def joined(cls, parts: list[HyperTransitions]) -> HyperTransitions:
        """Return the transitions of all parts."""
        names = parts[0].columns
        return cls({name: torch.cat([part.columns[name] for part in parts]) for name in names})

    def sample(
        self, count: int, policy: HyperPolicy, gamma: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return a batch (1, count, ...) as `rl.single_task` learns from it."""
        row = torch.randint(len(self), (count,), generator=generator)
        taken = {name: column[row] for name, column in self.columns.items()}
        batch = {
            "state": policy.inputs(taken["state"], taken["belief"]),
            "next_state": policy.inputs(taken["next_state"], taken["next_belief"]),
            "action": taken["action"] if policy.num_choices else policy.encoder.actions(taken["action"]),
            "reward": taken["reward"],
            "discount": gamma * taken["goes_on"],
        }
        return {name: column[None] for name, column in batch.items()}


def hyper_transitions(
    histories: Histories,
    count: int,
    encoder: BeliefEncoder,
    folder: Path,
    defects: frozenset[str] = frozenset(),
) -> HyperTransitions:
    """Return the transitions of all trials; taken from `folder` where this encoder's are kept there.

    Args:
        histories: the logs.
        count: episodes in a trial.
        encoder: whose beliefs they get.
        folder: where they are kept, by the encoder's hash.
        defects: see `released`.

    Raises:
        DamagedError: the file that is there cannot be read.
    """
    name = "-".join(["hyper_states", weights_hash(encoder), *sorted(defects)])
    path = folder / f"{name}.npz"
    if path.is_file():
        return HyperTransitions(_read(path))
    trials = list(all_trials(histories, count))
    with progress_bar(len(trials), "hyper-states", "part", delay_s=2.0) as bar:
        parts = []
        for each in trials:
            parts.append(HyperTransitions.of(each, encoder, defects))
            bar.update()
    made = HyperTransitions.joined(parts)
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    arrays: dict[str, np.ndarray] = {name: column.numpy() for name, column in made.columns.items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())
    return made


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedError(f"cannot read {path} ({error}): remove it, and it is made anew") from None
