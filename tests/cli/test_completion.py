"""Tab completion, asked as the shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from weightscape.cli.main import app
from weightscape.data.catalogue import names
from weightscape.models.architecture import NAMES
from weightscape.recipes import recipe_names

Ask = Callable[..., list[str]]
HEAVY = ["torch", "numpy", "pandas", "pyarrow", "matplotlib", "duckdb", "scipy", "sklearn"]


@pytest.fixture
def ask(cli: Callable[..., Result], study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return what the shell would offer for the last word, in a workspace where a study was run."""
    assert cli("run", study, "--device", "cpu", "--workers", "0").exit_code == 0

    monkeypatch.chdir(tmp_path)

    def answer(*words: str) -> list[str]:
        done = CliRunner().invoke(app, [], prog_name="weightscape", env=asked(*words))
        assert (done.exit_code, done.stderr) == (0, "")
        return done.stdout.split()

    return answer


def asked(*words: str) -> dict[str, str]:
    """Return the environment in which the shell asks."""
    text = " ".join(["weightscape", *words])
    return {"_WEIGHTSCAPE_COMPLETE": "complete_bash", "COMP_WORDS": text, "COMP_CWORD": str(len(words))}


@pytest.mark.parametrize("words", [["run", ""], ["train", "--model", "m"], ["table", "digits-transfer", ""]])
def test_the_program_itself_answers_and_loads_nothing_heavy_for_it(words: list[str]) -> None:
    code = (
        "import sys\nfrom weightscape.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    environment = {**os.environ, **asked(*words)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert len(done.stdout.splitlines()) > 1


def test_studies_of_all_kinds_are_offered(ask: Ask) -> None:
    assert set(ask("run", "")) >= {*recipe_names(), "toys", "toys.yaml"}
    assert ask("run", "digits-tr") == [name for name in recipe_names() if name.startswith("digits-tr")]


def test_stages_and_figures_of_the_study_are_offered(ask: Ask) -> None:
    assert ask("table", "toys", "") == ["joined", "made"]
    assert ask("table", "toys.yaml", "m") == ["made"]
    assert ask("figure", "toys", "") == ["curve"]
    assert ask("table", "no-such-study", "") == []


def test_details_keys_and_references_are_offered(ask: Ask, tmp_path: Path) -> None:
    assert ask("table", "toys", "made", "--detail", "") == ["steps"]
    key = next((tmp_path / "runs/objects").glob("*/*")).name
    assert ask("show", key[:6]) == [key]
    assert ask("transfer", "toys/") == ["toys/joined", "toys/made"]


def test_names_of_models_data_sets_and_choices_are_offered(ask: Ask) -> None:
    assert ask("train", "--model", "") == sorted(NAMES)
    assert ask("layers", "resnet1") == ["resnet18"]
    assert ask("data", "show", "") == sorted(names())
    assert ask("transfer", "--method", "") == ["fgmt", "gmt", "naive", "oracle"]
    assert ask("run", "toys", "--device", "c") == ["cpu", "cuda"]


def test_verbs_and_options_are_offered(ask: Ask) -> None:
    assert ask("ver") == ["verify"]
    assert ask("verify", "--re") == ["--repair"]
