"""The few kernels that WarpEngine adds to MuJoCo Warp's own. Imported only where Warp is there."""

import warp as wp

# What a control step reports to the host in one transfer, by place in the report (5,) int32.
DIVERGED = wp.constant(0)
OVERFLOW = wp.constant(1)
COLLISIONS = wp.constant(2)
CONTACTS = wp.constant(3)
CONSTRAINTS = wp.constant(4)
REPORT_SIZE = 5
_LARGEST = wp.constant(1e10)  # beyond it MuJoCo calls a state bad, too (mjMAXVAL)


@wp.kernel(enable_backward=False)
def note_peaks(
    collisions: wp.array[int],
    contacts: wp.array[int],
    constraints: wp.array[int],
    overflow: wp.array[int],
    report: wp.array[int],
) -> None:
    """Keep the largest demand on each buffer since the report was cleared; one thread a world."""
    world = wp.tid()
    wp.atomic_max(report, CONSTRAINTS, constraints[world])
    wp.atomic_or(report, OVERFLOW, overflow[world])
    if world == 0:
        wp.atomic_max(report, COLLISIONS, collisions[0])
        wp.atomic_max(report, CONTACTS, contacts[0])


@wp.kernel(enable_backward=False)
def note_diverged(values: wp.array2d[float], diverged: wp.array[bool], report: wp.array[int]) -> None:
    """Mark worlds with a value that is huge or no number; one thread a value."""
    world, index = wp.tid()
    if not (wp.abs(values[world, index]) <= _LARGEST):  # so that NaN counts
        diverged[world] = True
        wp.atomic_max(report, DIVERGED, 1)


@wp.kernel(enable_backward=False)
def copy_columns(columns: wp.array[int], source: wp.array2d[float], target: wp.array2d[float]) -> None:
    """Copy some columns of every row; one thread a value."""
    row, index = wp.tid()
    target[row, columns[index]] = source[row, columns[index]]
