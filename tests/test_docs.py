"""Every example of the documentation runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.markdown_examples import Example, Page, find_examples
from weightscape import operation

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "_build" not in path.parts and path.is_file()
)
SLOW = {"README.md", "docs/tutorial.md", "docs/how-to/parallel.md", "docs/how-to/stitch-networks.md"}
MOST_NOT_RUN = 5


def examples_of(path: Path) -> list[Example]:
    return list(find_examples(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()))


def parameters() -> list[object]:
    return [
        pytest.param(path, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for path in PAGES
        if any(not example.not_run for example in examples_of(path))
        for name in [path.relative_to(ROOT).as_posix()]
    ]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one, with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEIGHTSCAPE_WORKSPACE", raising=False)
    monkeypatch.delenv("WEIGHTSCAPE_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WEIGHTSCAPE_WORKERS", "0")  # a page that wants processes says how many
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for name, found in list(operation._REGISTERED.items()):
        if found.function.__code__.co_filename.startswith(str(tmp_path)):
            del operation._REGISTERED[name]


@pytest.mark.parametrize("path", parameters())
def test_examples_of_page_run(path: Path, reader: Path) -> None:
    page = Page()
    for example in examples_of(path):
        if not example.not_run:
            page.run(example)
    assert page.seen


def test_few_examples_are_not_run() -> None:
    left_out = [example for path in PAGES for example in examples_of(path) if example.not_run]
    assert len(left_out) < MOST_NOT_RUN, [f"{example.place}: {example.not_run}" for example in left_out]


def test_every_page_of_the_guide_has_an_example_that_runs() -> None:
    guide = [path for path in PAGES if {"concepts", "how-to"} & set(path.parts) and path.name != "index.md"]
    assert guide
    assert not [path for path in guide if not any(not example.not_run for example in examples_of(path))]


def test_an_example_that_fails_is_noticed(reader: Path) -> None:
    wrong = {
        "python": "assert 1 + 1 == 3\n",
        "pycon": ">>> 1 + 1\n3\n",
        "yaml": "study: wrong\nstages: {made: {run: trian}}\n",
        "console": "$ weightscape no-such-command\n",
    }
    for language, text in wrong.items():
        with pytest.raises(Exception):  # noqa: B017 (whatever it is, it must not pass)
            Page().run(Example("page.md", 1, language, text))


def test_marks_belong_to_the_block_below_them_alone() -> None:
    text = "<!-- not run: needs a GPU -->\n```python\n1 / 0\n```\n\nText.\n\n```python\nx = 1\n```\n"
    first, second = find_examples(text, "page.md")
    assert (first.not_run, second.not_run) == ("needs a GPU", "")
    assert (first.line, second.line) == (3, 9)


def test_varying_numbers_still_show_the_right_table() -> None:
    shown = ">>> print('accuracy  0.97')\n"
    Page().run(Example("page.md", 1, "pycon", f"{shown}accuracy  0.91\n", numbers_vary=True))
    for wrong in (
        Example("page.md", 1, "pycon", f"{shown}accuracy  0.91\n"),
        Example("page.md", 1, "pycon", f"{shown}loss  0.97\n", numbers_vary=True),
    ):
        with pytest.raises(AssertionError, match="accuracy"):
            Page().run(wrong)
