"""`tlmed clean`: what the store holds, and what nothing refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlmed.cli.run import JsonOption


def clean(
    store: Annotated[Path, typer.Argument(help="Folder that runs share.")] = Path("runs"),
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what no run refers to; without it, only list.")
    ] = False,
    keep_run: Annotated[
        list[Path] | None, typer.Option(help="A run folder elsewhere that uses this store; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what the store holds, with sizes, and remove what no run refers to."""
    from tlmed.cli.screen import print_json
    from tlmed.errors import InputError
    from tlmed.runtime.inventory import REFERENCES_FILE, take_stock
    from tlmed.runtime.inventory import remove as remove_entry
    from tlmed.runtime.store import Store

    if not store.is_dir():
        raise InputError(f"{store}: no such folder; name the folder that holds stages/ and images/, such as runs.")
    for run in keep_run or ():
        if not (run / REFERENCES_FILE).is_file():
            raise InputError(f"--keep-run {run}: not a finished run's folder (no {REFERENCES_FILE}).")
    opened = Store(store)
    entries = take_stock(opened, keep_run or ())
    unused = [entry for entry in entries if not entry.runs]
    if remove:
        unused = [entry for entry in unused if remove_entry(opened, entry)]
    if as_json:
        rows = [{"kind": e.kind, "key": e.key, "bytes": e.num_bytes, "runs": list(e.runs)} for e in entries]
        print_json({"entries": rows, "removed": [str(entry.path) for entry in unused] if remove else []})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "key", "size", "used by")
    for entry in entries:
        used_by = ", ".join(entry.runs) or ("nothing" if entry.key else "nothing: left by a run that did not finish")
        table.add_row(entry.kind, (entry.key or entry.path.name)[:20], f"{entry.num_bytes / 2**20:.1f} MB", used_by)
    console = Console()
    console.print(table)
    megabytes = sum(entry.num_bytes for entry in unused) / 2**20
    what = "Removed" if remove else "Nothing refers to"
    hint = "" if remove or not unused else "; `--remove` removes them (a removed unfinished stage would start anew)"
    console.print(f"{what} {len(unused)} of {len(entries)} entries, {megabytes:.1f} MB{hint}.")
