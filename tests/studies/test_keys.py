"""Properties of keys: what changes them and what must not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies import toy
from weightscape.operation import Operation, find_operation, operation_names
from weightscape.studies.keys import canonical, content_of, digest, task_key
from weightscape.studies.lock import LOCK_FILE, changes, current

paces = st.one_of(
    st.fixed_dictionaries({"name": st.just("fast")}, optional={"rate": st.floats(0, 10)}),
    st.fixed_dictionaries({"name": st.just("slow")}, optional={"delay": st.integers(0, 10)}),
)
recipes = st.fixed_dictionaries({}, optional={"epochs": st.integers(0, 20), "pace": paces})
options = st.fixed_dictionaries(
    {"size": st.integers(0, 5)}, optional={"seed": st.integers(-3, 3), "recipe": recipes, "fail": st.booleans()}
)


def key(given: dict[str, Any], operation: Operation = toy.make, inputs: dict[str, Any] | None = None) -> str:
    settings = operation.settings.model_validate(given)
    return task_key(operation, settings, inputs or {}, content_of(operation, settings))


@given(options)
def test_a_default_that_is_written_out_does_not_change_the_key(given: dict[str, Any]) -> None:
    written_out = toy.make.settings.model_validate(given).model_dump(mode="json")
    assert key(written_out) == key(given)


@given(options, options)
def test_keys_are_equal_exactly_when_the_validated_settings_are(left: dict[str, Any], right: dict[str, Any]) -> None:
    model = toy.make.settings
    assert (key(left) == key(right)) == (model.model_validate(left) == model.model_validate(right))


@given(options, st.randoms())
def test_the_order_of_options_does_not_matter(given: dict[str, Any], random: Any) -> None:
    names = list(given)
    random.shuffle(names)
    assert key({name: given[name] for name in names}) == key(given)


def test_variants_with_equal_options_do_not_collide() -> None:
    recipes = [{"pace": {"name": "fast"}}, {"pace": {"name": "slow"}}]
    assert len({key({"size": 1, "recipe": recipe}) for recipe in recipes}) == 2


def test_an_integer_for_a_float_is_the_same_value() -> None:
    assert key({"size": 1, "recipe": {"pace": {"name": "fast", "rate": 1}}}) == key(
        {"size": 1, "recipe": {"pace": {"name": "fast", "rate": 1.0}}}
    )


def test_inputs_versions_and_operations_are_part_of_the_key() -> None:
    upstream = {"lines": ["ab" * 16, "lines", None]}
    other_field = {"lines": ["ab" * 16, "other", None]}
    other_step = {"lines": ["ab" * 16, "lines", "3ep"]}
    newer = Operation("toy-once", 2, toy.once.function)
    keys = [key({}, toy.once, given) for given in (upstream, other_field, other_step)] + [key({}, newer, upstream)]
    assert len({*keys, key({}, toy.again, upstream)}) == 5


def test_the_order_of_a_population_is_part_of_the_key() -> None:
    members = [["aa", "weights", None], ["bb", "weights", None]]
    assert key({}, toy.pool, {"members": members}) != key({}, toy.pool, {"members": members[::-1]})


def test_the_source_of_user_code_is_part_of_the_key() -> None:
    settings = toy.make.settings.model_validate({"size": 1})
    assert set(content_of(toy.make, settings)) == {"operation"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_canonical_text_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


def test_canonical_text_has_one_zero_and_no_nan() -> None:
    assert digest({"x": -0.0}) == digest({"x": 0.0})
    with pytest.raises(ValueError, match="Out of range"):
        digest({"x": float("nan")})


def test_a_key_is_thirty_two_hexadecimal_digits() -> None:
    assert len(key({"size": 1})) == 32
    int(key({"size": 1}), 16)


def test_no_default_changed_without_a_higher_version() -> None:
    bundled = [name for name in operation_names() if find_operation(name).is_bundled]
    assert bundled
    assert changes(json.loads(LOCK_FILE.read_text()), current(bundled)) == []


def test_the_lock_notices_changed_defaults_new_operations_and_versions() -> None:
    now = current(["toy-make", "toy-once"])
    before = json.loads(json.dumps(now))
    assert changes(before, now) == []
    before["toy-make"]["defaults"]["recipe"]["epochs"] = 11
    assert changes(before, now) == [
        "toy-make: a default changed at version 1; raise the version, then update the lock."
    ]
    before["toy-make"]["version"] = 0
    assert changes(before, now) == ["toy-make: version 0 became 1; update the lock."]
    del before["toy-once"]
    assert "toy-once: not locked yet; update the lock." in changes(before, now)
