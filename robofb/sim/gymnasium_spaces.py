"""Gymnasium's spaces as our specs, and its observations as our tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from robofb.errors import UserError
from robofb.types import ArraySpec, Obs

_MAX_CHANNELS = 4


@dataclass(frozen=True)
class _Leaf:
    """One array of an observation: the keys that lead to it, and its space."""

    path: tuple[str, ...]
    space: spaces.Box

    @property
    def name(self) -> str:
        return "_".join(self.path) or "obs"

    @property
    def is_image(self) -> bool:
        shape = self.space.shape
        return self.space.dtype == np.uint8 and len(shape) == 3 and min(shape[0], shape[2]) <= _MAX_CHANNELS

    @property
    def channels_last(self) -> bool:
        """Whether an image is (H, W, C); one that may be read both ways is."""
        return bool(self.space.shape[2] <= _MAX_CHANNELS)

    def read(self, obs: Any) -> Tensor:
        """Return this array of a batched observation, on the CPU."""
        for key in self.path:
            obs = obs[key]
        return torch.as_tensor(np.asarray(obs) if isinstance(obs, list | tuple) else obs).cpu()


class ObsLayout:
    """Sort an observation space: images by their own keys, everything else in one vector "state".

    Args:
        space: a Box, or a Dict of them, nested or not.
        task: for messages.

    Attributes:
        specs: "state" (D,) float32, the flattened parts in the order of the space, and `image_<key>`
            (C, H, W) uint8; each only where there is one.

    Raises:
        UserError: the space holds something else.
    """

    def __init__(self, space: Any, task: str) -> None:
        leaves = list(_leaves(space, (), task))
        self._images = {_image_key(leaf): leaf for leaf in leaves if leaf.is_image}
        self._vectors = [leaf for leaf in leaves if not leaf.is_image]
        self.specs: dict[str, ArraySpec] = {}
        if self._vectors:
            names = tuple(name for leaf in self._vectors for name in _element_names(leaf))
            self.specs["state"] = ArraySpec((len(names),), unit="the environment's own", names=names)
        for key, leaf in self._images.items():
            shape = leaf.space.shape
            chw = (shape[2], *shape[:2]) if leaf.channels_last else shape
            self.specs[key] = ArraySpec(tuple(int(size) for size in chw), "uint8", "0..255")

    def tensors(self, obs: Any) -> Obs:
        """Return fresh tensors of a batched observation."""
        made: Obs = {}
        if self._vectors:
            parts = [leaf.read(obs) for leaf in self._vectors]
            made["state"] = torch.cat([part.reshape(len(part), -1).to(torch.float32) for part in parts], 1)
        for key, leaf in self._images.items():
            image = leaf.read(obs)
            made[key] = (image.permute(0, 3, 1, 2) if leaf.channels_last else image).clone(
                memory_format=torch.contiguous_format
            )
        return made

    def put_rows(self, into: Obs, rows: Any) -> Obs:
        """Return `into` with some envs' observations replaced: `rows` (B,) objects, None where it stays."""
        ids = [env for env, row in enumerate(rows) if row is not None]
        index = torch.tensor(ids, dtype=torch.int64)
        merged = dict(into)
        seen = [self.tensors(_batch_of_one(rows[env])) for env in ids]
        for key in merged if ids else ():
            merged[key] = merged[key].index_copy(0, index, torch.cat([each[key] for each in seen]))
        return merged


class ActionLayout:
    """Turn our actions (B, A) into those of an action space: shaped, and clipped to its bounds.

    Args:
        space: a Box of floats.
        task: for messages.

    Attributes:
        spec: of the flattened action, with its bounds where all are finite.

    Raises:
        UserError: the space is something else.
    """

    def __init__(self, space: Any, task: str) -> None:
        if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
            raise UserError(f"{task} takes actions {space}: only a Box of floats can be trained on")
        self._shape, self._dtype = space.shape, space.dtype
        self._low, self._high = space.low.ravel(), space.high.ravel()
        bounded = bool(np.isfinite(self._low).all() and np.isfinite(self._high).all())
        self.spec = ArraySpec(
            (math.prod(space.shape),),
            unit="the environment's own",
            low=tuple(self._low.tolist()) if bounded else None,
            high=tuple(self._high.tolist()) if bounded else None,
        )

    def array(self, action: Tensor) -> np.ndarray:
        """Return actions (B, A) as the environment takes them."""
        values = action.detach().cpu().numpy().astype(self._dtype)
        clipped: np.ndarray = np.clip(values, self._low, self._high).reshape(len(values), *self._shape)
        return clipped


def _leaves(space: Any, path: tuple[str, ...], task: str) -> Iterator[_Leaf]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.items():
            yield from _leaves(inner, (*path, str(key)), task)
    elif isinstance(space, spaces.Box):
        yield _Leaf(path, space)
    else:
        where = f"observation '{'_'.join(path)}'" if path else "observations"
        raise UserError(f"{task} shows {where} {space}: only Box, and Dict of Boxes, can be trained on")


def _image_key(leaf: _Leaf) -> str:
    name = leaf.name if leaf.path else "pixels"
    return name if name.startswith("image_") else f"image_{name}"


def _element_names(leaf: _Leaf) -> list[str]:
    size = math.prod(leaf.space.shape)
    return [leaf.name] if size == 1 else [f"{leaf.name}_{index}" for index in range(size)]


def _batch_of_one(obs: Any) -> Any:
    if isinstance(obs, dict):
        return {key: _batch_of_one(value) for key, value in obs.items()}
    return np.asarray(obs)[None]
