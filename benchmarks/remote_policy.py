"""Time one plan of a policy on a policy server on this machine, over TLS, against one made in the process.

python benchmarks/remote_policy.py [--plans 500] [--no-save]

The policy is next to nothing: a mean over its state. It sees 20 numbers and no or two pictures of 240 x 320.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from results import save_result
from timing import percentiles

from robofb.deploy.live.policy_process import Plans
from robofb.deploy.live.remote_policy import RemotePolicy
from robofb.deploy.policy_server import PolicyServer, tls_of
from robofb.deploy.policy_wire import read_token
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.types import ArraySpec, EnvSpec, Obs

IMAGE = ArraySpec((3, 240, 320), "uint8")
ACTION = ArraySpec((10,), names=ACTION_NAMES)


class MeanPlans:
    """Plan 8 times the mean of the state."""

    def begin(self, seed: int) -> None:
        """Nothing hangs on an episode."""

    def skip(self) -> None:
        """Nothing hangs on a step."""

    def plan(self, obs: Obs) -> np.ndarray:
        """Return a chunk (8, 10)."""
        return obs["state"].mean().expand(8, 10).numpy()


def spec_of(num_images: int) -> EnvSpec:
    """Return what the policy sees and does."""
    images = {f"image_{number}": IMAGE for number in range(num_images)}
    return EnvSpec("mean", {"state": ArraySpec((20,))} | images, ACTION, 0.1, 100)


def serve(num_images: int, folder: Path, port: Any) -> None:
    """Serve plans; say the port."""
    token, context = read_token("token", folder / "token"), tls_of(folder, "127.0.0.1")
    with closing(PolicyServer(MeanPlans(), spec_of(num_images), "", token, context)) as server:
        port.put(server.listen("127.0.0.1", 0))
        server.run()


def seconds_of(plans: Plans, spec: EnvSpec, count: int) -> list[float]:
    """Return how long each plan took."""
    draws = np.random.default_rng(0)
    obs = {
        key: torch.from_numpy(draws.integers(0, 256, (1, *array.shape)).astype(array.dtype))
        for key, array in spec.obs.items()
    }
    found = []
    for _ in range(count + 20):  # the first 20 warm up
        began_s = time.perf_counter()
        plans.plan(obs)
        found.append(time.perf_counter() - began_s)
        time.sleep(0.005)
    return found[20:]


def main() -> None:
    """Time, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {f"{number} pictures": time_both(number, args.plans) for number in (0, 2)}
    for what, places in found.items():
        for place, facts in places.items():
            median_ms, p99_ms = facts["p50_us"] / 1000, facts["p99_us"] / 1000
            print(f"{what}, {place}: median {median_ms:.2f} ms, 99 % below {p99_ms:.2f} ms")
    if not args.no_save:
        save_result("remote_policy", found)


def time_both(num_images: int, count: int) -> dict[str, dict[str, float]]:
    """Return median and 99th percentile of a plan made here, and on a server."""
    spec, context = spec_of(num_images), mp.get_context("spawn")
    with TemporaryDirectory() as name:
        folder, port = Path(name), context.Queue()
        (folder / "token").write_text("0123456789abcdef")
        server = context.Process(target=serve, args=(num_images, folder, port), daemon=True)
        server.start()
        address = f"127.0.0.1:{port.get()}"
        source = RemotePolicy(address, folder / "token", spec, "", folder / "server_cert.pem")
        with closing(source.make()) as plans:
            here, there = seconds_of(MeanPlans(), spec, count), seconds_of(plans, spec, count)
        server.kill()
        server.join()
    return {"here": percentiles(here), "server": percentiles(there)}


if __name__ == "__main__":
    main()
