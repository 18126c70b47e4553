"""`tlmed weights`: starting weights on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlmed.cli.run import JsonOption

weights_app = typer.Typer(
    help="List, show and import starting weights. Nothing is ever downloaded.", no_args_is_help=True
)

StoreOption = Annotated[Path, typer.Option(help="Folder that runs share.")]
_DEFAULT_STORE = Path("runs")


@weights_app.command("list")
def list_imported(store: StoreOption = _DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the weights that were imported into a store."""
    from tlmed.cli.screen import print_json
    from tlmed.models.weight_imports import list_weights

    sources = list_weights(store)
    if as_json:
        print_json([source.card() for source in sources])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("weights", "digest", "licence", "size")
    for source in sources:
        table.add_row(
            source.spec,
            source.digest[:12],
            source.licence or "not stated",
            f"{source.path.stat().st_size / 2**20:.1f} MB",
        )
    Console().print(table)
    if not sources:
        print(f"None in {store}. `tlmed weights import FILE --as hub:ID` adds some.")


@weights_app.command("show")
def show(
    weights: Annotated[str, typer.Argument(help="file:PATH, hub:ID, stage:NAME or bundle:PATH.")],
    store: StoreOption = _DEFAULT_STORE,
) -> None:
    """Show what is known about weights: digest, licence, normalisation, origin."""
    from tlmed.cli.screen import print_json
    from tlmed.errors import InputError
    from tlmed.runtime.store import Store
    from tlmed.transfer.plan import find_starting_weights

    source = find_starting_weights(weights, Store(store))
    if source is None:
        raise InputError(f"weights {weights}: these are random ones; name a file:, hub:, stage: or bundle:.")
    print_json({**source.card(), "path": str(source.path)})


@weights_app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A .safetensors, .pth or .pt file.")],
    name: Annotated[str, typer.Option("--as", help="Name in recipes, as hub:timm/vit_small_patch16_224.augreg_in21k.")],
    licence: Annotated[
        str | None, typer.Option(help="Licence, as SPDX writes it; goes into lineage and model card.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Pixel mean in training, as 0.5,0.5,0.5; default: ImageNet's.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Pixel standard deviation in training.")] = None,
    store: StoreOption = _DEFAULT_STORE,
) -> None:
    """Copy a file of weights into a store, under the name of a hub, for machines without network."""
    from tlmed.models.weight_imports import import_weights

    source = import_weights(file, name, store_root=store, licence=licence, mean=_numbers(mean), std=_numbers(std))
    print(f"imported {file} as {source.spec} ({source.digest[:12]})")


def _numbers(text: str | None) -> tuple[float, ...] | None:
    from tlmed.errors import InputError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{text!r}: write numbers with commas between them, as 0.485,0.456,0.406") from error
