"""Verbs on a workspace as a whole: verify, gc, export."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightscape.cli import completion
from weightscape.cli.options import Json, Pattern, Workspace
from weightscape.cli.verbs import DAMAGED, leave

if TYPE_CHECKING:
    from weightscape.studies.workspace.garbage import Garbage, Item
    from weightscape.studies.workspace.store import Store
    from weightscape.studies.workspace.verification import Audit

_NAMES = {
    "result": ("result", "results"),
    "unfinished": ("state of an unfinished task", "states of unfinished tasks"),
    "draft": ("draft of a killed process", "drafts of killed processes"),
    "log": ("log of a failure", "logs of failures"),
    "command": ("note of a one-line command", "notes of one-line commands"),
    "lock": ("unused lock", "unused locks"),
}


def verify(
    pattern: Pattern = "",
    repair: Annotated[
        bool,
        typer.Option("--repair", metavar="", help="Remove damaged results, so that the next run computes them anew."),
    ] = False,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Check that every result is still what was published.

    Reads every byte. With REGEX, only of the results that 'ls REGEX' lists. Exits with 1 when something is damaged.
    """
    from weightscape.cli.listing import Uses
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_json
    from weightscape.studies.workspace.verification import verify as verify_store

    store = open_store(workspace)
    uses = Uses(store)
    wanted = uses.matcher(pattern)
    found = verify_store(store, wanted=wanted, repair=repair)
    if as_json:
        print_json(_verification_facts(found, uses))
    else:
        _print_verification(found, store, uses, repair=repair)
    leave(0 if found.is_whole else DAMAGED)


def gc(
    yes: Annotated[bool, typer.Option("--yes", metavar="", help="Remove it; without this, only say what.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Also results that only a one-line command asked for.")
    ] = False,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Remove what no study of the workspace reaches.

    These are results, states of unfinished tasks, logs and locks. Without --yes, nothing is removed and all of it is
    listed. What a running process holds stays.
    """
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_json
    from weightscape.studies.workspace.garbage import find_garbage, remove_garbage

    store = open_store(workspace)
    found = find_garbage(store, one_line="remove" if everything else "keep")
    if yes:
        found = remove_garbage(store, found)
    if as_json:
        items = [asdict(item) | {"path": str(item.path)} for item in found.items]
        facts = {"removed": yes, "bytes": found.bytes, "kept_for_commands": found.commands, "held": found.held}
        print_json(facts | {"items": items})
    else:
        _print_garbage(found, store, removed=yes)


def export(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study of the workspace.", autocompletion=completion.studies)
    ],
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[STAGE]... FOLDER",
            help="Stages, all by default; then the new folder.",
            autocompletion=completion.stages,
            show_default=False,
        ),
    ],
    link: Annotated[
        bool, typer.Option("--link", metavar="", help="Hard links instead of copies; never change such a file.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", metavar="", help="Tables as CSV instead of Parquet.")] = False,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Write results into folders named by the settings that differ.

    FOLDER/STAGE/seed=0,method=gmt/ holds weights as safetensors, tables and result.json; FOLDER/index.csv lists them
    with settings and metrics. Nothing is ever overwritten.
    """
    from weightscape.cli.opening import open_store
    from weightscape.cli.printing import print_json
    from weightscape.studies.exporting import INDEX, export_study

    *stages, folder = words
    done = export_study(
        open_store(workspace),
        study,
        folder,
        stages=stages or None,
        files="link" if link else "copy",
        tables="csv" if as_csv else "parquet",
    )
    if as_json:
        print_json({"folder": str(done.folder), "results": done.results, "missing": done.missing})
        return
    print(f"{done.results} result{'s' * (done.results != 1)} in {done.folder}, listed in {done.folder / INDEX}.")
    if done.missing:
        print(f"{done.missing} of {done.results + done.missing} are not computed yet and were left out.")


def size_text(count: int) -> str:
    """Return a number of bytes for reading.

    >>> size_text(0), size_text(2048), size_text(3 * 2**30)
    ('0 B', '2.0 KiB', '3.0 GiB')
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def _verification_facts(found: Audit, uses: Any) -> dict[str, Any]:
    damages = [
        asdict(damage) | {"folder": str(damage.folder), "studies": uses.stages(damage.name)} for damage in found.damages
    ]
    paths = {"leftovers": list(map(str, found.leftovers)), "unfinished": list(map(str, found.unfinished))}
    return {"checked": found.checked, "bytes": found.bytes, "damages": damages, **paths}


def _print_verification(found: Audit, store: Store, uses: Any, *, repair: bool) -> None:
    from weightscape.cli.printing import KEY_SHOWN, print_rows, styled

    rows = [
        {
            "damaged": damage.name[:KEY_SHOWN] if damage.name == damage.folder.name else damage.name,
            **({"removed": "yes" if damage.removed else "no"} if repair else {}),
            "used by": ", ".join(uses.stages(damage.name)),
            "problem": damage.problem,
        }
        for damage in found.damages
    ]
    if rows:
        print_rows(rows, fold=False)
    for path in found.leftovers:
        print(f"left by a killed process: {path.relative_to(store.folder)} ({size_text(_size(path))})")
    count = f"{found.checked} result{'s' * (found.checked != 1)} ({size_text(found.bytes)})"
    if not rows:
        print(f"{count}: all are what was published.")
    else:
        print(styled(f"{count}: {len(rows)} damaged.", "" if found.is_whole else "problem"))
    if unfinished := len(found.unfinished):
        print(f"{unfinished} task{'s' * (unfinished != 1)} begun and not finished; running the study again continues.")
    if found.leftovers:
        print("Leftovers do no harm. Remove them with: weightscape gc --yes")
    if any(damage.removed for damage in found.damages):
        print("Run the studies again: what was removed is computed anew.")
    elif rows and not repair:
        print("Remove what is damaged with: weightscape verify --repair. The next run computes it anew.")


def _size(path: Any) -> int:
    from weightscape.studies.workspace.files import size_of

    return size_of(path)


def _print_garbage(found: Garbage, store: Store, *, removed: bool) -> None:
    from weightscape.cli.printing import print_rows

    listed = [item for item in found.items if item.kind != "lock"]
    rows = _described(listed, store) if not removed else []
    if rows:
        print_rows(rows, fold=False)
    counts: Counter[str] = Counter(item.kind for item in found.items)
    words = ", ".join(f"{counts[kind]} {_NAMES[kind][counts[kind] != 1]}" for kind in _NAMES if counts[kind])
    if removed:
        print(f"Removed {words}: {size_text(found.bytes)}." if words else "There was nothing to remove.")
    elif listed:
        print(f"No study reaches {words}: {size_text(found.bytes)}.")
    else:
        print(f"There is nothing to remove{' but ' + words if words else ''}.")
    if found.commands:
        one = "1 result stays that a one-line command asked for"
        many = f"{found.commands} results stay that one-line commands asked for"
        print(f"{one if found.commands == 1 else many}; --all takes such results as well.")
    if found.held:
        subject = "1 thing stays" if found.held == 1 else f"{found.held} things stay"
        print(f"{subject}, in use by another process.")
    if listed and not removed:
        print("Nothing was removed. Do it with: weightscape gc --yes")


def _described(items: list[Item], store: Store) -> list[dict[str, Any]]:
    from weightscape.cli.rows import differences
    from weightscape.studies.workspace.record import Record

    records = {item.key: Record(item.key, item.path) for item in items if item.kind == "result"}
    settings = {key: record.settings if store.get(key) else {} for key, record in records.items()}
    texts = dict(zip(settings, differences(list(settings.values())), strict=True))
    return [
        {
            "what": item.kind,
            "key": item.key,
            "size": size_text(item.bytes),
            "operation": records[item.key].content["operation"] if settings.get(item.key) else "",
            "settings": texts.get(item.key, "") if item.kind == "result" else "",
        }
        for item in items
    ]
