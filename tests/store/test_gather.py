import numpy as np
import pytest
import torch

from robofb.store.gather import LARGE_BYTES, gather_rows


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
@pytest.mark.parametrize("width", [3, 2**18])
def test_rows_are_those_that_numpy_picks(dtype: torch.dtype, width: int) -> None:
    rows = torch.arange(7 * width).reshape(7, width).to(dtype)
    index = torch.tensor([[6, 0, 6], [1, 2, 3], [4, 4, 5], [0, 5, 1], [2, 6, 3], [1, 1, 0]])
    assert (index.numel() * rows[:1].nbytes >= LARGE_BYTES) == (width == 2**18)
    picked = gather_rows(rows, index)
    np.testing.assert_array_equal(picked.numpy(), rows.numpy()[index.numpy()])
    picked.fill_(1)
    assert rows[6, 0] == torch.tensor(6 * width).to(dtype)  # a copy, not a view
