"""What all chunk policies share: what they see, how it is normalised, how long their chunks are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.normalize import Normalizer, Stats, is_image, low_dim_specs
from robofb.policies.elements import seen_elements
from robofb.policies.image_encoder import ImageEncoder, NoImages
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs


class ChunkPolicy(nn.Module, ABC):
    """See To observations, and say chunks of H actions of which Ta are executed.

    The base of what behaviour cloning trains; a subclass adds a network, `act` and `loss`.

    Args:
        spec: what the environment shows and accepts.
        obs_keys: observations it sees: flat ones such as "state", and with an `image_encoder` images.
        elements: what it sees of flat observations, by key: beginnings of their elements' names, such as
            ["ee_", "gripper_"]; a key that is not said is seen whole.
        image_encoder: builds what encodes the images (an `ImageEncoder`) from their specs by key.
        obs_history: To, observations per decision.
        horizon: H, actions per chunk.
        execute: Ta, actions executed before the next decision.
        state_clamp: largest absolute normalised observation.

    Attributes:
        cond_dim: C, number of values that `encode` makes of a history.

    Raises:
        UserError: an argument out of range, or an observation that is missing or cannot be seen.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        obs_keys: Sequence[str] = ("state",),
        elements: Mapping[str, Sequence[str]] | None = None,
        image_encoder: Callable[..., ImageEncoder] | None = None,
        obs_history: int = 1,
        horizon: int = 16,
        execute: int = 8,
        state_clamp: float | None = 3.0,
    ) -> None:
        super().__init__()
        if not 1 <= execute <= horizon or obs_history < 1:
            raise UserError(
                f"obs_history={obs_history}, horizon={horizon}, execute={execute}: "
                "needs obs_history >= 1 and 1 <= execute <= horizon"
            )
        self.obs_keys = _check_keys(spec, obs_keys, image_encoder is not None)
        self.spec = spec = spec.only(self.obs_keys)
        images = {key: spec.obs[key] for key in self.obs_keys if is_image(spec.obs[key])}
        self.flat_keys = tuple(key for key in self.obs_keys if key not in images)
        seen = seen_elements(spec, self.flat_keys, elements or {}, "elements")
        self.seen_elements = nn.ModuleList(seen)
        self.obs_history, self.horizon, self.execute = obs_history, horizon, execute
        self.action_dim = spec.action.shape[0]
        self.state_clamp = state_clamp
        self.normalizer = Normalizer.empty(spec, clamp=state_clamp)
        self.image_encoder: ImageEncoder | NoImages = (image_encoder or NoImages)(images)
        num_flat = sum(part.num_elements for part in seen)
        self.cond_dim = obs_history * (num_flat + self.image_encoder.num_features)

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What makes chunks of conditions: the part worth compiling."""

    @abstractmethod
    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...)."""

    @abstractmethod
    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar training loss and detached metrics."""

    def set_stats(self, stats: Stats) -> None:
        """Normalise by the statistics of a dataset from now on.

        Raises:
            UserError: a key without statistics.
        """
        wanted = low_dim_specs(self.spec)
        if missing := [key for key in wanted if key not in stats]:
            raise UserError(f"no statistics of {', '.join(missing)}; there are: {', '.join(stats) or 'none'}")
        device = next(self.parameters()).device
        self.normalizer = Normalizer({key: stats[key] for key in wanted}, clamp=self.state_clamp).to(device)

    def encode(self, obs: Obs) -> Tensor:
        """Return the conditioning (B, C) of histories (B, To, ...), oldest first, flat keys before images."""
        flat = [
            seen(self.normalizer(obs[key], key)).flatten(1)
            for key, seen in zip(self.flat_keys, self.seen_elements, strict=True)
        ]
        return torch.cat([*flat, *self.image_encoder(obs)], dim=-1)

    def weigh(self, error: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its metrics of the errors (B, H, A): their mean, by the batch's weights.

        Rows past an episode's end count as well: they hold the last pose, which is what to do there.
        """
        loss = (error.mean(dim=(1, 2)) * batch.weight).sum() / batch.weight.sum()
        return loss, {"loss": loss.detach()}


def _check_keys(spec: EnvSpec, obs_keys: Sequence[str], sees_images: bool) -> tuple[str, ...]:
    """Refuse keys that are not observed, not flat, or images that nothing would encode."""
    if isinstance(obs_keys, str):
        raise UserError(f"obs_keys={obs_keys}: needs a list: [{obs_keys}]")
    valid = [key for key, array in low_dim_specs(spec).items() if key != "action" and len(array.shape) == 1]
    images = [key for key, array in spec.obs.items() if is_image(array)]
    if sees_images and not set(images) & set(obs_keys):
        raise UserError(
            f"obs_keys: {', '.join(obs_keys) or 'none'}: an image encoder needs an image of task "
            f"{spec.task}; there are: {', '.join(images) or 'none'}"
        )
    valid += images if sees_images else []
    for key in obs_keys:
        if key not in valid:
            kind = "is not a flat vector" if key in spec.obs else "is not observed"
            raise UserError(
                f"obs_keys: '{key}' {kind} in task {spec.task}; valid: {', '.join(valid) or 'none'}"
            )
    if not obs_keys:
        raise UserError(f"obs_keys is empty; valid: {', '.join(valid)}")
    return tuple(obs_keys)
