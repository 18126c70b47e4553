"""`tlmed init`: from somebody's own images to a recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer


def init(
    data: Annotated[Path, typer.Argument(help="The target: a table (.csv, .parquet) or a folder of class folders.")],
    related: Annotated[
        Path | None, typer.Option(help="The target-related domain: many images of a similar kind.")
    ] = None,
    generic: Annotated[
        str | None, typer.Option(help="Starting weights: a file, hub:ID, stage:NAME or bundle:PATH.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write the recipe.")] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Look at your images and write a commented recipe fitted to them and to this machine."""
    import yaml

    from tlmed.draft import draft_recipe
    from tlmed.errors import InputError
    from tlmed.recipe.load import parse_recipe
    from tlmed.runtime.inventory import RESERVED_NAMES
    from tlmed.runtime.store import write_durably

    if out.exists() and not force:
        raise InputError(f"{out} is there already; choose another --out, or --force to overwrite it.")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.stem if data.is_file() else data.resolve().name).strip(".-_")
    name = "experiment" if name in ("", *RESERVED_NAMES) else name
    text = draft_recipe(data, related=related, generic=generic, name=name, file_name=str(out))
    drafted = parse_recipe(yaml.safe_load(text), where=f"the draft for {data}")
    write_durably(out, text)
    print(f"{out} written; read it, then: tlmed run {out}")
    if isinstance(drafted.evaluation.positive, str):
        print(f"Counted as disease: {drafted.evaluation.positive!r}, a guess from the names of the classes; check it.")
    if "groups_unknown" in drafted.waive:
        print(
            "Nothing says which images belong to one patient, so the recipe accepts image-level figures (waive: "
            "[groups_unknown]); leakage cannot be excluded. A column `patient` or a group_pattern mends that."
        )
