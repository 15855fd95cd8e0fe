"""Find the examples in a Markdown page and run them as a reader would: in order, in one folder."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LANGUAGES = frozenset({"python", "pycon", "yaml", "console"})
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|:{3,})(?P<info>[^\n`]*)$")
_COMMENT = re.compile(r"<!-- (?P<kind>not run|numbers vary)(?:: (?P<text>.*?))? -->", re.DOTALL)
_FILE = re.compile(r"# (?P<name>[\w./-]+\.(?:py|yaml))\s*")
_FAILS = re.compile(r"\s+# fails with (?P<code>\d+)$")
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[-+]?\d+)?|\b[0-9a-f]{8}\b|(?<= )1(?= |$)", re.MULTILINE)
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Example:
    """A fenced block.

    Attributes:
        page: Name of the page, for messages.
        line: Line of its first line of text.
        language: What the fence says.
        text: The block.
        not_run: Why it is not run; empty when it is.
        numbers_vary: Whether decimal numbers and keys in the output differ between machines and are not compared.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str = ""
    numbers_vary: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The name of the file that the block shows, from its first line; empty when it shows none."""
        match = _FILE.fullmatch(self.text.partition("\n")[0])
        return match["name"] if match else ""


def find_examples(text: str, page: str) -> Iterator[Example]:
    """Yield the fenced blocks of the languages that can be run; blocks inside other fences count too."""
    lines, above, number = text.splitlines(), "", 0
    while number < len(lines):
        match = _FENCE.match(lines[number])
        language = match["info"].strip() if match else ""
        if match is None or language not in LANGUAGES:
            above = above + "\n" + lines[number] if lines[number].strip() else above
            if lines[number].strip() and not _in_comment(above):
                above = ""
            number += 1
            continue
        end = next(index for index in range(number + 1, len(lines)) if lines[index].strip() == match["fence"])
        body = "\n".join(line.removeprefix(match["indent"]) for line in lines[number + 1 : end])
        marks = {comment["kind"]: comment["text"] for comment in _COMMENT.finditer(above)}
        yield Example(page, number + 2, language, body + "\n", marks.get("not run", ""), "numbers vary" in marks)
        above, number = "", end + 1


def _in_comment(above: str) -> bool:
    return above.lstrip("\n").startswith("<!-- ")


@dataclass
class Page:
    """The state that the examples of a page share.

    Attributes:
        namespace: Names that Python examples define.
        seen: Examples run so far.
    """

    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    seen: int = 0

    def run(self, example: Example) -> None:
        """Run one example in the current folder; blocks that show a file write it.

        Raises:
            AssertionError: If it does not do what the page says.
        """
        self.seen += 1
        if example.file:
            path = Path(example.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(example.text, encoding="utf-8")
        if example.language == "python" and not example.file:
            exec(compile("\n" * (example.line - 1) + example.text, example.page, "exec"), self.namespace)
        elif example.language == "pycon":
            self._doctest(example)
        elif example.language == "yaml":
            plan_if_study(example)
        elif example.language == "console":
            run_console(example)

    def _doctest(self, example: Example) -> None:
        parsed = doctest.DocTestParser().get_doctest(
            example.text, self.namespace, example.place, example.page, example.line - 1
        )
        checker = Checker(numbers_vary=example.numbers_vary)
        runner, report = doctest.DocTestRunner(checker, optionflags=_LOOSE), io.StringIO()
        runner.run(parsed, out=report.write, clear_globs=False)
        self.namespace.update(parsed.globs)
        assert not runner.failures, report.getvalue()


class Checker(doctest.OutputChecker):
    """Compares outputs; where numbers vary, decimal numbers and keys count as equal."""

    def __init__(self, *, numbers_vary: bool) -> None:
        self._numbers_vary = numbers_vary

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if self._numbers_vary:
            want, got = (_NUMBER.sub("0.0", text) for text in (want, got))
        return super().check_output(want, got, optionflags)


def plan_if_study(example: Example) -> None:
    """Plan a block whose first key is ``study``; other YAML is only read."""
    from weightscape.cli.opening import plan_with_figures
    from weightscape.studies.document import read_text
    from weightscape.studies.specification import load_study
    from weightscape.studies.workspace.store import Store, workspace_folder

    document = read_text(example.text, example.place)
    if not (isinstance(document.data, dict) and next(iter(document.data), "") == "study"):
        return
    path = Path(example.file or "example.yaml")
    path.write_text(example.text, encoding="utf-8")
    assert plan_with_figures(load_study(path), Store(workspace_folder()), None).tasks, f"{example.place}: no task"


def run_console(example: Example) -> None:
    """Run the ``$ weightscape`` lines of a block and compare what they print with the lines below, if there are any."""
    commands = re.split(r"^\$ ", example.text, flags=re.MULTILINE)
    assert not commands[0].strip(), f"{example.place}: a console block begins with '$ '"
    for part in commands[1:]:
        command, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        fails = _FAILS.search(command)
        words = shlex.split(_FAILS.sub("", command), comments=True)
        assert words[0] == "weightscape", f"{example.place}: only weightscape can be run here, not {words[0]!r}"
        code, printed = run_command(words[1:])
        expected = int(fails["code"]) if fails else 0
        assert code == expected, f"{example.place}: {command!r} left with {code}, not {expected}:\n{printed}"
        if shown.strip():
            matches = Checker(numbers_vary=example.numbers_vary).check_output(shown, printed, _LOOSE)
            assert matches, f"{example.place}: {command!r} printed\n{printed}\ninstead of\n{shown}"


def run_command(arguments: list[str]) -> tuple[int, str]:
    """Run the program in this process; return its exit code and what it printed, both streams together."""
    from weightscape.cli.main import main

    printed, code = io.StringIO(), None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _as_program(arguments):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
    return int(code or 0), printed.getvalue()


@contextlib.contextmanager
def _as_program(arguments: list[str]) -> Iterator[None]:
    """Set the program's arguments, and undo what it does to this process."""
    before, terminate = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["weightscape", *arguments]
    try:
        yield
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, terminate)
