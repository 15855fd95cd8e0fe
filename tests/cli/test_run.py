"""Running studies: what is written, what is not done twice, what is said when things go wrong."""

from __future__ import annotations

import errno
import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import Result

from tests.cli.test_help import loaded_by
from weightscape.cli.verbs import guarded
from weightscape.studies.workspace.files import write_text

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[str]"]


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of change of all files."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_run_writes_tables_figures_and_a_report(cli: Cli, study: str, tmp_path: Path) -> None:
    done = cli("run", study, "--device", "cpu")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "runs/studies/toys"
    made = {"plan.json", "made.parquet", "made.steps.parquet", "joined.parquet", "report.html"}
    assert made | {f"figures/curve.{suffix}" for suffix in ("pdf", "png", "csv")} <= set(files(folder))
    assert "6 tasks: 6 done" in done.stdout
    assert str(folder / "figures/curve.pdf") in done.stdout
    assert str(folder / "report.html") in done.stdout
    assert "[6/6]" in done.stderr


def test_a_line_is_printed_for_each_task_with_its_row_and_metrics(cli: Cli, study: str) -> None:
    lines = cli("run", study, "--device", "cpu").stderr.splitlines()
    made = [line for line in lines if "made seed=" in line]
    assert len(made) == 4
    assert re.search(r"done +made seed=1 method=b  .*test_accuracy 0\.865", made[-1])


def test_a_second_run_makes_nothing_and_loads_neither_torch_nor_matplotlib(
    cli: Cli, study: str, tmp_path: Path
) -> None:
    cli("run", study, "--device", "cpu")
    before = files(tmp_path / "runs/objects") | {
        name: content for name, content in files(tmp_path / "runs/studies").items() if "parquet" not in name
    }
    loaded = loaded_by("run", study, "--workspace", str(tmp_path / "runs"))
    after = files(tmp_path / "runs/objects") | files(tmp_path / "runs/studies")
    changed = [name for name, (content, _) in before.items() if after[name][0] != content]
    redrawn = [name for name, (_, time) in before.items() if after[name][1] != time and "plan.json" not in name]
    assert (changed, redrawn) == ([], [])
    assert loaded & {"torch", "matplotlib", "jinja2", "rich.progress"} == set()


def test_a_new_seed_redraws_the_figure(cli: Cli, study: str, tmp_path: Path) -> None:
    cli("run", study, "--device", "cpu")
    picture = tmp_path / "runs/studies/toys/figures/curve.csv"
    before = picture.read_bytes()
    again = json.loads(cli("run", study, "--device", "cpu", "--set", "made.seed=[0, 1, 2]", "--json").stdout)
    assert again["tasks"]["cached"] == 6
    assert again["tasks"]["done"] == 2 + 4
    assert again["figures"][0]["drawn"] is True
    assert picture.read_bytes() != before


def test_failures_are_named_with_their_logs_and_exit_with_3(cli: Cli, study: str, tmp_path: Path) -> None:
    done = cli("run", study, "--device", "cpu", "--set", "made.fail_at=1")
    assert done.exit_code == 3
    assert "6 tasks: 2 done" in done.stdout
    assert "2 of 6 tasks failed; 2 cannot start because of them" in done.stderr
    logs = re.findall(r"log: (\S+)", done.stderr)
    assert len(logs) == 2
    assert all("asked to fail at 1" in Path(log).read_text() for log in logs)
    page = (tmp_path / "runs/studies/toys/report.html").read_text()
    assert "asked to fail at 1" in page
    assert "could not start" in page
    status = json.loads(cli("status", "toys", "--json").stdout)
    assert status["tasks"] | {"seconds": 0} == {
        "done": 0, "cached": 2, "failed": 2, "blocked": 2, "waiting": 0, "seconds": 0,
    }  # fmt: skip
    assert {failure["message"] for failure in status["failures"]} == {"RuntimeError: asked to fail at 1"}


def test_failures_of_one_message_are_told_together_so_that_others_are_seen(cli: Cli, tmp_path: Path) -> None:
    grid = "grid: {size: [1, 2, 3, 4, 5, 6, 7]}"
    (tmp_path / "two.yaml").write_text(
        "study: two\nstages:\n"
        f"  first: {{run: tests.cli.toys.make, with: {{fail_at: 0}}, {grid}}}\n"
        f"  second: {{run: tests.cli.toys.make, with: {{fail_at: 1, seed: 1}}, {grid}}}\n"
    )
    done = cli("run", tmp_path / "two.yaml", "--device", "cpu", "--workers", "0")
    told = done.stderr[done.stderr.index("14 of 14 tasks failed") :]
    assert [told.count(f"RuntimeError: asked to fail at {seed}") for seed in (0, 1)] == [1, 1]
    assert (told.count(": the same"), told.count("log: ")) == (4, 6)
    assert told.count("... and 4 more with the same message: weightscape status two --json") == 2


def test_figures_are_drawn_when_rows_have_failed(cli: Cli, study: str, tmp_path: Path) -> None:
    cli("run", study, "--device", "cpu", "--set", "made.fail_at=1")
    assert (tmp_path / "runs/studies/toys/figures/curve.png").is_file()


def test_a_figure_without_any_result_is_a_failure_of_its_own(cli: Cli, study: str) -> None:
    done = cli("run", study, "--device", "cpu", "--set", "made.seed=[1]", "--set", "made.fail_at=1")
    assert done.exit_code == 2, "an empty join is found first"
    done = cli("figure", study)
    assert done.exit_code == 3
    assert "could not be drawn" in done.stderr


def test_a_figure_of_a_stage_without_a_finished_row_says_so_and_lists_no_columns(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(
        "study: none\nstages:\n  made: {run: tests.cli.toys.make, with: {size: 2, fail_at: 0}}\n"
        "figures:\n  one: {draw: stitch-matching, from: made}\n"
    )
    done = cli("run", tmp_path / "none.yaml", "--device", "cpu", "--workers", "0")
    assert done.exit_code == 3
    said = " ".join(done.stderr.split())
    assert "the figure 'one' could not be drawn: nothing to draw: no row of its stage is finished." in said


def test_a_dry_run_computes_nothing(cli: Cli, study: str, tmp_path: Path) -> None:
    done = cli("run", study, "--dry-run")
    assert done.exit_code == 0
    assert "6 different tasks: 0 done, 6 to compute" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_all_mistakes_are_listed_with_their_places_and_nothing_starts(cli: Cli, tmp_path: Path) -> None:
    line = "  made: {run: tests.cli.toys.make, with: {sise: 4}, grid: {method: [c]}}"
    (tmp_path / "bad.yaml").write_text(
        f"study: bad\nstages:\n{line}\n"
        "figures:\n  one: {draw: transfer-curv, from: made.steps}\n"
        "  two: {draw: transfer-curve, from: made.steps, with: {splt: test, published: mnist-mpl}}\n"
    )
    done = cli("run", tmp_path / "bad.yaml", "--set", "maid.size=3", "--set", "made.pace.rat=1")
    assert done.exit_code == 2
    assert not (tmp_path / "runs").exists()
    for text in [
        f"bad.yaml:3:{line.index('4') + 1} (stages.made.with.sise)", "Did you mean 'size'?", "a value for 'size'",
        f"bad.yaml:3:{line.index('c]') + 1} (stages.made.grid.method.0)", "--set maid.size=3", "Did you mean 'made'?",
        "--set made.pace.rat=1", "Did you mean 'rate'?", "bad.yaml:5:15 (figures.one.draw)",
        "Did you mean 'transfer-curve'?", "(figures.two.with.splt)", "Did you mean 'split'?",
        "(figures.two.with.published)", "Did you mean 'mnist-mlp'?",
    ]:  # fmt: skip
        assert text in done.stderr, text
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "digits-transfr"], "Did you mean 'digits-transfer'?"),
        (["run", "nowhere.yaml"], "a file that exists"),
        (["run", "digits-transfer", "--device", "tpu"], "--device"),
        (["runn"], "Did you mean 'run'?"),
        (["trian", "--model", "mlp"], "Did you mean 'train'?"),
        (["show", "ffffff"], "found none"),
        (["ls", "["], "a regular expression"),
        (["data", "show", "mnits"], "Did you mean 'mnist'?"),
        (["layers", "mpl"], "Did you mean 'mlp'?"),
        (["layers", "mlp", "--shape", "3,x"], "--shape"),
        (["layers", "mlp", "--data", "digit"], "--data"),
        (["recipes", "["], "a regular expression"),
    ],
)
def test_wrong_input_exits_with_2_and_a_remedy(arguments: list[str], expected: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""


def test_a_workspace_that_cannot_be_written_is_bad_input(cli: Cli, study: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cli("run", study, "--device", "cpu", "--workspace", tmp_path / "file" / "runs")
    assert done.exit_code == 2
    assert str(tmp_path / "file") in done.stderr
    assert "weightscape doctor" in " ".join(done.stderr.split())


def test_a_page_that_does_not_fit_on_the_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")  # as the system says it, without a file

    path = tmp_path / "page.html"
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(typer.Exit):
        guarded(lambda: write_text(path, "page"))
    said = " ".join(capsys.readouterr().err.split())
    assert "page.html: No space left on device. Free some space and run the same command again" in said
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(process: Process) -> None:
    outputs = {flag: process("show", "ffffff", *flag).communicate()[1] for flag in [(), ("--debug",)]}
    assert "Traceback" not in outputs[()]
    assert "Traceback" in outputs["--debug",]
    assert "StoreError" in outputs["--debug",]


def test_a_study_imports_code_from_its_own_folder(process: Process, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "neighbour.py").write_text((Path(__file__).parent / "toys.py").read_text())
    (folder / "mine.yaml").write_text("study: mine\nstages: {made: {run: neighbour.make, with: {size: 2}}}\n")
    (tmp_path / "elsewhere").mkdir()
    done = process("run", str(folder / "mine.yaml"), "--device", "cpu", cwd=tmp_path / "elsewhere")
    out, errors = done.communicate(timeout=300)
    assert (done.returncode, "1 task: 1 done" in out) == (0, True), errors


def test_a_study_of_the_workspace_is_found_by_name_with_the_options_it_was_run_with(cli: Cli, study: str) -> None:
    cli("run", study, "--device", "cpu", "--set", "made.size=5")
    rows = json.loads(cli("table", "toys", "made", "--json").stdout)
    assert {(row["size"], row["status"]) for row in rows} == {(5, "done")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_130_and_the_same_command_continues(
    number: signal.Signals, process: Process, tmp_path: Path
) -> None:
    (tmp_path / "wait.yaml").write_text("study: wait\nstages: {wait: {run: tests.cli.toys.wait}}\n")
    command = ("run", str(tmp_path / "wait.yaml"), "--device", "cpu")
    stopped = process(*command)
    assert stopped.stdout is not None
    assert stopped.stdout.readline() == "begun\n"
    stopped.send_signal(number)
    _, errors = stopped.communicate(timeout=300)
    assert stopped.returncode == 130
    assert "the same command continues" in errors
    continued = process(*command)
    out, errors = continued.communicate(timeout=300)
    assert (continued.returncode, "1 done" in out) == (0, True), errors


def test_a_second_signal_ends_a_task_that_hears_none(process: Process, tmp_path: Path) -> None:
    (tmp_path / "deaf.yaml").write_text("study: deaf\nstages: {deaf: {run: tests.cli.toys.deaf}}\n")
    stopped = process("run", str(tmp_path / "deaf.yaml"), "--device", "cpu")
    assert stopped.stdout is not None
    assert stopped.stderr is not None
    assert stopped.stdout.readline() == "begun\n"
    stopped.send_signal(signal.SIGINT)
    assert "Press Ctrl-C again" in stopped.stderr.readline()
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(timeout=300) == 130
    stopped.stdout.close()
    stopped.stderr.close()


def test_a_closed_pipe_is_quiet(process: Process, cli: Cli, study: str) -> None:
    cli("run", study, "--device", "cpu", "--set", "made.size=2000")
    reading = process("table", study, "made", "--set", "made.size=2000", "--detail", "steps", "--csv")
    assert reading.stdout is not None
    assert reading.stderr is not None
    reading.stdout.readline()
    reading.stdout.close()
    errors = reading.stderr.read()
    reading.stderr.close()
    reading.wait(timeout=300)
    assert errors == ""
