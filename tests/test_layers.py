"""The dependency rule of the package, read from its import statements."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = [  # a module imports only from its own layer and those above this line
    {"types", "checked_json", "geometry", "rng", "compiler", "errors", "progress", "provenance"},
    {"interfaces", "meta_interfaces", "normalize", "optimisation", "ranks", "moments"},
    {"store", "nets", "sim"},
    {"augment", "policies", "rl"},
    {
        "evaluate",
        "evaluation",
        "evaluate_belief",
        "evaluate_trials",
        "trial_film",
        "trial_report",
        "families",
        "loading",
        "build",
        "run",
        "metrics_file",
        "wandb_mirror",
        "report",
        "stats",
        "files",
        "checkpoint",
        "charts",
        "dataset_page",
    },
    {"train"},
    {"viewer"},
    {
        "quickstart",
        "quickstart_report",
        "cli",
        "config",
        "config_docs",
        "config_errors",
        "config_choices",
        "config_files",
        "config_words",
        "verbs",
        "asset_verbs",
        "worlds",
        "data_verbs",
        "doctor",
    },
]
ALLOWED = {  # third-party package: modules of the core that may import it
    "hydra": {"evaluate", "config", "config_errors", "config_files", "cli", "quickstart", "train"},
    "omegaconf": {
        "build",
        "loading",
        "evaluate",
        "evaluate_belief",
        "config",
        "config_errors",
        "config_files",
        "cli",
        "quickstart",
        "train",
    },
    "wandb": {"wandb_mirror"},
    "warp": {"sim.warp_setup", "sim.warp_kernels"},
    "mujoco_warp": {"sim.warp_setup"},
    "typer": {"cli", "data_verbs", "asset_verbs"},
    "viser": {"viewer"},
}
IMPORT_NAMES = {
    "hydra-core": "hydra",
    "pyyaml": "yaml",
    "warp-lang": "warp",
    "pillow": "PIL",
    "feetech-servo-sdk": "scservo_sdk",
    "opencv-python-headless": "cv2",
    "franky-control": "franky",
}
SEVERAL_MODULES = {"ur_rtde": {"rtde_control", "rtde_receive"}}  # under other names than its own
DEPLOY_ENTRY_POINTS = {"deploy.collect", "deploy.run_policy", "deploy.live.deployment"}
LAZY = {
    "PIL",
    "aiohttp",
    "av",
    "cv2",
    "diffusers",
    "franky",
    "h5py",
    "imagecodecs",
    "matplotlib",
    "msgspec",
    "mujoco_warp",
    "pyarrow",
    "pyrealsense2",
    "rtde_control",
    "rtde_receive",
    "ruckig",
    "scservo_sdk",
    "viser",
    "wandb",
    "warp",
    "websockets",
}  # only inside functions
IMPORTED_LATE = {"sim.warp_kernels"}  # modules that are themselves imported only inside functions


def modules() -> dict[str, Path]:
    """Return every module below robofb by its name without the leading "robofb."."""
    found = {}
    for top, prefix in (("robofb", ""), ("envs", "envs."), ("deploy", "deploy."), ("configs", "configs.")):
        for file in (ROOT / top).rglob("*.py"):
            parts = file.relative_to(ROOT / top).with_suffix("").parts
            if "__pycache__" in parts or (top == "robofb" and parts[0] in ("envs", "deploy", "configs")):
                continue
            name = prefix + ".".join(part for part in parts if part != "__init__")
            found[name.rstrip(".") or "__init__"] = file
    return found


MODULES = modules()


def imports(file: Path, top_level_only: bool = False) -> set[str]:
    """Return the full dotted names that a file imports."""
    tree = ast.parse(file.read_text(), str(file))
    names = set()
    for node in _walk(tree, top_level_only):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _walk(node: ast.AST, top_level_only: bool):
    for child in ast.iter_child_nodes(node):
        if top_level_only and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if top_level_only and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk(child, top_level_only)


def layer(module: str) -> int | None:
    """Return the layer of a module of the core; None for envs, deploy, configs and the package."""
    top = module.split(".")[0]
    for index, names in enumerate(LAYERS):
        if top in names:
            return index
    return None


def inner(name: str) -> str | None:
    """Return what a name means inside robofb, or None where it is another package."""
    return name.removeprefix("robofb.") if name.startswith("robofb.") else None


def test_the_core_is_covered_by_the_layers():
    core = {module.split(".")[0] for module in MODULES} - {"envs", "deploy", "configs", "__init__"}
    assert core - set.union(*LAYERS) == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_only_from_its_layer_and_below(module):
    own = layer(module)
    for name in imports(MODULES[module]):
        target = inner(name)
        if target is None:
            continue
        top = target.split(".")[0]
        if module.startswith("envs"):
            assert top != "deploy", f"robofb.{module} imports {name}: envs and deploy stay apart"
        elif module.startswith("deploy"):
            assert top != "envs", f"robofb.{module} imports {name}: envs and deploy stay apart"
        elif own is not None:
            assert top not in ("envs", "deploy"), f"robofb.{module} imports {name}: the core knows no task"
            theirs = layer(target)
            assert theirs is None or theirs <= own, f"robofb.{module} imports {name}, from a layer above it"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_named_modules_import_the_named_packages(module):
    for name in imports(MODULES[module]):
        package = name.split(".")[0]
        if package not in ALLOWED or module in DEPLOY_ENTRY_POINTS:
            continue
        allowed = any(module == place or module.startswith(f"{place}.") for place in ALLOWED[package])
        assert allowed, f"robofb.{module} imports {package}; only {sorted(ALLOWED[package])} may"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_slow_or_optional_packages_are_imported_inside_functions(module):
    if module in IMPORTED_LATE:
        return
    at_import = {name.split(".")[0] for name in imports(MODULES[module], top_level_only=True)}
    assert at_import & LAZY == set()


def test_nothing_imports_a_bare_envs_deploy_or_configs():
    files = list(MODULES.values())
    files += [file for top in ("tests", "benchmarks") for file in (ROOT / top).rglob("*.py")]
    for file in files:
        bare = {name.split(".")[0] for name in imports(file)} & {"envs", "deploy", "configs"}
        assert bare == set(), f"{file} imports a bare {bare}: write robofb.envs and so on"


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    core = {importable(text) for text in project["dependencies"]}
    optional = {importable(text) for name in extras if name != "dev" for text in extras[name]}
    optional |= {module for name in optional for module in SEVERAL_MODULES.get(name, ())}
    for module, file in MODULES.items():
        known = core | {"robofb", *sys.stdlib_module_names}
        missing = {name.split(".")[0] for name in imports(file, top_level_only=True)} - known
        late = module in IMPORTED_LATE
        assert late or missing == set(), (
            f"robofb.{module} imports {missing}, which pyproject.toml does not declare"
        )
        missing = {name.split(".")[0] for name in imports(file)} - known - optional
        assert missing == set(), f"robofb.{module} imports {missing}, which no extra declares"


def importable(requirement: str) -> str:
    """Return the name under which a requirement is imported."""
    name = re.split(r"[^A-Za-z0-9_-]", requirement)[0].lower()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def test_production_never_imports_tests():
    for module, file in MODULES.items():
        assert not any(name.split(".")[0] in ("tests", "pytest", "hypothesis") for name in imports(file)), (
            module
        )
