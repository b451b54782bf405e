"""Random windows of images that do not fit into memory: draw runs of frames, then windows therein."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.store.flat_array import IMAGE_CHUNK_ROWS
from robofb.store.frames import StoredFrames, wait_all
from robofb.store.gather import gather_rows
from robofb.store.mix import Draws

MIN_SLOTS = 16  # of fewer blocks, one batch would show too little of the data
HISTORY_BLOCK_CHUNKS = 4  # with a history, a block costs one chunk more to read: share that among four


class FramePool:
    """Hold the decoded images of P randomly drawn blocks and sample windows from those.

    A block is a run of chunks; it enters the pool with the chance of all its windows together and stays
    for P times as many draws as a block has windows on average, so one frame is decoded for each draw.
    A draw takes a block of the pool, all alike, then a window therein by its chance: over the training every
    window has exactly the chance that it has without a pool. The price lies within a batch: two of its
    windows are of the same block with a probability of about 1 / P, not 1 / (number of blocks).

    The next blocks are drawn right after each batch and decoded by threads while the caller trains. Which
    they are depends on the generator alone, never on how fast the threads are.

    Args:
        frames: where the images come from.
        rows: (N,) int64, ascending, row in `frames` of each window's last observation.
        obs_history: To.
        draws: the chances of the windows.
        memory_bytes: what the pool may take.

    Raises:
        UserError: `memory_bytes` holds fewer than `MIN_SLOTS` blocks.
    """

    def __init__(
        self, frames: StoredFrames, rows: Tensor, obs_history: int, draws: Draws, memory_bytes: int
    ) -> None:
        self._frames, self._rows, self._draws = frames, rows, draws
        self._past = obs_history - 1
        self._block_rows = IMAGE_CHUNK_ROWS * (HISTORY_BLOCK_CHUNKS if self._past else 1)
        self._block, self._first, self._stop = self._divide()
        self.draws_per_block = max(1, len(rows) // len(self._first))
        self.slot_rows = self._block_rows + self._past
        slot_bytes = sum(self.slot_rows * int(np.prod(frames.row_shape(key))) for key in frames.keys)
        self.num_slots = memory_bytes // slot_bytes
        if self.num_slots < MIN_SLOTS:
            raise UserError(
                f"{memory_bytes / 1e9:.3g} GB for images hold {self.num_slots} blocks of {self._block_rows} "
                f"frames; needs at least {MIN_SLOTS}: {MIN_SLOTS * slot_bytes / 1e9:.3g} GB"
            )
        self.num_slots = min(self.num_slots, len(self._first))
        self._buffers: dict[str, np.ndarray] = {}
        self._blocks = torch.empty(0, dtype=torch.int64)  # (P,) the block in each slot, once drawn
        self._drawn = 0
        self._jobs: list[Future[None]] = []

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw windows out of the pool; return their numbers and their slots, (count,) int64 each."""
        if not len(self._blocks):
            self._load(torch.arange(self.num_slots), self._draw_blocks(self.num_slots, generator))
        wait_all(self._jobs)
        slot = torch.randint(len(self._blocks), (count,), generator=generator, device=generator.device).cpu()
        block = self._blocks[slot]
        return self._draws.draw_within(self._first[block], self._stop[block], generator).cpu(), slot

    def renew(self, count: int, generator: torch.Generator) -> None:
        """Begin to replace the blocks that have served, after `count` draws whose images were gathered."""
        before, self._drawn = self._drawn, self._drawn + count
        number = torch.arange(before // self.draws_per_block, self._drawn // self.draws_per_block)
        number = number[-len(self._blocks) :]
        if len(number):
            self._load(number % len(self._blocks), self._draw_blocks(len(number), generator))

    def gather(self, key: str, rows: Tensor, slot: Tensor) -> Tensor:
        """Return the images (B, To, C, H, W) of `rows` (B, To), which lie in the slots `slot` (B,)."""
        inside = rows - self._first_row(self._blocks[slot])[:, None]  # (B, To)
        place = slot[:, None] * self.slot_rows + inside
        buffer = torch.from_numpy(self._buffers[key]).flatten(0, 1)
        return gather_rows(buffer, place)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next draws depend on: which blocks are held, not their images."""
        return {"blocks": self._blocks.clone(), "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned and decode its blocks again.

        Raises:
            UserError: it holds more blocks than the memory allowed here does.
        """
        blocks = state["blocks"]
        if len(blocks) > self.num_slots:
            raise UserError(
                f"the run draws from {len(blocks)} blocks of images, the memory allowed now holds "
                f"{self.num_slots}: raise memory_gb"
            )
        wait_all(self._jobs)
        self._drawn, self._blocks = state["drawn"], blocks[:0].clone()
        if len(blocks):
            self.num_slots = len(blocks)
            self._buffers = {}
            self._load(torch.arange(len(blocks)), blocks)

    def _divide(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the block of each window (N,), and first and last window plus one of each block."""
        datasets = torch.from_numpy(self._frames.first_row)
        dataset = torch.searchsorted(datasets, self._rows, right=True) - 1
        number = (self._rows - datasets[dataset]) // self._block_rows
        key = torch.stack([dataset, number])
        begins = torch.ones(len(self._rows), dtype=torch.bool)
        begins[1:] = (key[:, 1:] != key[:, :-1]).any(0)
        first = torch.nonzero(begins).flatten()
        return begins.cumsum(0) - 1, first, torch.cat([first[1:], torch.tensor([len(self._rows)])])

    def _first_row(self, block: Tensor) -> Tensor:
        """Return the row of the first image held of each block, never before its dataset's first."""
        datasets = torch.from_numpy(self._frames.first_row)
        row = self._rows[self._first[block]]
        return torch.maximum(row - self._past, datasets[torch.searchsorted(datasets, row, right=True) - 1])

    def _draw_blocks(self, count: int, generator: torch.Generator) -> Tensor:
        return self._block[self._draws.draw(count, generator).cpu()]

    def _load(self, slots: Tensor, blocks: Tensor) -> None:
        """Begin to decode `blocks` into `slots`."""
        if not self._buffers:
            self._blocks = torch.zeros(self.num_slots, dtype=torch.int64)
            self._buffers = {
                key: np.empty((self.num_slots, self.slot_rows, *self._frames.row_shape(key)), np.uint8)
                for key in self._frames.keys
            }
        self._blocks[slots] = blocks
        starts, ends = self._first_row(blocks), self._rows[self._stop[blocks] - 1] + 1
        self._jobs = [
            job
            for slot, start, count in zip(
                slots.tolist(), starts.tolist(), (ends - starts).tolist(), strict=True
            )
            for key in self._frames.keys
            for job in self._frames.start_reading(key, start, self._buffers[key][slot, :count])
        ]
