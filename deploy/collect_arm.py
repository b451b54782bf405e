"""Record what a person does with an arm, in real time: the live session of a deployment, without a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robofb.build import build, build_whole
from robofb.deploy.collect import check_image_size, tell
from robofb.deploy.live.arm_process import ArmSetup, Place
from robofb.deploy.live.bench import CONTROL_HZ, SEEN, arm_spec, image_specs, set_points_in
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.deployment import plain, run_session
from robofb.deploy.live.device_processes import CameraSetup, TeleopSetup
from robofb.deploy.live.places import RealPlace, SimPlace
from robofb.deploy.live.recorder_process import RecordSetup
from robofb.deploy.live.session import Parts
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import UserError, check_at_least, check_between, check_positive, check_seeds
from robofb.rng import derive_seeds
from robofb.sim.record import Collected
from robofb.store.continuation import open_or_create, remove_empty, same_settings
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_HUMAN, EnvSpec

RATES = (0.1, 100.0)  # actions a second that a person can drive by
HELP = (
    "start: the arm goes home; there hold the dead-man switch and drive. success keeps the episode, discard "
    "throws it away, quit ends. This program stops nothing safely: keep the arm's emergency stop at hand"
)


@dataclass
class CollectArmConfig:
    """What `robofb collect arm=...` reads.

    Attributes:
        arm: what a person drives, with its limits.
        limits: where the tool may be and how fast it may move; see `deploy/limits.py`.
        watch: when something is wrong with the arm; see `deploy/watch.py`.
        cameras: by name, each recorded as `image_<name>`; see configs/camera.
        image_size: height and width of the recorded images [px].
        teleop: device by which a person drives, such as teleop=gamepad.
        out: dataset folder, data/<name> by default; an existing one of the same arm and spec is continued.
        name: of what is demonstrated; null: real, or a simulated arm's task.
        rate: actions a second; null: 10, or the control rate of a simulated arm's task.
        control_hz: set-points a second of a real arm: a whole number of them in an action.
        episodes: successful episodes that the dataset shall hold in the end.
        failures: also keep what a person, the task or the time called a failure.
        max_steps: actions after which an attempt has failed.
        abort_s: an attempt is aborted where a camera shows nothing new for longer.
        task: of a simulated arm.
        engine: its simulator.
        simulated: the arm is a task in a simulator.
        realtime: as for `robofb deploy`; a person's time is real, and nothing hangs on it here.
        seed: of the start states of a simulated arm.
    """

    arm: Any = field(default_factory=dict)
    limits: Any = field(default_factory=dict)
    watch: Any = field(default_factory=dict)
    cameras: Any = field(default_factory=dict)
    image_size: list[int] = field(default_factory=lambda: [240, 320])
    teleop: Any = None
    out: str | None = None
    name: str | None = None
    rate: float | None = None
    control_hz: float = 100.0
    episodes: int = 50
    failures: bool = False
    max_steps: int = 3000
    abort_s: float = 1.0
    task: Any = None
    engine: Any = field(default_factory=dict)
    simulated: bool = False
    realtime: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "episodes", "max_steps")
        check_positive(self, "abort_s")
        check_between(self, *CONTROL_HZ, "control_hz")
        if self.rate is not None:
            check_between(self, *RATES, "rate")
        check_seeds(self, "seed")
        check_image_size(self.image_size)
        _check_cameras(self.cameras)


def _check_cameras(cameras: Any) -> None:
    """Refuse what names no camera, such as the list of names that a simulated collection takes."""
    if not isinstance(cameras, Mapping):
        raise UserError(f"cameras={cameras}: on an arm say camera=..., such as camera=opencv")
    for name, node in cameras.items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise UserError(f"cameras.{name}={node}: no camera; ~cameras.{name} leaves one out")


def collect_on_arm(cfg: CollectArmConfig) -> Collected:
    """Record until the dataset holds `cfg.episodes` successes, or the person quits.

    Ctrl-C keeps every finished episode; the same command goes on from there.

    Raises:
        UserError: settings that do not go together, a dataset of another arm or spec, or an arm or device
            that cannot be had.
    """
    _check(cfg)
    spec = spec_of(cfg)
    if not cfg.simulated:
        set_points_in(spec.control_dt, 1.0 / cfg.control_hz)
    path = Path(cfg.out or f"data/{spec.task}")
    is_new = not path.exists()
    try:
        outcome = _collected(cfg, spec, path)
    finally:
        if is_new and path.exists():
            remove_empty(path)
    tell(outcome)
    return outcome


def _collected(cfg: CollectArmConfig, spec: EnvSpec, path: Path) -> Collected:
    """Record into a dataset, which is made where there is none; return what came of it."""
    settings = settings_of(cfg)
    with open_or_create(path, spec, settings, same_settings(path, "holds", settings)) as store:
        before, wanted = len(store), cfg.episodes - sum(store.successes)
    attempts = 0
    if wanted > 0:
        print(HELP, flush=True)
        seed = int(derive_seeds(cfg.seed, before))  # a continued dataset gets new start states
        conductor = Conductor(
            wanted, seed, attended=True, max_steps=cfg.max_steps, abort_s=cfg.abort_s, driven=True
        )
        run_session(parts_of(cfg, spec, path), conductor)
        attempts = conductor.number
    with EpisodeStore.open(path) as store:
        kept = len(store) - before
        return Collected(str(path), kept, attempts - kept, len(store))


def _check(cfg: CollectArmConfig) -> None:
    """Refuse settings that do not go together."""
    if not cfg.teleop or "_target_" not in cfg.teleop:
        raise UserError("teleop=null: a person must drive the arm; say by what, such as teleop=gamepad")
    if cfg.simulated and not cfg.task:
        raise UserError("task=null: a simulated arm needs a task, such as task=one_leg_insert")
    if cfg.task and not cfg.simulated:
        raise UserError("task: a real arm has none; say what is demonstrated by name=")
    for key in ("name", "rate"):
        if cfg.simulated and getattr(cfg, key) is not None:
            raise UserError(f"{key}={getattr(cfg, key)}: a simulated arm takes its task's; leave it out")


def spec_of(cfg: CollectArmConfig) -> EnvSpec:
    """Return what is recorded: what the arm, or its task, says, what cameras show, and poses of the tool.

    Raises:
        UserError: the task's arm is not driven by poses of its tool.
    """
    height, width = cfg.image_size
    sizes = {str(name): (height, width) for name in cfg.cameras}
    if not cfg.simulated:
        limits, control_dt = build_whole("limits", cfg.limits), 1.0 / (cfg.rate or 10.0)
        return arm_spec(cfg.name or "real", limits, sizes, control_dt, cfg.max_steps)
    spec: EnvSpec = build(cfg.task).spec
    if spec.action.names != ACTION_NAMES or "state" not in spec.obs:
        raise UserError(f"task {spec.task} cannot be driven by hand: its action is no pose of a tool")
    return spec.with_obs({"state": spec.obs["state"], **image_specs(sizes)})


def settings_of(cfg: CollectArmConfig) -> dict[str, Any]:
    """Return what must be the same in all episodes of a dataset."""
    task: Mapping[str, Any] = getattr(build(cfg.task), "meta", {}) if cfg.simulated else {}
    limits = build_whole("limits", cfg.limits)
    box = {"low_m": list(limits.low_m), "high_m": list(limits.high_m)}  # of which the action's bounds speak
    return {**task, "arm": _kind(cfg.arm), **box}


def parts_of(cfg: CollectArmConfig, spec: EnvSpec, path: Path) -> Parts:
    """Return the processes' setups."""
    cameras = {name: CameraSetup(name, plain(node), *cfg.image_size) for name, node in cfg.cameras.items()}
    seen_by = {name: setup.facts() for name, setup in cameras.items()}
    place: Place
    if cfg.simulated:
        place = SimPlace(plain(cfg.arm), plain(cfg.task), plain(cfg.engine))
    else:
        place = RealPlace(plain(cfg.arm), cfg.control_hz, SEEN)
        place.check()
    return Parts(
        ArmSetup(place, build_whole("limits", cfg.limits), build_whole("watch", cfg.watch), spec.control_dt),
        None,
        spec.obs["state"].shape[0],
        cameras,
        TeleopSetup(plain(cfg.teleop)),
        RecordSetup(
            path,
            spec,
            settings_of(cfg),
            {"teleop": _kind(cfg.teleop), "seed": cfg.seed, "cameras": seen_by},
            ("success", "failure") if cfg.failures else ("success",),
            SOURCE_HUMAN,
        ),
    )


def _kind(node: Any) -> str:
    """Return the kind of a device: its module's name."""
    return str(node["_target_"]).split(".")[-2]
