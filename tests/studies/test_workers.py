"""Worker processes: the same results as in one process, stopped or killed at any moment, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path

import pytest

from tests.studies import worker_toys
from tests.studies.test_execution import planned
from weightscape.errors import WeightscapeError
from weightscape.operation import operation
from weightscape.studies.executors import crew, transport
from weightscape.studies.executors.agenda import Agenda
from weightscape.studies.executors.execution import Event, Run, run_plan
from weightscape.studies.executors.ledger import Ledger
from weightscape.studies.executors.messages import Share
from weightscape.studies.executors.outcomes import outcomes_of
from weightscape.studies.executors.transport import pack, unpack
from weightscape.studies.executors.worker import Outbox
from weightscape.studies.executors.workplaces import visible_gpus
from weightscape.studies.tables import write_study
from weightscape.studies.workspace.store import Store

ROOT = Path(__file__).parents[2]
PAIRS = """
  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1, 2], fail: [false, true]}}
  joined:
    run: toy-join
    from: {source: made.lines, target: made.lines}
    where: source.seed < target.seed and not source.fail
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def run_dotted(stages: str, store: Store, **options: object) -> Run:
    return run_plan(planned(stages.replace("toys.", "tests.studies.worker_toys.")), store, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "object.json"
    }


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail after a time that only a broken program needs."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        if sys.platform == "linux":  # where one that nobody has waited for yet can still be told from a living one
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
    return True


def interrupt_when(path: Path, *, again_when: Callable[[], bool] | None = None) -> threading.Thread:
    """Press Ctrl-C once a task has begun, and again where that is wanted."""

    def press() -> None:
        wait_for(path.exists)
        os.kill(os.getpid(), signal.SIGINT)
        if again_when is not None:
            wait_for(again_when)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_processes_give_the_bytes_that_one_process_gives(tmp_path: Path) -> None:
    plan = planned(PAIRS)
    found = []
    for workers in (0, 1, 3):
        store = Store(tmp_path / str(workers))
        run = run_plan(plan, store, workers=workers, threads=1)
        assert {status: run.count(status) for status in ("done", "failed", "blocked")} == {  # type: ignore[arg-type]
            "done": 6,
            "failed": 3,
            "blocked": 3,
        }
        write_study(plan, run.outcomes, store)
        found.append({name: contents(store.folder / name) for name in ("objects", "studies")})
        assert run_plan(plan, store, workers=workers).count("cached") == 6
    assert found[0] == found[1] == found[2]


def test_a_failure_has_its_traceback_in_the_log(store: Store) -> None:
    plan = planned("  made: {run: toy-make, with: {size: 3, fail: true}}")
    run = run_plan(plan, store, workers=1)
    (key,) = plan.tasks
    assert run.outcomes[key].message == "RuntimeError: asked to fail"
    assert 'raise RuntimeError("asked to fail")' in store.log_file(key).read_text()


def test_a_folder_on_the_path_that_is_no_text_is_passed_over(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    assert run_dotted("  looked: {run: toys.look}", store, workers=1).count("done") == 1


def test_a_process_that_dies_fails_its_task_alone_and_the_cause_is_named(store: Store) -> None:
    stages = f"""
  killed: {{run: toys.die, with: {{signal: {int(signal.SIGKILL)}}}}}
  crashed: {{run: toys.die, with: {{signal: {int(signal.SIGSEGV)}}}}}
  left: {{run: toys.die, with: {{code: 7}}}}
  well: {{run: toys.die}}
"""
    run = run_dotted(stages, store, workers=1)
    messages = [outcome.message for outcome in run.outcomes.values()]
    assert "SIGKILL" in messages[0]
    assert "memory" in messages[0]
    assert "SIGSEGV" in messages[1]
    assert "exit code 7" in messages[2]
    assert (run.count("failed"), run.count("done")) == (3, 1)
    log = store.log_file(next(iter(run.outcomes))).read_text()
    assert "last words" in log
    assert log.endswith(messages[0])


def test_a_death_is_noticed_though_a_process_left_behind_keeps_the_pipe_open(store: Store, tmp_path: Path) -> None:
    left = tmp_path / "left"
    run = run_dotted(f"  forked: {{run: toys.fork, with: {{left: {left}}}}}", store, workers=1)
    (outcome,) = run.outcomes.values()
    assert "exit code 9" in outcome.message
    child = int(left.read_text())
    assert is_alive(child), "the run did not wait for its end"
    os.kill(child, signal.SIGKILL)


def test_a_process_that_dies_between_tasks_fails_none(store: Store) -> None:
    def kill_idle(event: Event) -> None:
        record = store.get(event.task.key)
        if event.outcome is not None and record is not None:
            pid = int(str(record.metrics["pid"]))
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not is_alive(pid))

    run = run_dotted("  looked: {run: toys.look, grid: {seed: [1, 2]}}", store, workers=1, listen=kill_idle)
    assert run.count("done") == 2


def test_a_process_that_dies_before_it_begins_with_a_task_fails_none(store: Store) -> None:
    killers: list[threading.Timer] = []

    def freeze_idle(event: Event) -> None:
        record = store.get(event.task.key)
        if event.outcome is not None and record is not None and not killers:
            pid = int(str(record.metrics["pid"]))
            os.kill(pid, signal.SIGSTOP)  # it is sent the next task, and never hears of it
            killers.append(threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)))
            killers[0].start()

    run = run_dotted("  looked: {run: toys.look, grid: {seed: [1, 2]}}", store, workers=1, listen=freeze_idle)
    assert len(killers) == 1
    assert run.count("done") == 2


def test_a_task_that_nobody_begins_with_is_handed_out_a_few_times_only(store: Store) -> None:
    plan = planned("  looked: {run: tests.studies.worker_toys.look, grid: {seed: [1]}}")
    ledger = Ledger(Agenda(plan, outcomes_of(plan, store)), store, lambda event: None)
    tries = 0
    while True:
        (task,) = ledger.next_group()
        tries += 1
        if not ledger.put_back(task):
            break
    assert 1 < tries < 10
    assert ledger.next_group() == ()


def test_messages_of_several_threads_arrive_whole() -> None:
    ours, theirs = Pipe()
    outbox = Outbox(theirs)
    texts = [str(number) * 50_000 for number in range(4)]

    def speak(text: str) -> None:
        for number in range(20):
            outbox.send(Share("key", number, text))

    threads = [threading.Thread(target=speak, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    heard = Counter((message.share, message.text) for message in (ours.recv() for _ in range(80)))
    assert heard == Counter((number, text) for number in range(20) for text in texts)
    for thread in threads:
        thread.join()


def test_a_message_that_is_cut_off_is_the_end_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Pipe()
    worker = crew.Worker.__new__(crew.Worker)
    worker.connection = ours
    with theirs:
        os.write(theirs.fileno(), (50_000).to_bytes(4, "big") + b"the first words")
    with pytest.raises(EOFError):
        list(worker.hear())
    ours.close()


def test_a_task_that_is_asked_to_stop_saves_its_state_and_is_continued(store: Store, tmp_path: Path) -> None:
    stages = f"  waiting: {{run: toys.wait, with: {{begun: {tmp_path / 'begun'}}}}}"
    pressing = interrupt_when(tmp_path / "begun")
    first = run_dotted(stages, store, workers=1)
    pressing.join()
    assert (first.interrupted, first.count("waiting")) == (True, 1)
    assert run_dotted(stages, store, workers=1).count("done") == 1


def test_a_task_that_hears_nothing_is_killed_when_its_time_is_over(store: Store, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    pressing = interrupt_when(begun)
    run = run_dotted(f"  stuck: {{run: toys.stuck, with: {{begun: {begun}}}}}", store, workers=1, patience=0.3)
    pressing.join()
    (outcome,) = run.outcomes.values()
    assert (run.interrupted, outcome.status) == (True, "waiting")
    assert "did not stop within 0.3 s" in outcome.message
    assert not is_alive(int(begun.read_text()))


def test_a_second_signal_ends_the_run_and_its_processes_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, heard = tmp_path / "begun", threading.Event()
    monkeypatch.setattr(crew.Worker, "halt", lambda worker: heard.set())
    pressing = interrupt_when(begun, again_when=heard.is_set)
    with pytest.raises(KeyboardInterrupt):
        run_dotted(f"  stuck: {{run: toys.stuck, with: {{begun: {begun}}}}}", store, workers=1, patience=600.0)
    pressing.join()
    assert not is_alive(int(begun.read_text()))


def start_driver(folder: Path, stages: str) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    code = f"""
        from pathlib import Path
        from tests.studies.test_workers import run_dotted
        from weightscape.studies.workspace.store import Store
        run = run_dotted({stages!r}, Store(Path({str(folder)!r})), workers=2)
        print(*(outcome.status for outcome in run.outcomes.values()))
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process notices when its call returns")
def test_no_process_outlives_a_run_that_was_killed(store: Store, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    driver = start_driver(store.folder, f"  stuck: {{run: toys.stuck, with: {{begun: {begun}}}}}")
    wait_for(lambda: begun.exists() and bool(begun.read_text()))
    assert is_alive(int(begun.read_text()))
    driver.kill()
    driver.communicate()
    wait_for(lambda: not is_alive(int(begun.read_text())))


@pytest.mark.slow
def test_two_runs_on_one_store_share_the_work_and_compute_nothing_twice(store: Store, tmp_path: Path) -> None:
    computed = tmp_path / "computed"
    computed.mkdir()
    stages = f"""
  slow: {{run: toys.slow, with: {{computed: {computed}}}, grid: {{seed: [0, 1, 2, 3, 4, 5, 6, 7]}}}}
  added:
    run: toys.add
    from: {{source: slow.lines, target: slow.lines}}
    with: {{computed: {computed}}}
    where: target.seed = source.seed + 1
"""
    drivers = [start_driver(store.folder, stages) for _ in range(2)]
    statuses = [driver.communicate()[0].split() for driver in drivers]
    assert all(set(found) <= {"done", "cached"} for found in statuses), statuses
    done = [sum(status == "done" for status in found) for found in statuses]
    assert sum(done) == 15, "each task makes a file that must not exist before"
    assert len(list(computed.iterdir())) == 15


def test_what_tasks_print_is_shown_where_the_run_prints(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_dotted("  said: {run: toys.speak, grid: {text: [one, ü]}}", store, workers=1)
    assert run.count("done") == 2
    out, err = capsys.readouterr()
    assert sorted(out.split("raw bytes, no newline")) == ["", "out one\n", "out ü\n"]
    assert sorted(err.splitlines()) == ["err one", "err ü"]


@pytest.mark.slow
def test_devices_and_cores_are_divided(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("weightscape.studies.executors.workplaces.available_cores", lambda: 8)
    events: list[Event] = []
    run = run_dotted(
        "  looked: {run: toys.look, grid: {seed: [0, 1, 2, 3]}}",
        store,
        workers=None,
        per_gpu=1,
        device="cuda",
        count_gpus=lambda: 2,
        listen=events.append,
    )
    records = [store.get(key) for key in run.outcomes]
    found = {record.metrics["device"]: record.metrics["pid"] for record in records if record}
    assert set(found) == {"cuda:0", "cuda:1"}
    assert len(set(found.values())) == 2
    assert {record.metrics["threads"] for record in records if record} == {"4"}


@pytest.mark.slow
def test_threads_are_set_again_for_each_task_and_recorded(store: Store) -> None:
    run = run_dotted("  used: {run: toys.use_torch, grid: {meddle: [3, 5]}}", store, workers=1, threads=2)
    records = [record for key in run.outcomes if (record := store.get(key))]
    assert [record.metrics["number"] for record in records] == [2, 2]
    assert visible_gpus() >= 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_task_tells_torch_to_do_is_undone_after_it(store: Store, workers: int) -> None:
    run = run_dotted("  used: {run: toys.change_settings, grid: {seed: [0, 1, 2]}}", store, workers=workers)
    records = [record for key in run.outcomes if (record := store.get(key))]
    assert [record.metrics["number"] for record in records] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_copy_that_a_task_makes_of_its_process_publishes_nothing(store: Store, workers: int) -> None:
    run = run_dotted("  used: {run: toys.doubled, grid: {seed: [0, 1, 2]}}", store, workers=workers)
    assert [outcome.status for outcome in run.outcomes.values()] == ["done"] * 3
    records = [record for key in run.outcomes if (record := store.get(key))]
    assert [record.metrics["number"] for record in records] == [0, 1, 2]


def test_settings_survive_the_way_to_another_process(store: Store) -> None:
    stages = PAIRS + (
        "  other: {run: toy-make, with: {size: 1, recipe: {epochs: 3, pace: {name: slow, delay: 4}}}}\n"
        "  trained: {run: train, with: {data: digits, model: {name: mlp, hidden: [4]}, recipe: {epochs: 1}}}\n"
        "  moved: {run: transfer, from: {source: trained, target: trained}, with: {steps: 2, method: gmt}}\n"
    )
    plan = planned(stages)
    for key, task in plan.tasks.items():
        there = unpack(pack(task))
        assert (there.key, there.settings, there.operation) == (key, task.settings, task.operation)


def test_an_operation_of_the_running_script_is_refused_before_anything_starts(store: Store) -> None:
    @operation("worker-toy-homeless", version=1)
    def homeless() -> worker_toys.Number:
        """Live in a script."""
        return worker_toys.Number(1)

    plan = planned("  made: {run: worker-toy-homeless}")
    homeless.function.__module__ = "__main__"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "__spec__", None)
        with pytest.raises(WeightscapeError, match=r"Move it into a module of its own, or use workers=0"):
            run_plan(plan, store, workers=1)


def test_code_that_changed_since_the_plan_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_operation.py"
    file.write_text((Path(__file__).parent / "worker_toys.py").read_text().replace("worker-toy", "edited"))
    plan = planned("  looked: {run: edited_operation.look}")
    monkeypatch.setattr(transport, "_SEEN", {})
    file.write_text(file.read_text() + "# edited while the run was waiting\n")
    run = run_plan(plan, store, workers=1)
    (outcome,) = run.outcomes.values()
    assert outcome.status == "failed"
    assert "was changed after this run was planned" in outcome.message


def test_processes_that_cannot_start_end_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_START", "raise SystemExit('no such thing here')")
    with pytest.raises(WeightscapeError, match=r"cannot start:\nno such thing here"):
        run_plan(planned("  made: {run: toy-make, with: {size: 1}}"), store, workers=1)
