"""What each measure of a comparison is computed from, and hence what a forward pass must keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from weightscape.errors import DataError
from weightscape.similarity.cells import Asked
from weightscape.similarity.collecting import Wanted
from weightscape.similarity.intervals import IntervalMethod
from weightscape.similarity.measure import Measure, Sums, check_options, find_measure
from weightscape.similarity.settings import ChosenMeasure, Form


@dataclass(frozen=True)
class Planned:
    """A measure with what it is computed from.

    Attributes:
        choice: Its name and options.
        measure: The measure.
        sums: What it is computed from.
        form: What a row is; None for outputs.
    """

    choice: ChosenMeasure
    measure: Measure
    sums: Sums
    form: Form | None


def plan_measures(choices: Sequence[ChosenMeasure], form: Form | None, asked: Asked) -> list[Planned]:
    """Return what each measure is computed from; check names, options and what is wanted beside the values.

    Raises:
        DataError: If a measure does not exist, has no such option, or cannot be had in this form, or what is wanted
            beside the values cannot be.
    """
    if not choices:
        raise DataError("Expected at least one measure, received none.")
    _check_asked(form, asked)
    found = []
    for choice in choices:
        measure = find_measure(choice.name)
        check_options(measure, {**choice.options, **({"labels": None} if measure.needs_labels else {})})
        sums, needed = _sums(measure, form)
        if sums == "moments" and (asked.intervals is not None or asked.batch is not None):
            raise DataError(
                f"The measure {choice.name!r} compares channels by sums over all samples, which have no intervals over "
                "samples and no mean over batches. Leave out 'intervals' and 'average_over', or this measure."
            )
        found.append(Planned(choice, measure, sums, needed))
    return found


def _check_asked(form: str | None, asked: Asked) -> None:
    if form not in {None, *get_args(Form)}:
        raise DataError(f"Expected the form pixels, features or pooled, received {form!r}.")
    if asked.null < 0 or (asked.batch is not None and asked.batch < 2):
        raise DataError(
            "Expected 0 or more shuffles (null) and batches (average_over) of 2 or more samples, received "
            f"{asked.null} and {asked.batch}."
        )
    if asked.intervals not in {None, *get_args(IntervalMethod)}:
        raise DataError(
            f"Expected intervals by jackknife or subsampling, received {asked.intervals!r}; a bootstrap of samples is "
            "wrong here."
        )
    if asked.batch is not None and (asked.null or asked.intervals is not None):
        raise DataError("A mean over batches (average_over) has no intervals and no null here: leave one of them out.")


def _sums(measure: Measure, form: Form | None) -> tuple[Sums, Form | None]:
    if "outputs" in measure.functions:
        return "outputs", None
    if form == "pixels" and "moments" not in measure.functions:
        raise DataError(
            f"The measure {measure.name!r} compares samples with each other; of pixels there are too many. Take the "
            "form features or pooled, or leave it out."
        )
    if "grams" in measure.functions and form != "pixels":
        return "grams", form or "features"
    if "moments" in measure.functions:
        return "moments", form or "pixels"
    return "activations", form or "features"


def wanted_sums(planned: Sequence[Planned], asked: Asked) -> Wanted:
    """Return what the forward pass must keep for all measures."""
    forms = {one.sums: one.form for one in planned}
    return Wanted(
        grams=forms.get("grams"),
        moments=forms.get("moments"),
        rows=forms.get("activations"),
        outputs="outputs" in forms,
        shuffles=asked.null,
        seed=asked.seed,
    )
