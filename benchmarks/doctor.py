"""How surely `robofb data doctor` finds faults planted in scripted demonstrations, and its false alarms.

python benchmarks/doctor.py [--trials 400] [--episodes 100] [--image-episodes 40] [--clean-episodes 1000]

Clean one_leg_insert demonstrations are collected, with and without cameras. For each fault, copies of the
dataset get it in a few random episodes at a random place and of a random size (ranges: the planters'
docstrings). A fault counts as found where a finding of its name stands at its episode and within
its tolerance of its first frame. `false_alarms` counts clean episodes with any finding.
`--faults NAME ...` measures those again and keeps the saved figures of the others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from planted_faults import FAULTS as LOW_DIM_FAULTS
from planted_faults import Fault, Rng
from planted_image_faults import IMAGE_FAULTS
from results import FOLDER, save_result

from robofb.cli import run
from robofb.stats import wilson_interval
from robofb.store.doctor.examine import examine
from robofb.store.doctor.finding import Finding
from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE, EpisodeEntry, dump_index
from robofb.store.layout import ENDS, array_specs
from robofb.types import EnvSpec, Episode

FAULTS = {**LOW_DIM_FAULTS, **IMAGE_FAULTS}


def write_dataset(folder: Path, spec: EnvSpec, episodes: list[Episode]) -> None:
    """Write episodes as they are, without the checks of `EpisodeStore.append`, as a foreign tool would."""
    EpisodeStore.create(folder, spec).close()
    arrays = {}
    for key in spec.obs:
        arrays[f"data/{key}"] = np.concatenate([episode.obs[key][:-1] for episode in episodes])
        arrays[f"final/{key}"] = np.stack([episode.obs[key][-1] for episode in episodes])
    for key in ("action", "reward", "source"):
        arrays[f"data/{key}"] = np.concatenate([getattr(episode, key) for episode in episodes])
    arrays["data/timestamp"] = np.concatenate([episode.timestamps[:-1] for episode in episodes])
    arrays["final/timestamp"] = np.array([episode.timestamps[-1] for episode in episodes])
    arrays[ENDS] = np.cumsum([len(episode) for episode in episodes])
    group = zarr.open_group(folder, mode="r+")
    for name in array_specs(spec):
        array: Any = group[name]
        array.resize(arrays[name].shape)
        array[:] = arrays[name]
    entries = [
        EpisodeEntry(int(end), episode.success, episode.terminated, {})
        for end, episode in zip(arrays[ENDS], episodes, strict=True)
    ]
    (folder / INDEX_FILE).write_bytes(dump_index([entry.to_json() for entry in entries]))


def collect(folder: Path, episodes: int, *settings: str) -> tuple[EnvSpec, list[Episode]]:
    """Record scripted demonstrations with the command line and return them."""
    words = ["collect", "task=one_leg_insert", f"episodes={episodes}", f"out={folder}", *settings]
    if run(words) != 0:
        raise SystemExit("collect failed")
    with EpisodeStore.open(folder) as store:
        return store.spec, list(store)


def found(findings: list[Finding], fault: Fault, episodes: set[int], frame: int | None) -> bool:
    """Return whether a finding names the fault at one of the episodes and the frame."""
    return any(
        finding.fault == fault.name
        and finding.episode in episodes
        and (
            frame is None
            or (finding.frames is not None and abs(finding.frames[0] - frame) <= fault.tolerance)
        )
        for finding in findings
    )


def measure(
    fault: Fault, spec: EnvSpec, clean: list[Episode], trials: int, per_dataset: int, rng: Rng, folder: Path
) -> tuple[int, int]:
    """Return how many planted faults were found, and how many were planted."""
    hits = planted = 0
    while planted < trials:
        episodes = list(clean)
        places: list[tuple[set[int], int | None]] = []
        for number in rng.choice(len(clean), per_dataset, replace=False).tolist():
            faulty, frame = fault.plant(clean[number], rng, spec)
            if fault.beside:
                places.append(({len(episodes)}, frame))
                episodes.append(faulty)
            else:
                places.append(({number}, frame))
                episodes[number] = faulty
        write_dataset(folder, spec, episodes)
        findings = examine(folder).findings
        shutil.rmtree(folder)
        hits += sum(found(findings, fault, where, frame) for where, frame in places)
        planted += len(places)
    return hits, planted


def share(count: int, total: int) -> dict[str, Any]:
    """Return a share with its Wilson 95 % interval, JSON-ready."""
    low, high = wilson_interval(count, total)
    return {"count": count, "of": total, "share": count / total, "low": low, "high": high}


def false_alarms(folder: Path) -> dict[str, Any]:
    """Return the share of a clean dataset's episodes that have any finding, and which."""
    diagnosis = examine(folder)
    total = len(diagnosis.lengths)
    faults = [f"{finding.fault} in episode {finding.episode}" for finding in diagnosis.findings]
    return {**share(total - diagnosis.sound_episodes, total), "findings": faults}


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--image-episodes", type=int, default=40)
    parser.add_argument("--clean-episodes", type=int, default=1000)
    parser.add_argument("--per-dataset", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        cameras = ("cameras=[front,wrist]", "image_size=[60,80]", "num_envs=4")
        plain = collect(root / "plain", args.episodes, "seed=1")
        seen = collect(root / "seen", args.image_episodes, "seed=2", *cameras)
        collect(root / "clean", args.clean_episodes, "seed=3")
        collect(root / "perfect", args.clean_episodes // 10, "seed=4", "noise=0")
        alarms = {name: false_alarms(root / name) for name in ("clean", "perfect", "seen")}
        print("false alarms", json.dumps(alarms), flush=True)
        recall = {}
        for name in args.faults:
            fault = FAULTS[name]
            spec, clean = seen if fault.images else plain
            number = min(args.per_dataset, len(clean) // 4)
            hits, planted = measure(fault, spec, clean, args.trials, number, rng, root / "faulty")
            recall[name] = share(hits, planted)
            print(name, json.dumps(recall[name]), flush=True)
    saved = FOLDER / "doctor.json"
    if set(args.faults) != set(FAULTS) and saved.exists():
        recall = {**json.loads(saved.read_text())["found"], **recall}
    save_result(
        "doctor",
        {
            "least_found": min(result["share"] for result in recall.values()),
            "most_false_alarms": max(result["share"] for result in alarms.values()),
            "found": recall,
            "false_alarms": alarms,
            "arguments": vars(args),
        },
    )


if __name__ == "__main__":
    main()
