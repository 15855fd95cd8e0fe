"""What of a workspace nobody can reach any more, and its removal.

Reached is what the plan of a study of the workspace names, what a one-line command asked for, and everything that these
were computed from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from weightscape.errors import StoreError
from weightscape.results import Result
from weightscape.studies.workspace.files import drafts, size_of
from weightscape.studies.workspace.record import Record
from weightscape.studies.workspace.store import Store

Kind: TypeAlias = Literal["result", "unfinished", "draft", "log", "lock", "command"]


@dataclass(frozen=True)
class Item:
    """Something that can go.

    Attributes:
        kind: What it is: a result, the state of an unfinished task, the draft of a killed process, the log of a
            failure, an unused lock, the note of a one-line command.
        key: The key it belongs to; the name of a lock, or of the folder of a study.
        path: Where it is.
        bytes: Its size.
    """

    kind: Kind
    key: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Garbage(Result):
    """What can go, and what was kept.

    Attributes:
        items: What nobody reaches.
        bytes: The size of all of it.
        commands: Number of results that are kept only because a one-line command asked for them.
        held: Number of things that stay because another process is at work on them.
    """

    items: tuple[Item, ...]
    bytes: int
    commands: int
    held: int


def find_garbage(store: Store, *, one_line: Literal["keep", "remove"] = "keep") -> Garbage:
    """Return what no study of the workspace reaches. Removes nothing.

    Args:
        store: The workspace.
        one_line: Whether results stay that no study reaches but a one-line command asked for.

    Raises:
        StoreError: If the plan of a study cannot be read: what it reaches is then not known.
    """
    asked = {path.stem for path in store.folder.glob("commands/*.json")}
    by_studies = _with_upstream(store, _planned(store))
    by_commands = _with_upstream(store, asked)
    reached = by_studies if one_line == "remove" else by_studies | by_commands
    found = list(_unreached(store, reached))
    free = [item for item in found if not store.is_held(item.key)]
    published = {path.name for path in store.folder.glob("objects/*/*")}
    only = 0 if one_line == "remove" else len((by_commands - by_studies) & published)
    return Garbage(tuple(free), sum(item.bytes for item in free), only, len(found) - len(free))


def remove_garbage(store: Store, garbage: Garbage) -> Garbage:
    """Remove what was found; return what was removed indeed. What another process works on by now stays."""
    gone = [item for item in garbage.items if item.kind != "lock" and _remove_held(store, item)]
    known = {item.path: item for item in garbage.items}
    locks = [known.get(path) or _item("lock", path.stem, path) for path in store.folder.glob("locks/*.lock")]
    gone += [item for item in locks if _remove_lock(store, item) and item.path in known]
    for folder in sorted(store.folder.glob("objects/*")):
        with suppress(OSError):  # not empty
            folder.rmdir()
    held = garbage.held + len(garbage.items) - len(gone)
    return Garbage(tuple(gone), sum(item.bytes for item in gone), garbage.commands, held)


def _planned(store: Store) -> set[str]:
    plans = [store.study_plan(name) for name in store.study_names()]
    return {row["key"] for plan in plans for stage in plan["stages"].values() for row in stage["rows"]}


def _with_upstream(store: Store, keys: Iterable[str]) -> set[str]:
    """Return keys with those of everything that they were computed from."""
    reached: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in reached:
            continue
        reached.add(key)
        record = store.get(key)
        waiting += record.upstream() if record else ()
    return reached


def _unreached(store: Store, reached: set[str]) -> Iterator[Item]:
    for path in sorted(store.folder.glob("objects/*/*")):
        if path.name not in reached:
            yield _item("result", path.name, path)
    for path in sorted(store.folder.glob("partial/*")):
        key, dot, _ = path.name.partition(".")
        if dot:
            yield _item("draft", key, path)
        elif key not in reached or store.get(key):
            yield _item("unfinished", key, path)
    for path in drafts(store.folder / "studies"):
        yield _item("draft", f"study-{path.relative_to(store.folder / 'studies').parts[0]}", path)
    for kind, folder in (("log", "logs"), ("command", "commands")):
        for path in sorted(path for path in store.folder.glob(f"{folder}/*") if path.stem not in reached):
            yield _item(kind, path.stem, path)  # type: ignore[arg-type]
    for path in sorted(store.folder.glob("locks/*.lock")):
        yield _item("lock", path.stem, path)


def _item(kind: Kind, key: str, path: Path) -> Item:
    return Item(kind, key, path, size_of(path))


def _remove_held(store: Store, item: Item) -> bool:
    with store.claimed(item.key) as free:
        if free:
            _remove(store, item)
    return free and not item.path.exists()


def _remove(store: Store, item: Item) -> None:
    """Remove one thing.

    Raises:
        StoreError: If it cannot be removed.
    """
    try:
        if item.kind == "result":
            store.discard(Record(item.key, item.path))
        elif item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        raise StoreError(f"{item.path} cannot be removed: {error.strerror}.") from error


def _remove_lock(store: Store, item: Item) -> bool:
    # Only while it is held: a lock that another process holds or waits for must stay under its name.
    with store.claimed(item.key) as free:
        if free:
            item.path.unlink(missing_ok=True)
    return free
