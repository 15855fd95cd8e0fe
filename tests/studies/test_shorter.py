"""Studies whose longer runs go on from shorter ones, and what a result of training offers to other stages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from weightscape.cli.opening import Opened
from weightscape.cli.telling import print_plan
from weightscape.errors import SpecificationError
from weightscape.report.provenance import mixtures
from weightscape.studies.document import read_text
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.executors.shorter import find_shorter
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.sources import Sources
from weightscape.studies.specification import validate_study
from weightscape.studies.workspace.record import Record, sealed
from weightscape.studies.workspace.store import Store

STUDY = """
study: longer
stages:
  trained:
    run: train
    with:
      data: digits
      model: {{name: mlp, hidden: [8]}}
      recipe: {{epochs: {epochs}, batch_size: 256, {recipe}}}
      keep: {keep}
"""


def _plan(epochs: int, recipe: str = "", keep: str = "ends", more: str = "") -> Plan:
    text = STUDY.format(epochs=epochs, recipe=recipe, keep=keep) + more
    return plan_study(validate_study(read_text(text)), sources=Sources())


def _run(plan: Plan, store: Store) -> Record:
    assert run_plan(plan, store).count("failed") == 0
    record = store.get(next(reversed(plan.tasks)))
    assert record is not None
    return record


def _files(record: Record) -> dict[str, bytes]:
    paths = sorted(path for path in record.folder.rglob("*") if path.is_file() and path.name != "object.json")
    return {str(path.relative_to(record.folder)): path.read_bytes() for path in paths}


def _shorter(plan: Plan, store: Store) -> Record | None:
    (task,) = plan.tasks.values()
    return find_shorter(task, store)


@pytest.fixture
def epochs_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that runs begin in this test, counted from 0."""
    from weightscape.training.learner import Learner

    begun: list[int] = []
    begin = Learner.begin_epoch

    def counted(self: Learner, order_seed: int, epoch: int) -> None:
        if self._seen or epoch:
            begun.append(epoch)
        begin(self, order_seed, epoch)

    monkeypatch.setattr(Learner, "begin_epoch", counted)
    return begun


def test_a_longer_run_takes_the_missing_epochs_alone_and_ends_in_the_same_bytes(
    tmp_path: Path, epochs_taken: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "runs")
    short = _run(_plan(2), store)
    plan = _plan(4)
    found = _shorter(plan, store)
    assert found is not None
    assert found.key == short.key
    print_plan(Opened(plan, store, None), as_json=False)
    assert "1 of them continues a shorter run" in capsys.readouterr().out
    print_plan(Opened(plan, store, None), as_json=True)
    assert json.loads(capsys.readouterr().out)["continues"] == {next(iter(plan.tasks)): short.key}
    epochs_taken.clear()
    continued = _run(plan, store)
    assert epochs_taken == [2, 3]
    fresh = _run(plan, Store(tmp_path / "fresh"))
    assert _files(continued) == _files(fresh)
    assert continued.metrics == fresh.metrics
    assert _files(short) != _files(fresh)


def test_the_longest_of_the_shorter_runs_is_taken_whatever_it_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [_run(_plan(epochs, keep=keep), store).key for epochs, keep in ((1, "ends"), (3, "epochs"), (2, "ends"))]
    found = _shorter(_plan(5), store)
    assert found is not None
    assert found.key == keys[1]
    assert _shorter(_plan(5, keep="[1ep, 5ep]"), store) is not None
    assert _shorter(_plan(5, keep="[1ep, 2ep, 5ep]"), store) is not None
    assert _shorter(_plan(3, keep="[0ep, 1ep, 3ep]"), store) is not None  # of one epoch: that of two lacks 1ep
    assert _shorter(_plan(1), store) is None


def test_a_schedule_that_knows_the_end_begins_from_the_start(tmp_path: Path, epochs_taken: list[int]) -> None:
    store = Store(tmp_path)
    _run(_plan(2, "schedule: cosine"), store)
    epochs_taken.clear()
    plan = _plan(3, "schedule: cosine")
    assert _shorter(plan, store) is None
    _run(plan, store)
    assert epochs_taken[-2:] == [1, 2]


@pytest.mark.parametrize("recipe", ["batch_size: 128", "optimizer: {lr: 0.2}", "early_stopping: 3"])
def test_another_run_is_not_continued(tmp_path: Path, recipe: str) -> None:
    store = Store(tmp_path)
    _run(_plan(1), store)
    text = STUDY.format(epochs=2, recipe="", keep="ends").replace("batch_size: 256, ", f"batch_size: 256, {recipe}")
    text = text.replace("batch_size: 256, batch_size", "batch_size")
    assert _shorter(plan_study(validate_study(read_text(text)), sources=Sources()), store) is None


def test_what_a_run_went_on_from_is_recorded_and_counts_when_rows_are_mixed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    short = _run(_plan(1), store)
    assert "earlier" not in short.content["environment"]
    plan = _plan(2)
    assert _run(plan, store).content["environment"]["earlier"] == short.key
    assert mixtures(plan, store) == []
    content = json.loads((short.folder / "object.json").read_text())
    content["environment"]["processor"] = "another"
    (short.folder / "object.json").write_text(json.dumps(sealed(content)))
    (warning,) = mixtures(plan, Store(tmp_path))
    assert "different processors" in warning
    assert "another (1 of trained)" in warning


def test_a_damaged_shorter_run_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    short = _run(_plan(1), store)
    path = short.folder / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert _shorter(_plan(2), store) is None
    assert _run(_plan(2), store).metrics["iterations"] == 2 * 6


@pytest.mark.slow
def test_a_run_that_was_killed_while_continuing_ends_in_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    _run(_plan(1), store)
    study = tmp_path / "longer.yaml"
    study.write_text(STUDY.format(epochs=60, recipe="", keep="ends"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WEIGHTSCAPE_WORKSPACE": str(store.folder)}
    command = [sys.executable, "-m", "weightscape.cli.main", "run", str(study), "--workers", "0", "--threads", "1"]
    (key,) = _plan(60).tasks
    for _ in range(10):  # on a busy machine a run may end before it is killed
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while run.poll() is None and not list(store.partial_folder(key).glob("0000[012]*.json")):
                time.sleep(0.01)
            run.send_signal(signal.SIGKILL)
        finished = Store(store.folder).get(key)
        if finished is None:
            break
        store.discard(finished)
    assert Store(store.folder).get(key) is None
    assert min(path.name for path in store.partial_folder(key).glob("*.json")) > "000001-000000000"
    assert _files(_run(_plan(60), Store(store.folder))) == _files(_run(_plan(60), Store(tmp_path / "fresh")))


EVALUATED = """
  evaluated: {{run: evaluate, from: {{weights: {reference}}}, with: {{split: validation}}}}
"""


def test_the_best_weights_are_taken_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = _plan(3, more=EVALUATED.format(reference="trained.best"))
    measured = _run(plan, store)
    trained = store.get(next(iter(plan.tasks)))
    assert trained is not None
    assert measured.metrics["accuracy"] == trained.metrics["best_validation_accuracy"]


def test_weights_of_a_run_are_never_taken_without_saying_which() -> None:
    with pytest.raises(SpecificationError, match="trained@last"):
        _plan(1, more=EVALUATED.format(reference="trained"))


def test_best_weights_that_are_kept_anyway_are_stored_once(tmp_path: Path) -> None:
    record = _run(_plan(2, keep="epochs"), Store(tmp_path))
    best = record.folder / "best.safetensors"
    snapshot = record.folder / "trajectory" / f"{record.metrics['best_epoch']}ep.safetensors"
    assert best.stat().st_ino == snapshot.stat().st_ino
    assert not record.damaged()


def test_a_result_of_an_earlier_version_is_made_anew_when_what_it_lacks_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = _run(_plan(1), store)
    content = json.loads((old.folder / "object.json").read_text())
    for field in ("best", "state"):
        del content["outputs"][field], content["files"][f"{field}.safetensors"]
        (old.folder / f"{field}.safetensors").unlink()
    content.pop("seal", None)
    (old.folder / "object.json").write_text(json.dumps(content))
    store = Store(tmp_path)
    assert run_plan(_plan(1), store).count("cached") == 1
    assert _shorter(_plan(2), store) is None
    assert _run(_plan(1, more=EVALUATED.format(reference="trained.best")), Store(tmp_path)).metrics["count"] > 0


OWN = """
from torch.nn import functional


def scaled(logits, targets, *, alpha=1.0):
    return alpha * functional.cross_entropy(logits, targets, reduction="none")
"""


def test_arguments_of_a_loss_of_ones_own_can_be_an_axis_and_its_file_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own_loss_of_a_study.py"
    file.write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)

    def keys() -> list[str]:
        loss = "loss: {name: own_loss_of_a_study.scaled}"
        return list(_plan(1, loss, more="    grid: {recipe.loss.alpha: [0.5, 2.0]}\n").tasks)

    before = keys()
    store = Store(tmp_path / "runs")
    plan = _plan(1, "loss: {name: own_loss_of_a_study.scaled}", more="    grid: {recipe.loss.alpha: [0.5, 2.0]}\n")
    assert run_plan(plan, store).count("done") == 2
    low, high = (_start_loss(store, key) for key in before)
    assert high == pytest.approx(4 * low)
    file.write_text(OWN.replace("alpha *", "3 * alpha *"))
    os.utime(file, (1, 1))
    assert not set(before) & set(keys())


def _start_loss(store: Store, key: str) -> float:
    record = store.get(key)
    assert record is not None
    table: Any = record.artefact("epochs")
    return float(table["validation_loss"][0])
