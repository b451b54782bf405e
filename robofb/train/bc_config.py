"""What `robofb train bc` reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from robofb.augment.image_augment import ImageAugment
from robofb.augment.state_noise import StateNoise
from robofb.errors import UserError, check_at_least, check_positive, check_seeds, check_threads
from robofb.store.image_reading import (
    MEMORY_SHARE,
    ImageReading,
    default_cache_folder,
    machine_memory_bytes,
)
from robofb.store.mix import Mix
from robofb.store.windows import check_validation_fraction
from robofb.train.device import PRECISIONS

MOST_GB = 1e9  # of memory, more than any machine has
FIXED = (  # what a resumed run cannot change
    "policy",
    "task",
    "seed",
    "validation_fraction",
    "data_weights",
    "source_weights",
    "vision_weights",
)


@dataclass
class BcConfig:
    """What `robofb train bc` reads. The defaults suit two CPU cores.

    Attributes:
        task: what the demonstrations show; null takes the dataset's word for it.
        data: folder of the dataset, or a list of several: [a,b].
        data_weights: relative share of the training samples from each dataset, such as [3,1]; null draws
            every window of all of them alike. The normaliser's statistics count each step once whatever
            the weights.
        source_weights: factor by who chose a window's first action, such as source_weights.intervention=2
            (human, policy, intervention, augmented, scripted); 1 where not said.
        images: where images are read from: memory, cache (raw files in cache_dir), stream (decoded again
            and again into a pool), or auto: the first of these that fits.
        memory_gb: most memory for decoded images; half of the machine's where null.
        cache_dir: folder of the raw files; ~/.cache/robofb/images where null.
        policy: what is trained.
        steps: optimiser steps.
        batch_size: windows per step, all processes together where torchrun starts several.
        lr: peak learning rate of AdamW; it falls to 0 along a cosine.
        weight_decay: of AdamW.
        warmup_steps: steps over which the learning rate rises.
        ema_decay: of the average of the weights, which is what acts.
        grad_clip: largest gradient norm.
        validation_fraction: share of the episodes held out.
        validation_windows: most held-out steps at which chunks are compared.
        validate_every: steps between validations, which choose `best`.
        checkpoint_every: steps between checkpoints.
        log_every: steps between lines in metrics.jsonl.
        seed: of weights, split, batches and noise.
        precision: float32, bfloat16 (autocast), or auto: bfloat16 where the hardware computes in it.
        compile: run the network through torch.compile.
        device: cpu, cuda, or auto (a GPU where there is one).
        threads: torch's threads on the CPU; 0 leaves the choice to torch.
        out: run folder; a new one below runs/ where null.
        state_noise: JUICER's noise on the poses that the policy sees: {position_m: 0.01, rotation_rad: 0.1,
            share: 0.2} moves a fifth of the samples; what is left out is as here, {} moves none.
        image_augment: changes of the images that the policy trains on: {crop: 1, colour_jitter: 0, blur: 0,
            camera_dropout: 0}, where what is left out is as here. crop is the share of the room around the
            middle that its windows move into, colour_jitter a share, blur the largest deviation [px],
            camera_dropout the share of samples in which a camera is black.
        vision_weights: file of pretrained weights that the image encoder starts from, with the names of
            torchvision's resnet18; .safetensors or saved by torch.
        resume: run folder to continue from its latest checkpoint.
        wandb: mirror the metrics to Weights & Biases (off, offline or online).
    """

    task: Any = None
    data: Any = field(default=MISSING, metadata={"paths": True})
    data_weights: list[float] | None = None
    source_weights: dict[str, Any] = field(default_factory=dict)
    images: str = "auto"
    memory_gb: float | None = None
    cache_dir: str | None = None
    policy: Any = MISSING
    steps: int = 2000
    batch_size: int = 256
    lr: float = 2e-3
    weight_decay: float = 1e-6
    warmup_steps: int = 100
    ema_decay: float = 0.995
    grad_clip: float = 1.0
    validation_fraction: float = 0.1
    validation_windows: int = 256
    validate_every: int = 250
    checkpoint_every: int = 1000
    log_every: int = 50
    seed: int = 0
    precision: str = "auto"
    compile: bool = False
    device: str = "auto"
    threads: int = 0
    out: str | None = None
    state_noise: dict[str, Any] = field(default_factory=dict)
    image_augment: dict[str, Any] = field(default_factory=dict)
    vision_weights: str | None = None
    resume: str | None = None
    wandb: str = "off"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps", "batch_size", "validation_windows")
        check_at_least(self, 1, "validate_every", "checkpoint_every", "log_every")
        check_at_least(self, 0, "warmup_steps", "threads", "weight_decay")
        check_threads(self.threads)
        check_positive(self, "lr", "grad_clip")
        check_seeds(self, "seed")
        check_validation_fraction(self.validation_fraction)
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay={self.ema_decay}: must be at least 0 and below 1")
        if self.data != MISSING:
            data_folders(self.data)
        make_mix(self)
        make_reading(self)
        if self.precision not in ("auto", *PRECISIONS):
            raise UserError(f"precision={self.precision}: choose one of auto, {', '.join(PRECISIONS)}")
        if self.state_noise:
            make_noise(self.state_noise)
        make_image_augment(self.image_augment)


def make_noise(values: Mapping[str, Any]) -> StateNoise:
    """Return the noise that a config's values describe.

    Raises:
        UserError: an unknown key or a bad value.
    """
    return StateNoise(**_numbers(values, StateNoise, "state_noise"))


def make_image_augment(values: Mapping[str, Any]) -> ImageAugment:
    """Return the changes of images that a config's values describe.

    Raises:
        UserError: an unknown key or a bad value.
    """
    return ImageAugment(**_numbers(values, ImageAugment, "image_augment"))


def _numbers(values: Mapping[str, Any], kind: Any, name: str) -> dict[str, float]:
    """Return the values of the config's key `name` as numbers, if all are fields of `kind`."""
    valid = [each.name for each in fields(kind)]
    for key, value in values.items():
        if key not in valid:
            raise UserError(f"{name} has no key '{key}'; valid: {', '.join(valid)}")
        if not isinstance(value, int | float):
            raise UserError(f"{name}.{key}={value}: needs a number")
    return {str(key): float(value) for key, value in values.items()}


def data_folders(data: Any) -> list[str]:
    """Return the folders that `data` names.

    Raises:
        UserError: it is no text and no list of texts, is empty, or names a folder twice.
    """
    folders = [data] if isinstance(data, str) else list(data) if isinstance(data, Sequence) else []
    if not folders or not all(isinstance(folder, str) and folder for folder in folders):
        raise UserError(f"data={data}: needs the folder of a dataset, or a list of them: [a,b]")
    places = [os.path.realpath(folder) for folder in folders]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UserError(f"data={data}: {folders[number]} is given twice; data_weights weigh datasets")
    return folders


def make_mix(cfg: Any) -> Mix:
    """Return what `data_weights` and `source_weights` say."""
    weights = None if cfg.data_weights is None else list(cfg.data_weights)
    return Mix(weights, dict(cfg.source_weights or {}))


def make_reading(cfg: Any) -> ImageReading:
    """Return what `images`, `memory_gb` and `cache_dir` say."""
    if cfg.memory_gb is not None:
        check_at_least(cfg, 0, "memory_gb")
    return ImageReading(
        mode=cfg.images,
        memory_bytes=int(
            MEMORY_SHARE * machine_memory_bytes()
            if cfg.memory_gb is None
            else min(cfg.memory_gb, MOST_GB) * 1e9
        ),
        cache_folder=Path(cfg.cache_dir).expanduser() if cfg.cache_dir else default_cache_folder(),
        threads=max(1, os.cpu_count() or 1),
    )
