"""The verbs that take a config: what each does, the dataclass it reads and the function it calls.

Only addresses stand here, so that listing the verbs imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        config: name of its primary config.
        summary: one sentence for the help.
        schema: "module:dataclass" that types the config.
        entry: "module:function" that takes the composed config.
        meant_by: keys of other verbs, and their configs: whoever says such a key to this one means that one.
    """

    config: str
    summary: str
    schema: str
    entry: str
    meant_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The verb as the user types it."""
        return self.config.replace("_", " ")


VERBS = {
    verb.config: verb
    for verb in (
        Verb(
            "quickstart",
            "Run the whole pipeline: demonstrations, diffusion policy, residual, report.",
            "robofb.quickstart:QuickstartConfig",
            "robofb.quickstart:quickstart",
        ),
        Verb(
            "collect",
            "Record demonstrations of a task into a dataset; with arm=... on an arm: see collect arm --help.",
            "robofb.deploy.collect:CollectConfig",
            "robofb.deploy.collect:collect",
            meant_by={"arm": "collect_arm"},
        ),
        Verb(
            "collect_arm",
            "Record what a person does with an arm into a dataset; what collect does with arm=...",
            "robofb.deploy.collect_arm:CollectArmConfig",
            "robofb.deploy.collect_arm:collect_on_arm",
        ),
        Verb(
            "train_bc",
            "Train a diffusion policy on a dataset.",
            "robofb.train.bc:BcConfig",
            "robofb.train.bc:train",
        ),
        Verb(
            "train_residual",
            "Train a residual policy by PPO on top of a frozen base run.",
            "robofb.train.residual:ResidualConfig",
            "robofb.train.residual:train",
        ),
        Verb(
            "train_ppo",
            "Train a cloned chunk regression directly by PPO, held near what was cloned.",
            "robofb.train.ppo:PpoConfig",
            "robofb.train.ppo:train",
        ),
        Verb(
            "train_dsrl",
            "Steer a frozen diffusion policy by reinforcement learning in its noise (DSRL).",
            "robofb.train.dsrl:DsrlConfig",
            "robofb.train.dsrl:train",
        ),
        Verb(
            "train_idql",
            "Train critics that choose among the chunks a frozen diffusion policy proposes (IDQL).",
            "robofb.train.idql:IdqlConfig",
            "robofb.train.idql:train",
        ),
        Verb(
            "train_tgrl",
            "Train a student by a teacher that sees more and by reward at once (TGRL).",
            "robofb.train.tgrl_config:TgrlConfig",
            "robofb.train.tgrl:train",
        ),
        Verb(
            "train_agents",
            "Train one agent for each of many tasks of a family, and log all that they do (BOReL).",
            "robofb.train.agents:AgentsConfig",
            "robofb.train.agents:train",
        ),
        Verb(
            "train_borel",
            "Learn from agents' logs how to find out what task one is in, and to use it (BOReL).",
            "robofb.train.borel_config:BorelConfig",
            "robofb.train.borel:train",
        ),
        Verb(
            "train_dagger",
            "Teach a chunk policy what an expert run would do where the policy itself goes (DAgger).",
            "robofb.train.dagger:DaggerConfig",
            "robofb.train.dagger:train",
        ),
        Verb(
            "deploy",
            "Let a policy drive an arm, through safety gate, controller and limiter. "
            "Beside it: deploy doctor, deploy replay, deploy server, each with --help.",
            "robofb.deploy.run_policy:DeployConfig",
            "robofb.deploy.run_policy:deploy",
        ),
        Verb(
            "deploy_replay",
            "Run a policy again on what a deployment recorded, and compare its plans.",
            "robofb.deploy.replay:ReplayConfig",
            "robofb.deploy.replay:replay",
        ),
        Verb(
            "deploy_server",
            "Plan with a policy for an arm on another machine.",
            "robofb.deploy.policy_server:ServerConfig",
            "robofb.deploy.policy_server:serve",
        ),
        Verb(
            "deploy_doctor",
            "Look at an arm and its cameras: rates, limits, faults. Moves nothing without move=true.",
            "robofb.deploy.doctor:DoctorConfig",
            "robofb.deploy.doctor:doctor",
        ),
        Verb(
            "eval",
            "Evaluate a run: success with its interval, failures by stage, video, report.",
            "robofb.evaluate:EvalConfig",
            "robofb.evaluate:main",
        ),
    )
}
