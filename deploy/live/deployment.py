"""From what `robofb deploy` reads to processes, and from what became of them to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robofb.build import build_whole
from robofb.deploy.listening import check_host
from robofb.deploy.live.arm_process import ArmSetup, Place
from robofb.deploy.live.bench import check_names, set_points_in
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.device_processes import CameraSetup, TeleopSetup
from robofb.deploy.live.draft import recorded_spec
from robofb.deploy.live.operators import Console, Nobody, Post, Several, has_terminal
from robofb.deploy.live.page import Page
from robofb.deploy.live.places import RealPlace, SimPlace
from robofb.deploy.live.policy_process import PolicySetup, PolicySource, RunPolicy
from robofb.deploy.live.recorder_process import RecordSetup
from robofb.deploy.live.records import MODES
from robofb.deploy.live.remote_policy import RemotePolicy, check_remote
from robofb.deploy.live.session import LiveSession, Outcome, Parts
from robofb.deploy.policy_wire import address_of, warn_of_readers
from robofb.errors import UserError
from robofb.loading import cameras_of
from robofb.run import Run
from robofb.types import EnvSpec

Figures = tuple[list[bool], list[int], list[str], Mapping[str, int]]


def run_live(cfg: Any, run: Path, spec: EnvSpec) -> Figures:
    """Deploy in real time; return success and steps of each episode, why some were given up, and counts.

    Args:
        cfg: `run_policy.DeployConfig`.
        run: folder of the policy.
        spec: that it was made for.

    Raises:
        UserError: a part does not fit the policy or cannot begin.
    """
    attended = not cfg.simulated if cfg.attended is None else cfg.attended
    if attended and not (has_terminal() or cfg.page or cfg.teleop):
        raise UserError(
            "an attended session (a real arm's is, unless attended=false says otherwise) needs a terminal, "
            "teleop=... or page=true; with attended=false nobody can stop it"
        )
    parts = parts_of(cfg, run, spec)
    if parts.recorder is not None:
        parts.recorder.check()
    conductor = Conductor(
        cfg.episodes,
        cfg.seed,
        attended=attended,
        max_steps=cfg.max_steps or spec.max_steps,
        abort_s=cfg.abort_s,
    )
    pages = [Page(cfg.page_host, cfg.page_port)] if cfg.page else []
    return _figures(run_session(parts, conductor, pages))


def check_contacts(cfg: Any) -> None:
    """Refuse hosts, tokens and certificates that cannot work; asks nobody, and loads nothing.

    Args:
        cfg: `run_policy.DeployConfig`.

    Raises:
        UserError: names the key and what it needs.
    """
    if cfg.page:
        check_host("page_host", cfg.page_host)
    if cfg.policy_server is not None:
        check_remote(cfg.policy_server, cfg.policy_token, _certificate(cfg))
        warn_of_readers("policy_token", cfg.policy_token)


def _certificate(cfg: Any) -> Path | None:
    return None if cfg.policy_certificate is None else Path(cfg.policy_certificate)


def run_session(parts: Parts, conductor: Conductor, others: Sequence[Post] = ()) -> Outcome:
    """Run a session, with a person at the terminal where it is attended and there is one.

    Args:
        parts: of the deployment.
        conductor: of the session.
        others: who stand beside the terminal.

    Raises:
        UserError: see `LiveSession.run`.
    """
    terminal = Console() if conductor.attended and has_terminal() else Nobody()
    with closing(Several([terminal, *others])) as operator:
        operator.open()
        return LiveSession(parts, conductor, operator).run()


def parts_of(cfg: Any, run: Path, spec: EnvSpec) -> Parts:
    """Return the processes' setups.

    Raises:
        UserError: cameras or state do not fit the policy.
    """
    sizes = cameras_of(spec)
    if set(sizes) != set(cfg.cameras):
        cure = "say camera=... (camera=sim for arm=sim) and cameras.<name>" if sizes else "leave camera= out"
        raise UserError(
            f"the policy sees cameras {', '.join(sorted(sizes)) or 'none'}; here are "
            f"{', '.join(sorted(cfg.cameras)) or 'none'}: {cure}"
        )
    cameras = {name: CameraSetup(name, plain(cfg.cameras[name]), *size) for name, size in sizes.items()}
    recorder = None
    if cfg.data is not None:
        seen_by = {name: setup.facts() for name, setup in cameras.items()}
        facts = {**_facts(cfg, run), "cameras": seen_by}
        recorder = RecordSetup(Path(cfg.data), recorded_spec(spec), {"recorded_by": "deploy"}, facts)
    limits, watch = build_whole("limits", cfg.limits), build_whole("watch", cfg.watch)
    if cfg.dry:
        limits = replace(limits, joints=None)  # they stand still, wherever the tool would be
    arm = ArmSetup(_place(cfg, spec), limits, watch, spec.control_dt, cfg.fade_s, cfg.patience_s)
    return Parts(
        arm,
        PolicySetup(_source(cfg, run, spec), spec.control_dt, tuple(sizes)),
        spec.obs["state"].shape[0],
        cameras,
        TeleopSetup(plain(cfg.teleop)) if cfg.teleop else None,
        recorder,
    )


def _facts(cfg: Any, run: Path) -> dict[str, Any]:
    """Return what each episode says of who planned it and where, and what its modes are called."""
    facts = {
        "run": str(run),
        "checkpoint": cfg.checkpoint,
        "checkpoint_sha256": Run.open(run).checkpoint_digest(cfg.checkpoint),
        "execute": cfg.execute,
        "modes": {str(number): mode.value for number, mode in enumerate(MODES)},
    }
    if cfg.policy_server is None:
        return facts
    host, port = address_of("policy_server", cfg.policy_server)
    return {**facts, "policy_server": {"host": host, "port": port}}


def _source(cfg: Any, run: Path, spec: EnvSpec) -> PolicySource:
    if cfg.policy_server is None:
        return RunPolicy(run, cfg.checkpoint, cfg.execute, cfg.threads)
    digest = Run.open(run).checkpoint_digest(cfg.checkpoint)
    return RemotePolicy(cfg.policy_server, Path(cfg.policy_token), spec, digest, _certificate(cfg))


def _place(cfg: Any, spec: EnvSpec) -> Place:
    if cfg.simulated:
        return SimPlace(plain(cfg.arm), plain(cfg.task), plain(cfg.engine))
    names = spec.obs["state"].names
    check_names(names)
    set_points_in(spec.control_dt, 1.0 / cfg.control_hz)
    place = RealPlace(plain(cfg.arm), cfg.control_hz, names, cfg.dry)
    place.check()
    return place


def plain(node: Any) -> dict[str, Any]:
    """Return a config node as what can travel to a process."""
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return dict(plain)


def _figures(outcome: Outcome) -> Figures:
    judged = [each for each in outcome.ended if each.judged]
    gave_up = [f"{each.label}: {each.why}" for each in judged if each.label == "aborted"]
    success = [each.label == "success" for each in judged]
    return success, [each.steps for each in judged], gave_up, outcome.counts
