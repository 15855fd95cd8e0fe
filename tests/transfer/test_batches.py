"""Batches are named by the seed of the pair and the step, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from weightscape.data.dataset import Dataset, Split
from weightscape.transfer.batches import Batch, BatchStream


def stream(dataset: Dataset, seed: int = 0) -> BatchStream:
    return BatchStream(dataset, seed=seed, batch_size=16)


def same(left: Batch, right: Batch) -> bool:
    return torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])


def test_a_batch_is_a_pure_function_of_seed_and_numbers(digits: Dataset) -> None:
    one, two = stream(digits), stream(digits)
    late = list(one.matching(3, 2))
    list(two.heldout(1, 1))
    assert len(late) == 2
    assert all(map(same, late, two.matching(3, 2)))
    assert same(late[0], *one.matching(3, 1))


def test_steps_numbers_seeds_and_purposes_have_different_batches(digits: Dataset) -> None:
    one = stream(digits)
    reference, second = one.matching(3, 2)
    others = [second, *one.matching(4, 1), *one.heldout(3, 1), *stream(digits, 1).matching(3, 1)]
    assert len(others) == 4
    assert not any(same(reference, batch) for batch in others)
    assert not torch.equal(reference[0], next(one.batch_norm(1)))


def test_one_batch_at_a_time_is_made(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    sample = Split.sample

    def counting(*args: Any, **options: Any) -> Batch:
        made.append(1)
        return sample(*args, **options)

    monkeypatch.setattr(Split, "sample", counting)
    for draw in (stream(digits).batch_norm(100), stream(digits).matching(0, 100)):
        made.clear()
        next(draw)
        assert made == [1]


def test_images_come_from_the_training_split_alone(digits: Dataset) -> None:
    everything = {row.numpy().tobytes() for row in digits.train.normalised()}
    images = torch.cat([batch[0] for batch in stream(digits).matching(0, 3)])
    assert {row.numpy().tobytes() for row in images} <= everything


def test_no_image_serves_both_to_match_and_to_judge(digits: Dataset) -> None:
    # Images that tell themselves apart: the label of each is its row.
    train = replace(digits.train, labels=torch.arange(len(digits.train)))
    batches = BatchStream(replace(digits, train=train), seed=3, batch_size=100)
    matched = {row for step in range(200) for _, rows in batches.matching(step, 1) for row in rows.tolist()}
    judged = {row for step in range(200) for _, rows in batches.heldout(step, 1) for row in rows.tolist()}
    assert matched.isdisjoint(judged)
    assert len(matched | judged) == len(train)
