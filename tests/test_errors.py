import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape import errors
from weightscape.errors import Problem, SpecificationError, WeightscapeError, did_you_mean

NAMES = ["optimizer", "schedule", "batch_size", "epochs"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("position", range(5))
def test_one_dropped_letter_is_found(name, position):
    misspelt = name[:position] + name[position + 1 :]
    assert did_you_mean(misspelt, NAMES) == f"Did you mean {name!r}?"


@given(st.text(max_size=10), st.lists(st.text(max_size=10), max_size=30))
def test_a_hint_names_a_candidate_or_all_of_them(name, candidates):
    hint = did_you_mean(name, candidates)
    if hint.startswith("Did"):
        known = sorted(set(candidates))
        words = [candidate for candidate in known if name in re.split("[-_. /]", candidate)]
        assert hint in {f"Did you mean {' or '.join(map(repr, some))}?" for some in ([one] for one in known)} | {
            f"Did you mean {' or '.join(map(repr, words))}?"
        }
    else:
        assert all(repr(candidate) in hint for candidate in candidates)


def test_without_candidates_there_is_no_hint():
    assert not did_you_mean("anything", [])


def test_of_a_long_list_those_that_contain_the_name_are_told():
    names = [f"setting{number}" for number in range(100)]
    hint = did_you_mean("acc", [*names, "test_accuracy", "best.Accuracy"])
    assert hint == "Known: 'best.Accuracy', 'test_accuracy' and 100 more."
    assert did_you_mean("q", names).count("'setting") == 30
    assert did_you_mean("q", names).endswith(" and 70 more.")


def test_a_name_that_is_a_word_of_several_candidates_means_one_of_them():
    assert did_you_mean("cka", ["rbf-cka", "linear-cka", "l2"]) == "Did you mean 'linear-cka' or 'rbf-cka'?"
    assert did_you_mean("seed", ["seeds", "target.seed"]) == "Did you mean 'seeds'?"
    assert did_you_mean("two", ["one/two", "two-three"]) == "Did you mean 'one/two' or 'two-three'?"


def test_hints_do_not_use_up_or_depend_on_the_order_of_the_candidates():
    assert did_you_mean("q", iter(["b", "a"])) == did_you_mean("q", ["a", "b", "a"]) == "Known: 'a', 'b'."


def test_a_problem_says_where_what_and_what_to_do():
    problem = Problem("study.yaml:3:5 (stages.x.run)", "an operation", "'trian'", "Did you mean 'train'?")
    assert (
        str(problem) == "study.yaml:3:5 (stages.x.run): expected an operation, received 'trian'. Did you mean 'train'?"
    )
    assert str(Problem("--set", "key=value", "'key'")) == "--set: expected key=value, received 'key'."


def test_all_problems_are_told_together():
    problems = [Problem(f"place {index}", "this", "that") for index in range(3)]
    error = SpecificationError(iter(problems))
    assert error.problems == tuple(problems)
    assert str(error).startswith("3 problems; nothing was started.")
    assert [line[2:] for line in str(error).splitlines()[1:]] == [str(problem) for problem in problems]
    assert str(SpecificationError(problems[:1])).startswith("1 problem;")


def test_one_class_catches_all_errors_of_the_package():
    raised = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(raised) > 5
    assert all(issubclass(error, WeightscapeError) for error in raised)
