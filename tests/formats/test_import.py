"""``run: import``: files of others become rows that every operation takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
import torch
from tests.markdown_examples import run_command

from weightscape.errors import SpecificationError, StoreError
from weightscape.models.building import build_model
from weightscape.studies.document import read_text
from weightscape.studies.executors.execution import Run, run_plan
from weightscape.studies.opening import trajectories
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.sources import Sources
from weightscape.studies.specification import validate_study
from weightscape.studies.tables import stage_table, write_study
from weightscape.studies.workspace.store import Store

MLP = {"name": "mlp", "hidden": [4]}
STAGES = """
  imported:
    run: import
    with: {files: FILES, step: "seed{seed}/ep{epoch}.pt", model: {name: mlp, hidden: [4]}, data: digits}
  measured: {run: evaluate, from: imported@last}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    for seed in range(2):
        for epoch in range(2):
            save(tmp_path / f"runs/seed{seed}/ep{epoch}.pt", 10 * seed + epoch)
    return tmp_path


def save(path, seed, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    network = build_model(MLP, shape=(1, 8, 8), classes=10, seed=seed)
    torch.save({"model": torch.nn.DataParallel(network).state_dict(), **more}, path)


def planned(folder: Path, stages: str = STAGES, runs: str = "runs", store: Store | None = None) -> Plan:
    text = stages.replace("FILES", f'"{folder}/{runs}/*/ep*.pt"')
    return plan_study(validate_study(read_text(f"study: t\nstages:{text}")), sources=Sources(store))


def problems(call: Callable[[], object]) -> str:
    with pytest.raises(SpecificationError) as caught:
        call()
    return str(caught.value)


def test_each_run_is_a_row_with_its_settings_and_feeds_other_operations(folder):
    store, plan = Store(folder / "w"), planned(folder)
    assert [(row.settings["seed"], row.settings["path"]) for row in plan.stages["imported"].rows] == [
        (seed, f"{folder}/runs/seed{seed}") for seed in range(2)
    ]
    done: Run = run_plan(plan, store)
    assert done.count("done") == 4
    table = stage_table(plan, "measured", done.outcomes, store)
    assert table["weights.seed"].tolist() == [0, 1]
    imported = store.get(plan.stages["imported"].rows[1].key)
    assert imported is not None
    ends = {"first": "0ep", "last": "1ep", "count": 2}
    assert imported.metrics == {**ends, "tensors": 2, "numbers": 64 * 4 + 4 * 10, "checked": True}
    expected = build_model(MLP, shape=(1, 8, 8), classes=10, seed=11).state_dict()
    found = imported.artefact("trajectory").at("1ep")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert imported.artefact("snapshots")["member"].tolist() == ["model", "model"]


def test_keys_follow_the_content_and_not_the_place(folder):
    before = planned(folder)
    shutil.move(folder / "runs", folder / "elsewhere")
    for seed in range(2):
        os.rename(folder / f"elsewhere/seed{seed}", folder / f"elsewhere/renamed_seed{seed}")
    anywhere = STAGES.replace("seed{seed}", "*seed{seed}")
    assert planned(folder, anywhere, runs="elsewhere").tasks.keys() == before.tasks.keys()
    save(folder / "elsewhere/renamed_seed1/ep1.pt", 99)
    after = planned(folder, anywhere, runs="elsewhere")
    pairs = zip(before.stages["imported"].rows, after.stages["imported"].rows, strict=True)
    same = [left.key == right.key for left, right in pairs]
    assert same == [True, False]


def test_another_step_for_the_same_files_is_another_result(folder):
    shifted = STAGES.replace("{epoch}", "{iteration}")
    assert not planned(folder).tasks.keys() & planned(folder, shifted).tasks.keys()


def test_a_result_is_verified_by_its_own_record(folder):
    from weightscape.studies.workspace.verification import rehashed

    store, plan = Store(folder / "w"), planned(folder)
    run_plan(plan, store)
    shutil.rmtree(folder / "runs")
    for key in plan.tasks:
        record = store.get(key)
        assert record is not None
        assert not record.damaged()
        assert rehashed(record.content) == key


def test_a_file_changed_after_planning_is_not_imported_under_the_old_key(folder):
    store, plan = Store(folder / "w"), planned(folder)
    save(folder / "runs/seed1/ep1.pt", 99)
    done = run_plan(plan, store)
    failed = [outcome.message for outcome in done.outcomes.values() if outcome.status == "failed"]
    assert len(failed) == 1
    assert "ep1.pt was changed after this study was planned" in failed[0]
    assert run_plan(planned(folder), store).count("done") == 2


def test_files_that_do_not_fit_the_model_fail_alone_and_are_named(folder):
    store, plan = Store(folder / "w"), planned(folder, STAGES.replace("hidden: [4]", "hidden: [5]"))
    done = run_plan(plan, store)
    message = done.outcomes[plan.stages["imported"].rows[0].key].message
    assert "ep0.pt does not fit the model. 2 tensors differ: linear1.weight is (4, 64) instead of (5, 64)" in message


def test_what_is_wrong_with_files_is_said_before_anything_starts(folder):
    text = problems(lambda: planned(folder, runs="nowhere"))
    assert "stages.imported.with.files" in text
    assert "No file of weights is named" in text
    save(folder / "runs/seed0/ep1_copy.pt", 1)
    assert "both of step 1ep" in problems(
        lambda: planned(folder, STAGES.replace('"seed{seed}/ep{epoch}.pt"', '"seed{seed}/ep{epoch}*"'))
    )
    assert "stages.imported.with.step" in problems(
        lambda: planned(folder, STAGES.replace('"seed{seed}/ep{epoch}.pt"', "15epochs"))
    )
    assert "with.data" in problems(lambda: planned(folder, STAGES.replace(", data: digits}", "}", 1)))


def test_patterns_that_are_no_yaml_are_typed_as_they_are(folder, monkeypatch):
    monkeypatch.chdir(folder / "runs/seed0")
    monkeypatch.setenv("WEIGHTSCAPE_WORKSPACE", str(folder / "w"))
    code, printed = run_command(["import", "--files", "*.pt", "--step", "{part}{epoch}.pt"])
    assert code == 0, printed
    assert "last     1ep" in printed
    code, printed = run_command(["import", "--files", "*.pt", "--model", "*"])
    assert code == 2
    assert "--model" in printed


def test_a_setting_called_like_an_option_gets_another_name(folder):
    save(folder / "runs/seed0/ep0.pt", 0, args={"model": "resnet", "lr": 0.1})
    save(folder / "runs/seed0/ep1.pt", 1, args={"model": "resnet", "lr": 0.1})
    row = planned(folder).stages["imported"].rows[0].settings
    assert (row["run_model"], row["model"]["name"], row["lr"]) == ("resnet", "mlp", 0.1)


def test_a_setting_called_like_a_column_of_the_table_gets_another_name(folder):
    stages = STAGES.replace("seed{seed}", "{count}")
    (folder / "runs/seed0/run.json").write_text('{"settings": {"status": "x", "key": 1, "tensors": 2}}')
    plan, store = planned(folder, stages), Store(folder / "w")
    table = stage_table(plan, "imported", run_plan(plan, store).outcomes, store)
    assert table["run_status"].tolist()[0] == "x"
    assert table["status"].tolist() == ["done", "done"]
    assert table["key"].tolist() == [row.key for row in plan.stages["imported"].rows]
    assert (table["run_count"].tolist(), table["count"].tolist()) == (["seed0", "seed1"], [2, 2])


def test_settings_of_several_types_are_text_in_the_tables(folder):
    (folder / "runs/seed0/run.json").write_text('{"settings": {"lr": 0.1, "size": 1000000000000000000000000000000}}')
    (folder / "runs/seed1/run.json").write_text('{"settings": {"lr": "fast", "size": "\\ud800"}}')
    plan, store = planned(folder), Store(folder / "w")
    write_study(plan, run_plan(plan, store).outcomes, store)
    for name in ("imported", "imported.snapshots"):
        table = pandas.read_parquet(store.study_folder("t") / f"{name}.parquet").drop_duplicates("key")
        assert table["lr"].tolist() == ["0.1", "fast"]
        assert table["size"].tolist() == [str(10**30), "\\ud800"]


def test_planning_loads_no_torch(folder):
    code = (
        "import sys; from weightscape.studies.document import read_text; "
        "from weightscape.studies.planning import plan_study; "
        "from weightscape.studies.specification import validate_study; "
        "plan = plan_study(validate_study(read_text(sys.argv[1]))); "
        "assert len(plan.tasks) == 4; assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    text = "study: t\nstages:" + STAGES.replace("FILES", f'"{folder}/runs/*/ep*.pt"')
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def workspace(folder):
    store, plan = Store(folder / "w"), planned(folder)
    write_study(plan, run_plan(plan, store).outcomes, store)
    return folder / "w"


def test_trajectories_open_in_one_line_by_settings_and_step(workspace):
    found = trajectories("t/imported", workspace=workspace)
    assert found.to_frame()["step"].tolist() == ["0ep", "1ep"] * 2
    chosen = trajectories("t/imported", where="seed = 1 and model.name = 'mlp'", step="1ep", workspace=workspace)
    expected = build_model(MLP, shape=(1, 8, 8), classes=10, seed=11).state_dict()
    assert torch.equal(chosen[0]["linear1.weight"], expected["linear1.weight"])
    written = trajectories("t/imported@1ep?seed = 1", workspace=Store(workspace))
    assert written.labels == chosen.labels
    by_key = trajectories(chosen.labels[0].partition("@")[0], workspace=workspace)
    assert len(by_key) == 2


def test_opening_reads_no_weights(workspace, monkeypatch):
    monkeypatch.setattr(torch.UntypedStorage, "from_file", None)
    assert len(trajectories("t/imported@last", workspace=workspace)) == 2


def test_results_count_when_the_files_are_gone_and_not_when_they_are_wrong(workspace, folder, caplog):
    store = Store(workspace)
    before = planned(folder, store=store)
    save(folder / "runs/seed0/ep00.pt", 5)
    assert "both of step 0ep" in problems(lambda: planned(folder, store=store))
    shutil.rmtree(folder / "runs")
    after = planned(folder, store=store)
    assert list(after.tasks) == list(before.tasks)
    assert after.stages["measured"].rows == before.stages["measured"].rows
    assert "the results from before are used" in caplog.text
    other = STAGES.replace("digits}", "{name: digits, fraction: 0.5}}")
    assert "No file of weights is named" in problems(lambda: planned(folder, other, store=store))
    shutil.rmtree(workspace / "objects")
    assert "No file of weights is named" in problems(lambda: planned(folder, store=Store(workspace)))


def test_what_cannot_be_opened_says_why(workspace, folder):
    assert "Did you mean 'imported'" in problems(lambda: trajectories("t/importd", workspace=workspace))
    assert "one condition" in problems(lambda: trajectories("t/imported?seed=1", where="seed=0", workspace=workspace))
    assert '"sed" not found' in problems(lambda: trajectories("t/imported", where="sed=1", workspace=workspace))
    with pytest.raises(StoreError, match="holds for none of 2 rows"):
        trajectories("t/imported", where="seed = 7", workspace=workspace)
    with pytest.raises(StoreError, match="No snapshot was kept at 9ep"):
        trajectories("t/imported", step="9ep", workspace=workspace)
    shutil.rmtree(next((workspace / "objects").glob("*/*/trajectory")).parent)
    with pytest.raises(StoreError, match=r"1 of 2 rows .* no result yet"):
        trajectories("t/imported", workspace=workspace)
    assert len(trajectories("t/imported", workspace=workspace, unfinished="skip")) == 2
