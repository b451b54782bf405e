import math

import torch

from robofb.nets.embedding import StepEmbedding


def test_a_hand_worked_step():
    embedding = StepEmbedding(4)(torch.tensor([0, 3]))  # frequencies 1 and 1e-4
    expected = [[0.0, 0.0, 1.0, 1.0], [math.sin(3), math.sin(3e-4), math.cos(3), math.cos(3e-4)]]
    torch.testing.assert_close(embedding, torch.tensor(expected))


def test_every_step_of_a_hundred_looks_different():
    embedding = StepEmbedding(16)(torch.arange(100))
    apart = torch.cdist(embedding, embedding) + 10 * torch.eye(100)
    assert apart.min() > 0.1
