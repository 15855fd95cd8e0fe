"""Batches are named by the seed of the pair and the step, and by nothing else."""

from __future__ import annotations

import inspect

import torch

from weightscape.data.dataset import Dataset
from weightscape.transfer.batches import Batch, BatchStream


def stream(dataset: Dataset, seed: int = 0) -> BatchStream:
    return BatchStream(dataset, seed=seed, batch_size=16)


def same(left: Batch, right: Batch) -> bool:
    return torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])


def test_a_batch_is_a_pure_function_of_seed_and_numbers(digits: Dataset) -> None:
    one, two = stream(digits), stream(digits)
    late = one.matching(3, 2)
    two.heldout(1, 1)
    assert all(map(same, late, two.matching(3, 2)))
    assert same(late[0], one.matching(3, 1)[0])


def test_steps_numbers_seeds_and_purposes_have_different_batches(digits: Dataset) -> None:
    one = stream(digits)
    reference = one.matching(3, 1)[0]
    others = [one.matching(4, 1)[0], one.matching(3, 2)[1], one.heldout(3, 1)[0], stream(digits, 1).matching(3, 1)[0]]
    assert not any(same(reference, batch) for batch in others)
    assert not torch.equal(reference[0], one.batch_norm(1)[0])


def test_no_method_can_name_a_batch() -> None:
    assert "method" not in inspect.signature(BatchStream).parameters
    assert "method" not in inspect.signature(BatchStream.matching).parameters


def test_images_come_from_the_training_split_alone(digits: Dataset) -> None:
    everything = {row.numpy().tobytes() for row in digits.train.normalised()}
    images = torch.cat([stream(digits).matching(0, 3)[index][0] for index in range(3)])
    assert {row.numpy().tobytes() for row in images} <= everything
