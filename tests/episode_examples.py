"""Episodes that can be made again from their number alone."""

import numpy as np

from robofb.types import ArraySpec, EnvSpec, Episode

SPEC = EnvSpec(
    task="example",
    obs={
        "state": ArraySpec((3,), "float32", "m", names=("x_w", "y_w", "z_w")),
        "front": ArraySpec((3, 4, 5), "uint8", "sRGB"),
    },
    action=ArraySpec((2,), "float32", "m/s"),
    control_dt=0.1,
    max_steps=50,
    stages=("reach",),
)


def make_episode(number: int, length: int | None = None, spec: EnvSpec = SPEC) -> Episode:
    """Return episode `number`: 1 to 40 steps of values that no other episode has."""
    rng = np.random.default_rng(number)
    steps = length or int(rng.integers(1, 41))
    obs = {}
    for key, array in spec.obs.items():
        values = rng.integers(0, 256, (steps + 1, *array.shape)) if array.dtype == "uint8" else None
        obs[key] = (rng.normal(size=(steps + 1, *array.shape)) if values is None else values).astype(
            array.dtype
        )
    return Episode(
        obs=obs,
        action=rng.normal(size=(steps, *spec.action.shape)).astype("float32"),
        reward=rng.normal(size=steps).astype("float32"),
        terminated=bool(number % 2),
        success=bool(number % 3),
        timestamps=100.0 * number + np.cumsum(rng.uniform(0.05, 0.15, steps + 1)),
        source=rng.integers(0, 5, steps).astype("uint8"),
        meta={"seed": number, "note": f"épisode {number}"},
    )


def assert_same(found: Episode, expected: Episode) -> None:
    """Fail unless two episodes are equal bit for bit, types included."""
    assert set(found.obs) == set(expected.obs)
    pairs = [(found.obs[key], expected.obs[key]) for key in expected.obs]
    for field in ("action", "reward", "timestamps", "source"):
        pairs.append((getattr(found, field), getattr(expected, field)))
    for a, b in pairs:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert found.terminated is expected.terminated
    assert found.success is expected.success
    assert dict(found.meta) == dict(expected.meta)
