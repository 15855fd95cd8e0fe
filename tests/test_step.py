import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from weightscape.errors import WeightscapeError
from weightscape.step import Step

steps = st.builds(Step, st.integers(0, 10**6), st.integers(0, 10**6))


@given(steps)
def test_a_step_survives_its_text(step):
    assert Step.parse(str(step)) == step
    assert Step.parse(step) is step


@given(steps, st.integers(1, 10**4))
def test_normalising_keeps_the_moment_and_is_done_once(step, length):
    normalised = step.normalised(length)
    assert normalised.total(length) == step.total(length)
    assert normalised.iteration < length
    assert normalised.normalised(length) == normalised


@given(st.lists(steps), st.integers(1, 10**4))
def test_normalised_steps_sort_by_time(several, length):
    normalised = [step.normalised(length) for step in several]
    assert [step.total(length) for step in sorted(normalised)] == sorted(step.total(length) for step in several)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("0ep", Step()),
        ("0it", Step()),
        ("12ep", Step(12)),
        ("500it", Step(0, 500)),
        ("12ep50it", Step(12, 50)),
        (" 3ep ", Step(3)),
    ],
)
def test_text_forms(text, step):
    assert Step.parse(text) == step


@pytest.mark.parametrize("text", ["", "ep", "3", "50it12ep", "-1ep", "1.5ep", "3 ep", "٣ep", 3, None])
def test_other_values_are_refused_with_the_forms_there_are(text):
    with pytest.raises(WeightscapeError, match="a step such as '12ep', '500it' or '12ep50it'"):
        Step.parse(text)


def test_no_step_lies_before_initialisation():
    with pytest.raises(WeightscapeError, match="at least 0ep"):
        Step(-1)
    with pytest.raises(WeightscapeError, match="at least one iteration"):
        Step(1).normalised(0)


def test_a_step_stands_in_a_configuration_as_its_text():
    class Settings(BaseModel):
        keep: tuple[Step, ...]

    settings = Settings.model_validate({"keep": ["0ep", "3it"]})
    assert settings.keep == (Step(), Step(0, 3))
    assert settings.model_dump_json() == '{"keep":["0ep","3it"]}'
    with pytest.raises(ValidationError, match="received 'soon'"):
        Settings.model_validate({"keep": ["soon"]})


@given(st.one_of(steps.map(str), st.sampled_from(["", "ep", "5", "3it2ep", "x"])))
def test_the_published_schema_accepts_what_is_parsed(text):
    import re

    pattern = TypeAdapter(Step).json_schema()["pattern"]
    try:
        Step.parse(text)
    except WeightscapeError:
        assert not re.search(pattern, text)
    else:
        assert re.search(pattern, text)
