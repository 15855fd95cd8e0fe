from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weightscape.data.dataset import Split
from weightscape.errors import DataError
from weightscape.similarity.probe import InputHash, check_same_probe, choose_probe, fingerprint_of


def _split(count: int = 40) -> Split:
    images = torch.randint(0, 256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(count) % 3
    return Split(images, labels, torch.arange(count), torch.tensor([0.5]), torch.tensor([0.2]))


def test_equal_seeds_choose_equal_images_and_other_seeds_others():
    split = _split()
    first, again, other = (choose_probe(split, images=10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.split.indices, again.split.indices)
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


def test_the_images_keep_the_order_of_the_split():
    indices = choose_probe(_split(), images=25, seed=3).split.indices
    assert torch.equal(indices, indices.sort().values)


def test_the_first_images_are_taken_when_asked_for():
    probe = choose_probe(_split(), images=7, choice="first")
    assert probe.split.indices.tolist() == list(range(7))


def test_all_images_are_the_same_probe_whatever_the_seed():
    split = _split()
    assert choose_probe(split, images=40, seed=0).fingerprint == choose_probe(split, images=40, seed=9).fingerprint


@pytest.mark.parametrize("images", [0, 41])
def test_more_images_than_there_are_is_an_error(images: int):
    with pytest.raises(DataError, match=r"1 to 40 images.*received"):
        choose_probe(_split(), images=images)


def test_another_normalisation_of_the_same_pixels_is_another_probe():
    split = _split()
    other = replace(split, mean=torch.tensor([0.4]))
    assert choose_probe(split, images=40).fingerprint != choose_probe(other, images=40).fingerprint


def test_probes_that_differ_are_refused_with_both_fingerprints():
    first, second = (choose_probe(_split(), images=10, seed=seed).fingerprint for seed in (0, 1))
    check_same_probe(first, first)
    with pytest.raises(DataError, match=rf"{first[:12]} and {second[:12]}"):
        check_same_probe(first, second)


def test_the_fingerprint_of_batches_ignores_how_they_are_cut_and_their_labels():
    inputs, labels = torch.randn(12, 3), torch.arange(12)
    pairs = [(inputs[start : start + 5], labels[start : start + 5]) for start in (0, 5, 10)]
    cut = [inputs[start : start + 4] for start in (0, 4, 8)]
    assert fingerprint_of(pairs) == fingerprint_of(cut) == fingerprint_of([inputs])


def test_the_fingerprint_of_batches_depends_on_order_content_and_type():
    inputs = torch.randn(6, 3)
    found = {
        fingerprint_of([part]) for part in (inputs, inputs.flip(0), inputs + 1, inputs.double(), inputs.bfloat16())
    }
    assert len(found) == 5


def test_the_fingerprint_of_dictionaries_is_that_of_their_inputs():
    ids, mask = torch.arange(6).view(3, 2), torch.ones(3, 2)
    with_labels = {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(3)}
    assert fingerprint_of([with_labels]) == fingerprint_of([{"attention_mask": mask, "input_ids": ids}])
    assert fingerprint_of([with_labels]) != fingerprint_of([{"attention_mask": mask * 0, "input_ids": ids}])


def test_memory_layout_makes_no_odds():
    images = torch.randn(2, 3, 4, 4)
    last = images.to(memory_format=torch.channels_last)
    first, second = InputHash(), InputHash()
    first.add(images)
    second.add(last)
    assert first.fingerprint == second.fingerprint
