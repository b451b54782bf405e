"""Read what can be read of a dataset, and say what cannot."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from robofb.errors import DamagedError, UserError
from robofb.store.atomic import explain
from robofb.store.doctor.finding import ERROR, WARNING, Finding, runs
from robofb.store.doctor.recorded import Recorded
from robofb.store.flat_array import FlatArray
from robofb.store.index import INDEX_FILE, EpisodeEntry, load_index
from robofb.store.layout import ENDS, array_specs, check_dataset, check_finished, load_attributes, stored_spec
from robofb.types import EnvSpec

DAMAGED, ROWS_MISSING, ENDS_DIFFER = "damaged_file", "rows_missing", "ends_differ"
EMPTY, UNFINISHED = "no_episodes", "unfinished"


class DatasetReader:
    """Read episodes one at a time; whatever is damaged becomes a finding and hides nothing else.

    Args:
        root: dataset folder.

    Attributes:
        spec: the dataset's, None where it or the index is damaged; then there are no episodes.
        findings: damage that concerns no single episode.

    Raises:
        UserError: the folder is no robofb dataset, or of another schema version.
    """

    def __init__(self, root: Path) -> None:
        self.findings: list[Finding] = []
        self.spec: EnvSpec | None = None
        self._entries: list[EpisodeEntry] = []
        self._arrays: dict[str, FlatArray] = {}
        self._rows_on_disk = 0
        try:
            check_dataset(root)
            attributes = load_attributes(root)
            spec = stored_spec(root, attributes)
            self._entries = load_index(root)
        except DamagedError as error:
            self._add(DAMAGED, ERROR, "", str(error))
            return
        except OSError as error:
            raise UserError(explain(error, f"{root}: cannot open dataset to read")) from None
        self.spec = spec
        try:
            check_finished(root, attributes, len(self._entries))
        except UserError as error:
            fault = DAMAGED if isinstance(error, DamagedError) else UNFINISHED
            self._add(fault, ERROR, "", str(error))
        if not self._entries:
            self._add(EMPTY, ERROR, "", "it holds no episodes")
        self._open_arrays(root, spec)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lengths(self) -> list[int]:
        """Actions in each episode, as the index says."""
        ends = [0, *(entry.end for entry in self._entries)]
        return [end - start for start, end in pairwise(ends)]

    def read(self, number: int) -> tuple[Recorded, list[Finding]]:
        """Return one episode as far as it can be read, and what is damaged of it."""
        assert self.spec is not None
        entry = self._entries[number]
        start = self._entries[number - 1].end if number else 0
        findings: list[Finding] = []
        arrays: dict[str, np.ndarray] = {}
        length = entry.end - start
        recorded = Recorded(number, self.spec, length, entry.success, entry.terminated, arrays, entry.meta)
        if self._arrays and length > self._rows_on_disk:
            text = f"{INDEX_FILE} gives it {length} steps, all files together hold {self._rows_on_disk}"
            return recorded, [Finding(ROWS_MISSING, ERROR, number, None, "", text)]
        for key in (*self.spec.obs, "timestamp", "action", "reward", "source"):
            parts = [self._rows(f"data/{key}", start, entry.end, number, 0, findings)]
            if f"final/{key}" in array_specs(self.spec):
                last = entry.end - start
                parts.append(self._rows(f"final/{key}", number, number + 1, number, last, findings))
            readable = [part for part in parts if part is not None]
            if len(readable) == len(parts):
                arrays[key] = np.concatenate(readable)
        return recorded, findings

    def _open_arrays(self, root: Path, spec: EnvSpec) -> None:
        for name, expected in array_specs(spec).items():
            try:
                self._arrays[name] = FlatArray(root / name, expected)
            except DamagedError as error:
                self._add(DAMAGED, ERROR, name, str(error))
        steps = [array.rows_on_disk() for name, array in self._arrays.items() if name.startswith("data/")]
        self._rows_on_disk = max(steps, default=0)
        self._check_ends()

    def _check_ends(self) -> None:
        """Compare the copy of the ends that other tools read with the index."""
        if ENDS not in self._arrays:
            return
        array = self._arrays[ENDS]
        wanted = [entry.end for entry in self._entries]
        try:
            found = array.read(0, min(len(array), len(wanted))).tolist()
        except UserError as error:
            self._add(DAMAGED, WARNING, ENDS, f"{error}; tools that read zarr need it")
            return
        # A crash between two renames leaves the copy one short, which the next append mends.
        if found != wanted and found != wanted[:-1]:
            text = f"it lists {len(array)} ends that differ from the {len(wanted)} of the index"
            self._add(ENDS_DIFFER, WARNING, ENDS, text)

    def _rows(
        self, name: str, start: int, stop: int, number: int, first_frame: int, findings: list[Finding]
    ) -> np.ndarray | None:
        """Return rows start..stop, or None after noting which frames cannot be read."""
        array = self._arrays.get(name)
        if array is None:
            return None
        key = name.partition("/")[2]
        if stop > len(array):
            frames = (first_frame + max(0, len(array) - start), first_frame + stop - start - 1)
            text = f"{name} ends at row {len(array)}, the index needs {stop}"
            findings.append(Finding(ROWS_MISSING, ERROR, number, frames, key, text))
            return None
        try:
            return array.read(start, stop)
        except UserError as error:
            bad = [not _readable(array, row) for row in range(start, stop)]
            for first, last in runs(bad):
                frames = (first_frame + first, first_frame + last)
                findings.append(Finding(DAMAGED, ERROR, number, frames, key, str(error)))
            return None

    def _add(self, fault: str, severity: str, key: str, text: str) -> None:
        self.findings.append(Finding(fault, severity, None, None, key, text))


def _readable(array: FlatArray, row: int) -> bool:
    try:
        array.read(row, row + 1)
    except UserError:
        return False
    return True
