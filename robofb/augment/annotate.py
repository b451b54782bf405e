"""Write the bottlenecks that a rule finds into a dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

from robofb.augment.bottlenecks import find_bottlenecks, with_rule_marks
from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.sim.recorded import RecordedScene
from robofb.store.atomic import STAGING, explain, sync_tree
from robofb.store.bottlenecks import Bottleneck, bottlenecks_meta, load_bottlenecks
from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE
from robofb.store.lock import LOCK_FILE


def proposed_marks(
    store: EpisodeStore, rule: str, scene: RecordedScene | None
) -> dict[int, tuple[Bottleneck, ...]]:
    """Return what the marks of every episode would be: a rule's, and those that a person set.

    Raises:
        UserError: the rule does not exist or does not apply, or an episode is damaged.
    """
    marks = {}
    with progress_bar(len(store), "looking for bottlenecks", "episode", delay_s=2.0) as bar:
        for number, episode in enumerate(store):
            try:
                present = load_bottlenecks(episode.meta, len(episode))
                found = find_bottlenecks(episode, store.spec, rule, scene)
            except UserError as error:
                raise UserError(f"{store.path}: episode {number}: {error}") from None
            marks[number] = with_rule_marks(present, found)
            bar.update()
    return marks


def write_marks(path: Path, marks: dict[int, tuple[Bottleneck, ...]]) -> None:
    """Put marks in place of those that some episodes of a dataset have, all in one step.

    Raises:
        UserError: another process writes the dataset, or the disk is full. Nothing is changed then.
    """
    with EpisodeStore.open(path, "a") as store:
        store.update({number: {"meta": bottlenecks_meta(found)} for number, found in marks.items()})


def copy_dataset(path: Path, out: Path) -> Path:
    """Copy a dataset to a folder beside `out`, for `os.replace` once it is as it should be.

    It holds the episodes committed at the start, even while another process appends.

    Raises:
        UserError: `out` exists, or cannot be written; nothing is left then.
    """
    if out.exists():
        raise UserError(f"{out} exists: --out needs a new folder")
    copy = out.with_name(f".{out.name}.unfinished")
    try:
        shutil.rmtree(copy, ignore_errors=True)  # of a run that was killed
        copy.mkdir(parents=True)
        shutil.copyfile(path / INDEX_FILE, copy / INDEX_FILE)  # first: rows may only be added after it
        left_out = shutil.ignore_patterns(INDEX_FILE, LOCK_FILE, STAGING, "*.tmp")
        shutil.copytree(path, copy, ignore=left_out, dirs_exist_ok=True)
    except (OSError, KeyboardInterrupt) as error:
        shutil.rmtree(copy, ignore_errors=True)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UserError(explain(_first_cause(error), f"{out}: cannot copy {path}")) from None
    return copy


def _first_cause(error: OSError) -> OSError:
    """Return the error of the first file behind a `shutil.Error`."""
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        return OSError(None, str(error.args[0][0][2]))
    return error


def write_marked_copy(path: Path, out: Path, marks: dict[int, tuple[Bottleneck, ...]]) -> None:
    """Make the dataset `out`: a copy of `path` with other marks; it appears when it is whole.

    Raises:
        UserError: `out` exists, or cannot be written; nothing is left then.
    """
    copy = copy_dataset(path, out)
    try:
        write_marks(copy, marks)
        (copy / LOCK_FILE).unlink(missing_ok=True)
        sync_tree(copy)
        copy.rename(out)
    except OSError as error:
        raise UserError(explain(error, f"{out}: cannot write")) from None
    finally:
        shutil.rmtree(copy, ignore_errors=True)
