import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightscape.seeds import derive, numpy_stream, seeded, stream

names = st.tuples(
    st.integers(0, 2**40), st.text(max_size=5), st.lists(st.integers(0, 99) | st.text(max_size=3), max_size=3)
)


@given(names, names)
def test_streams_differ_exactly_when_their_names_do(left, right):
    seeds = [derive(seed, purpose, *index) for seed, purpose, index in (left, right)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert (seeds[0] == seeds[1]) == (left == right)


def test_the_parts_of_a_name_do_not_run_together():
    seeds = {derive(1, "a", 1, 2), derive(1, "a", 12), derive(1, "a", "1", 2), derive(11, "a", 2), derive(1, "a1", 2)}
    assert len(seeds) == 5


def test_streams_do_not_depend_on_the_process():
    code = "from weightscape.seeds import derive; print(derive(3, 'order', 7, 'x'))"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == derive(3, "order", 7, "x")


def test_each_stream_starts_at_its_beginning():
    assert torch.equal(torch.rand(9, generator=stream(1, "order", 2)), torch.rand(9, generator=stream(1, "order", 2)))
    assert not torch.equal(
        torch.rand(9, generator=stream(1, "order", 2)), torch.rand(9, generator=stream(1, "order", 3))
    )
    assert np.array_equal(numpy_stream(1, "match").random(9), numpy_stream(1, "match").random(9))


def test_neighbouring_seeds_give_uncorrelated_streams():
    draws = torch.stack([torch.randn(2000, generator=stream(seed, "init")) for seed in range(20)])
    correlations = torch.corrcoef(draws)[*torch.triu_indices(20, 20, offset=1)]
    assert correlations.abs().max() < 5 / 2000**0.5


def test_lending_the_global_generator_leaves_all_generators_alone():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    with seeded(0, "init"):
        first = torch.rand(3)
    with seeded(0, "init"):
        torch.testing.assert_close(torch.rand(3), first, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002


def test_lending_the_global_generator_ends_with_an_error_too():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(0, "init"):
        raise ZeroDivisionError(torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_lending_the_cpu_generator_does_not_seed_other_devices(monkeypatch):
    """torch.manual_seed seeds CUDA too, which restoring the CPU generator does not undo."""
    seeded_devices = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_devices.append)
    with seeded(0, "init"):
        torch.rand(1)
    assert seeded_devices == []


def test_a_lent_generator_and_a_stream_of_one_name_agree():
    with seeded(4, "head"):
        lent = torch.rand(5)
    assert torch.equal(lent, torch.rand(5, generator=stream(4, "head")))
