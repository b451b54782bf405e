"""The whole pipeline in one command: demonstrations, diffusion policy, residual, report."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from robofb import config
from robofb.build import build
from robofb.errors import check_at_least, check_seeds
from robofb.evaluate import Evaluation, Film, evaluate, film
from robofb.loading import load_agent, make_env
from robofb.policies.residual import check_correction
from robofb.quickstart_report import STAGES, report_data
from robofb.report import write_report
from robofb.run import Run, is_run, new_run_path, plain
from robofb.stats import compare_paired
from robofb.train import bc_config, residual_config
from robofb.train.open_run import check_continues, check_unchanged, keep_config

LOG = logging.getLogger(__name__)
REPORT_SEED = 20_000_000  # reported episodes; checkpoints are chosen on other seeds
FIXED = ("task", "randomness", "engine", "seed")  # what a resumed pipeline cannot change


@dataclass
class QuickstartConfig:
    """What `robofb quickstart` reads.

    Attributes:
        task: name of the task; it needs a scripted expert.
        randomness: low, med or high: how far the start states spread.
        engine: name of the simulator.
        seed: of everything random in the pipeline.
        out: folder of the results, runs/quickstart-resip/<date>-s<seed> by default.
        resume: folder of an unfinished pipeline to go on with.
        episodes: episodes of each of the two reported evaluations.
        num_envs: environments simulated together in the evaluations.
        video: film both policies for the report.
        collect: overrides of `robofb collect`.
        bc: overrides of `robofb train bc`.
        residual: overrides of `robofb train residual`.
    """

    task: str = "one_leg_insert"
    randomness: str = "low"
    engine: str = "mujoco"
    seed: int = 0
    out: str | None = None
    resume: str | None = None
    episodes: int = 512
    num_envs: int = 64
    video: bool = True
    collect: dict[str, Any] = field(default_factory=dict)
    bc: dict[str, Any] = field(default_factory=dict)
    residual: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "episodes", "num_envs")
        check_seeds(self, "seed")


def quickstart(cfg: QuickstartConfig) -> Run:
    """Run the pipeline, or go on with `cfg.resume`; print the report's path and the two success rates.

    Raises:
        UserError: an override that its stage does not know, or a folder that holds something else.
    """
    Pipeline.check(cfg)
    with _open(cfg) as run:
        pipeline = Pipeline(cfg, run)
        try:
            pipeline.demonstrations()
            pipeline.train_bc()
            base = pipeline.evaluate_bc()
            pipeline.train_residual()
            residual = pipeline.evaluate_residual()
            report = pipeline.report(base, residual)
        except KeyboardInterrupt:
            LOG.info('continue with: make quickstart ARGS="resume=%s"', run.path)
            raise
    print(f"\ndiffusion policy  {base.rate}")
    print(f"with residual     {residual.rate}")
    print(f"training ended    {Run.open(pipeline.residual).summary()['residual_training']['ended']}")
    print(f"report            {report}")
    return run


def _open(cfg: QuickstartConfig) -> Run:
    if cfg.resume:
        run = Run.open(cfg.resume)
        _pass_on(cfg, run)
        keep_config(run, cfg)
        return run.resume()
    path = Path(cfg.out) if cfg.out else new_run_path("quickstart", "resip", cfg.seed)
    container: Any = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)  # type: ignore[call-overload]
    return Run.create(path, container, "quickstart")


def _pass_on(cfg: QuickstartConfig, run: Run) -> None:
    """Write what was said now into the configs of the trainings that have begun.

    Raises:
        UserError: one of them cannot go on like that; nothing is written then.
    """
    check_unchanged(run.config, cfg, FIXED)
    continued: list[tuple[Run, DictConfig]] = []
    for stage, now, fixed in (
        ("bc", cfg.bc, bc_config.FIXED),
        ("residual", cfg.residual, residual_config.FIXED),
    ):
        before = _flat(run.config[stage])
        said = {key: value for key, value in _flat(now).items() if key not in before or before[key] != value}
        if said and is_run(run.path / stage):
            words = [f"resume={run.path / stage}", *_overrides(said)]
            stage_run, stage_cfg = Run.open(run.path / stage), config.compose(f"train_{stage}", words)
            check_continues(stage_run, stage_cfg, fixed)
            continued.append((stage_run, stage_cfg))
    for stage_run, stage_cfg in continued:
        keep_config(stage_run, stage_cfg)


class Pipeline:
    """The stages, each timed in summary.json. What a stage has done already is not done again.

    Args:
        cfg: settings.
        run: the folder; stages keep their own runs in `bc` and `residual`, the dataset is in `data`.
    """

    def __init__(self, cfg: QuickstartConfig, run: Run) -> None:
        self.cfg, self.run = cfg, run
        self.data, self.bc, self.residual = (run.path / name for name in ("data", "bc", "residual"))

    @staticmethod
    def check(cfg: QuickstartConfig) -> None:
        """Refuse at once what a stage would refuse after minutes."""
        config.compose("collect", _overrides(_scene(cfg) | _flat(cfg.collect)))
        config.compose("train_bc", _overrides({"data": "data"} | _task(cfg) | _flat(cfg.bc)))
        words = {"base": "bc"} | _scene(cfg) | _flat(cfg.residual)
        residual = config.compose("train_residual", _overrides(words))
        check_correction(residual.correction, build(residual.task).spec.action.shape[0])

    def demonstrations(self) -> None:
        """Record scripted demonstrations until there are enough."""
        with self._stage("demonstrations"):
            outcome = self._do("collect", self.data, _scene(self.cfg) | _flat(self.cfg.collect))
        before = self.run.summary().get("demonstrations", {}).get("discarded", 0)
        counts = {"kept": outcome.total, "discarded": before + outcome.discarded}
        self.run.write_summary({"demonstrations": counts})

    def train_bc(self) -> None:
        """Clone the demonstrations."""
        with self._stage("train_bc"):
            self._do("train_bc", self.bc, {"data": self.data} | _task(self.cfg) | _flat(self.cfg.bc))

    def evaluate_bc(self) -> Evaluation:
        """Evaluate the diffusion policy on the reported episodes."""
        return self._evaluate("bc", self.bc)

    def train_residual(self) -> None:
        """Train the residual on the frozen policy."""
        with self._stage("train_residual"):
            words = {"base": self.bc} | _scene(self.cfg) | _flat(self.cfg.residual)
            self._do("train_residual", self.residual, words)

    def evaluate_residual(self) -> Evaluation:
        """Evaluate base and residual together on the same episodes as the base alone."""
        return self._evaluate("residual", self.residual)

    def report(self, base: Evaluation, residual: Evaluation) -> Path:
        """Film both policies and write report.html."""
        with self._stage("report", again=True):
            videos = self._film() if self.cfg.video else {}
            comparison = compare_paired(base.success.tolist(), residual.success.tolist())
            self.run.write_summary({"paired": vars(comparison), "peak_memory_gb": _peak_memory_gb()})
        runs = (self.run, Run.open(self.bc), Run.open(self.residual))
        return write_report(self.run.path / "report.html", report_data(*runs, base, residual, videos))

    @contextmanager
    def _stage(self, name: str, again: bool = False) -> Iterator[None]:
        """Announce a stage and keep its wall time in the summary, also when it is interrupted.

        Args:
            again: it is done as a whole by every call: the last one's time counts. Others add up.
        """
        LOG.info("[%d/%d] %s", list(STAGES).index(name) + 1, len(STAGES), STAGES[name])
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = dict(self.run.summary().get("seconds", {}))
            before = 0.0 if again else seconds.get(name, 0.0)
            seconds[name] = before + time.monotonic() - started
            seconds["total"] = sum(value for key, value in seconds.items() if key != "total")
            self.run.write_summary({"seconds": seconds})

    def _do(self, verb: str, out: Path, overrides: Mapping[str, Any]) -> Any:
        """Run a verb into `out`; where its run exists already, continue that."""
        words = {"seed": self.cfg.seed, "out": out, **overrides}
        said = [f"resume={out}"] if is_run(out) else _overrides(words)
        return config.load_object(config.find_verb(verb).entry)(config.compose(verb, said))

    def _evaluate(self, name: str, path: Path) -> Evaluation:
        cfg = self.cfg
        with self._stage(f"evaluate_{name}", again=True):
            torch.set_num_threads(1)
            env = make_env(*self._nodes(), cfg.num_envs)
            agent = load_agent(Run.open(path), cfg.num_envs)
            result = evaluate(agent, env, cfg.episodes, REPORT_SEED + cfg.seed, progress=f"evaluate {name}")
            env.close()
        self.run.write_summary({name: result.to_dict()})
        LOG.info("success %s", result.rate)
        return result

    def _nodes(self) -> tuple[DictConfig, DictConfig]:
        """Return the configs of task and engine."""
        composed = config.compose("collect", _overrides(_scene(self.cfg)))
        return composed.task, composed.engine

    def _film(self) -> dict[str, Film]:
        seed = REPORT_SEED + self.cfg.seed
        return {
            name: film(Run.open(self.run.path / name), *self._nodes(), seed=seed)
            for name in ("bc", "residual")
        }


def _task(cfg: QuickstartConfig) -> dict[str, Any]:
    """Return the overrides that choose the task."""
    return {"task": cfg.task, "task.randomness": cfg.randomness}


def _scene(cfg: QuickstartConfig) -> dict[str, Any]:
    """Return the overrides that choose task and simulator."""
    return {**_task(cfg), "engine": cfg.engine}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by their dotted keys, such as policy.horizon."""
    flat: dict[str, Any] = {}
    for key, value in plain(values).items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _overrides(values: Mapping[str, Any]) -> list[str]:
    """Write values as Hydra overrides: lists, numbers, true, false and null as in JSON, text as it is."""
    container: Any = OmegaConf.to_container(OmegaConf.create(dict(values)))
    return [f"{key}={_word(value)}" for key, value in container.items()]


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def _peak_memory_gb() -> float:
    """Return this process's largest resident memory so far [GB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
