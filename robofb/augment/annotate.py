"""Write the bottlenecks that a rule finds into a dataset."""

from __future__ import annotations

from pathlib import Path

from robofb.augment.bottlenecks import find_bottlenecks, with_rule_marks
from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.sim.recorded import RecordedScene
from robofb.store.bottlenecks import Bottleneck, bottlenecks_meta, load_bottlenecks
from robofb.store.episodes import EpisodeStore
from robofb.store.lock import LOCK_FILE
from robofb.store.new_output import NewOutput, check_new, copy_dataset


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


def write_marked_copy(path: Path, out: Path, marks: dict[int, tuple[Bottleneck, ...]]) -> None:
    """Make the dataset `out`: a copy of `path` with other marks; it appears when it is whole.

    Raises:
        UserError: `out` exists, lies in the dataset or cannot be written; nothing is left then.
    """
    if out.exists():
        raise UserError(f"{out} exists: --out needs a new folder")
    check_new(path, out)
    with NewOutput(out, f"cannot copy {path}") as output:
        copy_dataset(path, output.target)
        write_marks(output.target, marks)
        (output.target / LOCK_FILE).unlink(missing_ok=True)
        output.publish()
