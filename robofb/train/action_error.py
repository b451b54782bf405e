"""Compare a chunk policy with held-out demonstrations."""

from __future__ import annotations

import torch

from robofb.normalize import is_image
from robofb.policies.diffusion import DiffusionPolicy
from robofb.rng import EpisodeRng, derive_seeds
from robofb.store.windows import Windows
from robofb.types import EnvSpec

ROWS, ROWS_WITH_IMAGES = 256, 32  # windows per call: a network's maps of images take much memory


@torch.no_grad()
def action_error(policy: DiffusionPolicy, windows: Windows, num_windows: int, seed: int) -> dict[str, float]:
    """Return the mean absolute error of the actions that would be executed, at fixed steps and noise.

    Compares the first Ta rows of sampled chunks with the demonstration; rows past its end do not count.

    Args:
        policy: whose chunks are judged.
        windows: of held-out episodes.
        num_windows: most windows to use, evenly spread.
        seed: of the sampler's noise.

    Returns:
        "action_error_normalised" over all elements, and "action_error/<quantity>" in the quantity's
        unit for the elements whose names differ in their last word only (ee_pos_x, ee_pos_y, ...).
    """
    count = min(num_windows, len(windows))
    index = torch.linspace(0, len(windows) - 1, count, dtype=torch.float64).round().long()
    seeds = derive_seeds(seed, torch.arange(count)).to(windows.device)
    total = torch.zeros(2, policy.action_dim, device=windows.device)
    rows = torch.zeros((), device=windows.device)
    sees_images = any(is_image(array) for array in policy.spec.obs.values())
    for part in torch.arange(count).split(ROWS_WITH_IMAGES if sees_images else ROWS):
        batch = windows.batch(index[part])
        chunk = policy.act(batch.obs, EpisodeRng(seeds[part]))
        mask = batch.mask[:, : policy.execute, None]
        pair = (chunk[:, : policy.execute], batch.action[:, : policy.execute])
        normalised = [policy.normalizer(actions, "action") for actions in pair]
        for slot, (found, expected) in enumerate((pair, normalised)):
            total[slot] += ((found - expected).abs() * mask).sum(dim=(0, 1))
        rows += mask.sum()
    mean, mean_normalised = (total / rows).cpu()
    errors = {"action_error_normalised": float(mean_normalised.mean())}
    for quantity, elements in _quantities(policy.spec).items():
        errors[f"action_error/{quantity}"] = float(mean[elements].mean())
    return errors


def _quantities(spec: EnvSpec) -> dict[str, list[int]]:
    """Group the action's elements by their names without the last word: {"ee_pos": [0, 1, 2], ...}."""
    groups: dict[str, list[int]] = {}
    for element, name in enumerate(spec.action.names):
        groups.setdefault(name.rpartition("_")[0] or name, []).append(element)
    return groups
