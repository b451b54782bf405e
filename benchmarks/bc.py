"""Training samples/s of behaviour cloning with the paper's UNet against a plain loop, and window reading.

python benchmarks/bc.py [--batch-sizes 256 64] [--threads 1] [--budget-s 45]

The plain loop is what the documentation of PyTorch and diffusers teaches: a Dataset that cuts one window
per item out of normalised arrays, a DataLoader that collates them, DDPMScheduler.add_noise, AdamW,
EMAModel, get_scheduler. Network, batch size, loss, gradient clipping and average are the same for both.
`ratio_to_plain_loop` is taken as shipped (precision=auto: bfloat16 where the processor computes in it) at
the paper's batch size, the first one given; the float32 figure stands beside it. `loss` holds the mean
training loss of the timed steps of each, which see the same data.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from results import save_result
from timing import medians_in_turns
from torch.utils.data import DataLoader, Dataset

from robofb.nets.unet1d import UNet1D
from robofb.policies.diffusion import DiffusionPolicy
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows
from robofb.train.bc import choose_precision
from robofb.train.bc_learner import BcLearner
from robofb.types import SOURCE_SCRIPTED, ArraySpec, EnvSpec, Episode

OBS_DIM, ACTION_DIM, HORIZON = 58, 10, 32  # one_leg in the paper
LR, WEIGHT_DECAY = 1e-4, 1e-6
WARMUP_STEPS, TOTAL_STEPS, EMA_DECAY, GRAD_CLIP = 500, 100_000, 0.999, 1.0
SPEC = EnvSpec(
    task="one_leg_sizes",
    obs={"state": ArraySpec((OBS_DIM,))},
    action=ArraySpec((ACTION_DIM,)),
    control_dt=0.1,
    max_steps=700,
)


def make_store(folder: Path, episodes: int = 50, length: int = 500) -> EpisodeStore:
    """Write smooth random walks of the paper's sizes."""
    rng = np.random.default_rng(0)
    with EpisodeStore.create(folder, SPEC) as store:
        for _ in range(episodes):
            walk = rng.normal(size=(length + 1, OBS_DIM)).cumsum(0).astype(np.float32)
            episode = Episode(
                obs={"state": walk},
                action=walk[1:, :ACTION_DIM].copy(),
                reward=np.zeros(length, np.float32),
                terminated=True,
                success=True,
                timestamps=0.1 * np.arange(length + 1),
                source=np.full(length, SOURCE_SCRIPTED, np.uint8),
            )
            store.append(episode)
    return EpisodeStore.open(folder)


class WindowDataset(Dataset):
    """One window per item, cut out of normalised arrays; the ends of episodes repeat."""

    def __init__(self, store: EpisodeStore) -> None:
        stats = store.stats()
        self.obs = self.normalised(store.read("state"), stats["state"])
        self.action = self.normalised(store.read("action"), stats["action"])
        ends = store.episode_ends
        self.last = np.repeat(ends - 1, np.diff(ends, prepend=0))

    @staticmethod
    def normalised(values: np.ndarray, stats: dict[str, np.ndarray]) -> np.ndarray:
        return 2 * (values - stats["min"]) / (stats["max"] - stats["min"]) - 1

    def __len__(self) -> int:
        return len(self.action)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        action = self.action[index : min(index + HORIZON, self.last[index] + 1)]
        missing = HORIZON - len(action)
        if missing:
            action = np.concatenate([action, np.repeat(action[-1:], missing, axis=0)])
        return {"obs": self.obs[index : index + 1], "action": action}


def endless(loader: DataLoader) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches epoch after epoch."""
    while True:
        yield from loader


def plain_loop(network: UNet1D, dataset: WindowDataset, batch_size: int) -> Callable[[], torch.Tensor]:
    """Return a function that does one step of the plain loop and returns its loss."""
    batches = endless(DataLoader(dataset, batch_size, shuffle=True, drop_last=True))
    noise_scheduler = DDPMScheduler(100, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon")
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    lr_scheduler = get_scheduler(
        "cosine", optimizer, num_warmup_steps=WARMUP_STEPS, num_training_steps=TOTAL_STEPS
    )
    ema = EMAModel(network.parameters(), decay=EMA_DECAY, use_ema_warmup=True)

    def step() -> torch.Tensor:
        batch = next(batches)
        noise = torch.randn_like(batch["action"])
        timesteps = torch.randint(0, 100, (batch_size,))
        noisy = noise_scheduler.add_noise(batch["action"], noise, timesteps)
        loss = F.mse_loss(network(noisy, timesteps, batch["obs"].flatten(1)), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRAD_CLIP)
        optimizer.step()
        lr_scheduler.step()
        optimizer.zero_grad()
        ema.step(network.parameters())
        return loss.detach()

    return step


def our_loop(
    network: UNet1D, store: EpisodeStore, batch_size: int, precision: torch.dtype
) -> Callable[[], torch.Tensor]:
    """Return a function that does one step of robofb's loop and returns its loss."""
    policy = DiffusionPolicy(SPEC, lambda **sizes: network, horizon=HORIZON, prediction="epsilon")
    policy.set_stats(store.stats())
    windows = Windows(store, obs_history=1, horizon=HORIZON)
    learner = BcLearner(
        policy,
        windows,
        batch_size=batch_size,
        warmup_steps=WARMUP_STEPS,
        total_steps=TOTAL_STEPS,
        ema_decay=EMA_DECAY,
        grad_clip=GRAD_CLIP,
        seed=0,
        precision=precision,
        lr=LR,
        weight_decay=WEIGHT_DECAY,
    )
    return lambda: learner.step()["loss"]


def compare_training(store: EpisodeStore, batch_size: int, budget_s: float) -> dict[str, float | str]:
    """Return samples/s and the mean loss of the plain loop and of ours."""
    torch.manual_seed(0)
    network = UNet1D(ACTION_DIM, HORIZON, OBS_DIM)
    steps = {"plain": plain_loop(copy.deepcopy(network), WindowDataset(store), batch_size)}
    auto = choose_precision("auto", torch.device("cpu"))
    for precision in dict.fromkeys((torch.float32, auto)):
        name = str(precision).removeprefix("torch.")
        steps[name] = our_loop(copy.deepcopy(network), store, batch_size, precision)
    losses: dict[str, list[float]] = {name: [] for name in steps}

    def recorded(name: str) -> None:
        losses[name].append(float(steps[name]()))

    ways = {name: partial(recorded, name) for name in steps}
    seconds = medians_in_turns(ways, budget_s=budget_s, min_rounds=3)
    figures: dict[str, float | str] = {f"samples_per_s_{name}": batch_size / seconds[name] for name in steps}
    figures |= {f"loss_{name}": float(np.mean(losses[name][1:])) for name in steps}
    figures["ratio_to_plain_loop"] = seconds["plain"] / seconds[str(auto).removeprefix("torch.")]
    figures["ratio_to_plain_loop_float32"] = seconds["plain"] / seconds["float32"]
    figures["precision"] = str(auto).removeprefix("torch.")
    return figures


def compare_loading(store: EpisodeStore, batch_size: int, batches: int = 20) -> dict[str, float]:
    """Return windows/s of a per-item DataLoader and of `Windows`, without any training."""
    windows, generator = Windows(store, obs_history=1, horizon=HORIZON), torch.Generator().manual_seed(0)
    plain = endless(DataLoader(WindowDataset(store), batch_size, shuffle=True, drop_last=True))

    def repeat(action: Callable[[], object]) -> None:
        for _ in range(batches):
            action()

    ways = {"plain": lambda: next(plain), "ours": lambda: windows.sample(batch_size, generator)}
    seconds = medians_in_turns({name: partial(repeat, way) for name, way in ways.items()}, budget_s=5)
    figures = {f"windows_per_s_{name}": batches * batch_size / seconds[name] for name in ways}
    return {**figures, "ratio_window_loading": seconds["plain"] / seconds["ours"]}


def main() -> None:
    """Measure, print one JSON line and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--threads", type=int, default=1, help="of torch; 0: torch's choice")
    parser.add_argument("--budget-s", type=float, default=45, help="time for each batch size")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder, make_store(Path(folder) / "data") as store:
        loading = compare_loading(store, options.batch_sizes[0])
        training = {size: compare_training(store, size, options.budget_s) for size in options.batch_sizes}
    headline = training[options.batch_sizes[0]]
    ratios = {key: value for key, value in headline.items() if key.startswith("ratio")}
    save_result("bc", {**ratios, **loading, "threads": torch.get_num_threads(), "by_batch_size": training})


if __name__ == "__main__":
    main()
