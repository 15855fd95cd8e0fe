"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are shared: how long an example takes says nothing.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def cache_of_decoded_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Decoded data sets go to a folder of the tests, not of the user who runs them."""
    folder = tmp_path_factory.mktemp("decoded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGHTSCAPE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real data sets and published results; tests that need it are skipped without it."""
    candidates = [os.environ.get("WEIGHTSCAPE_TEST_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    for candidate in candidates:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("the shared data folder is not on this machine (set WEIGHTSCAPE_TEST_DATA)")
