import pytest
import torch

from weightscape.errors import StoreError, WeightscapeError
from weightscape.step import Step
from weightscape.weights.trajectory import Trajectory


def weights(value):
    return {"w": torch.full((2, 3), float(value)), "count": torch.tensor(int(value))}


STEPS = ["10ep", "0ep", "9ep", "100it", "2ep50it"]


@pytest.fixture
def trajectory():
    return Trajectory({Step.parse(text): weights(index) for index, text in enumerate(STEPS)})


def test_snapshots_are_in_the_order_of_time_not_of_their_text(trajectory):
    assert [str(step) for step in trajectory.steps] == ["0ep", "100it", "2ep50it", "9ep", "10ep"]
    assert [float(snapshot.weights["w"][0, 0]) for snapshot in trajectory] == [1, 3, 4, 2, 0]
    assert len(trajectory) == 5


def test_a_snapshot_is_found_by_its_step_and_the_ends_by_name(trajectory):
    assert trajectory.at("9ep")["count"] == 2
    assert trajectory.at(Step(2, 50))["count"] == 4
    assert trajectory.at("first")["count"] == trajectory.first["count"] == 1
    assert trajectory.at("last")["count"] == trajectory.last["count"] == 0


def test_a_saved_trajectory_is_the_same_when_opened(trajectory, tmp_path):
    trajectory.save(tmp_path / "new" / "folder")
    opened = Trajectory.open(tmp_path / "new" / "folder")
    assert opened.steps == trajectory.steps
    for mine, theirs in zip(trajectory, opened, strict=True):
        assert mine.step == theirs.step
        torch.testing.assert_close(mine.weights, theirs.weights, rtol=0, atol=0)


def test_a_trajectory_can_be_saved_where_it_was_opened(trajectory, tmp_path):
    trajectory.save(tmp_path)
    Trajectory.open(tmp_path).save(tmp_path)
    torch.testing.assert_close(Trajectory.open(tmp_path).last, trajectory.last, rtol=0, atol=0)


def test_only_the_snapshots_asked_for_are_read(trajectory, tmp_path):
    trajectory.save(tmp_path)
    for text in set(STEPS) - {"9ep"}:
        (tmp_path / f"{text}.safetensors").write_bytes(b"damaged")
    opened = Trajectory.open(tmp_path)
    assert opened.at("9ep")["count"] == 2
    with pytest.raises(StoreError, match=r"10ep\.safetensors cannot be read"):
        _ = opened.last


def test_adding_to_a_snapshots_dictionary_does_not_change_the_trajectory(trajectory):
    trajectory.first["extra"] = torch.zeros(1)
    assert "extra" not in trajectory.first


def test_a_step_that_was_not_kept_is_refused_with_those_that_were(trajectory):
    with pytest.raises(StoreError, match=r"at 5ep; kept: 0ep, 100it, 2ep50it, 9ep, 10ep.*'keep'"):
        trajectory.at("5ep")


def test_text_that_is_no_step_is_refused(trajectory):
    with pytest.raises(WeightscapeError, match="received 'later'"):
        trajectory.at("later")


def test_with_the_length_of_an_epoch_a_moment_has_many_names(tmp_path):
    written = Trajectory({Step(0, 500): weights(2), Step(2): weights(1)}, iterations_per_epoch=200)
    written.save(tmp_path)
    for trajectory in (written, Trajectory.open(tmp_path)):
        assert [str(step) for step in trajectory.steps] == ["2ep", "2ep100it"]
        assert trajectory.at("500it")["count"] == trajectory.at("1ep300it")["count"] == trajectory.last["count"] == 2


def test_two_names_of_one_moment_are_one_snapshot():
    trajectory = Trajectory({Step(1): weights(1), Step(0, 200): weights(1)}, iterations_per_epoch=200)
    assert trajectory.steps == (Step(1),)


def test_a_file_that_is_no_snapshot_is_refused_with_its_folder(trajectory, tmp_path):
    trajectory.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match=f"{tmp_path.name} should hold only snapshots.*'model'"):
        Trajectory.open(tmp_path)


def test_a_trajectory_has_a_snapshot(tmp_path):
    with pytest.raises(StoreError, match="at least one snapshot"):
        Trajectory({})
    with pytest.raises(StoreError, match="holds no snapshots"):
        Trajectory.open(tmp_path)
    with pytest.raises(StoreError, match="holds no snapshots"):
        Trajectory.open(tmp_path / "absent")
