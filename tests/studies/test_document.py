"""YAML as studies read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import SpecificationError
from weightscape.studies.document import merge, read_file, read_text

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet="ab :#-1e.", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_is_read_as_itself(value: object) -> None:
    assert read_text(json.dumps({"value": value}, allow_nan=False)).data == {"value": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1e3),
        ("-.5", -0.5),
        (".inf", float("inf")),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("0o17", 15),
        ("0x1f", 31),
        ("010", 10),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("'1'", "1"),
        ("", None),
        ("~", None),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    data = read_text(f"x: {text}").data["x"]
    assert data == value
    assert type(data) is type(value)


def test_every_part_knows_its_place() -> None:
    document = read_text("a: 1\nb:\n  - x\n  - {c: 2}\n", "file.yaml")
    assert document.place(("b", 1, "c")) == "file.yaml:4:9"
    assert document.where(("b", 1, "missing")) == "file.yaml:4:5 (b.1.missing)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "study:2:1: expected each key once"),
        ("a: [", "valid YAML"),
        ("a: !!python/object/apply:os.system ['ls']", "plain values"),
        ("a: {<<: {b: 1}}", "merge key"),
        ("", "an empty document"),
        ("a: \x01", "valid YAML"),
        ("a: !!int abc", "plain values"),
        ("a: !!float abc", "plain values"),
        ("a: !!bool 3", "plain values"),
        ("a: !!map x", "plain values"),
        ("a: !!int {b: 1}", "plain values"),
        ("? [a, b]\n: c", "plain keys"),
        (f"a: {'9' * 5000}", "at most 100 digits"),
        ("a: &a [*a]", "nested without end"),
        ("a: &a {b: *a}", "nested without end"),
        (f"a: {'[' * 3000}{']' * 3000}", "nested without end"),
    ],
)
def test_what_is_not_plain_data_is_refused(text: str, expected: str) -> None:
    with pytest.raises(SpecificationError, match=expected):
        read_text(text)


def test_aliases_that_expand_without_bound_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SpecificationError, match="at most"):
        read_text("\n".join(lines))


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"gone.yaml: expected a readable text file"):
        read_file(tmp_path / "gone.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecificationError, match=r"binary.yaml"):
        read_file(tmp_path / "binary.yaml")


def test_merging_overrides_key_by_key_and_places_follow() -> None:
    base = read_text("a: {b: 1, c: [1, 2]}\nd: 4\ne: 5", "base")
    child = read_text("a: {c: [3], f: 6}\ne: null", "child")
    merged = merge(base, child)
    assert merged.data == {"a": {"b": 1, "c": [3], "f": 6}, "d": 4}
    assert merged.place(("a", "b")).startswith("base")
    assert merged.place(("a", "c", 0)).startswith("child")
    assert merged.place(("a", "f")).startswith("child")
    assert ("a", "c", 1) not in merged.places
