"""`tlmed weights`: starting weights from hubs and files, and the way to machines without network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlmed.cli.backbones import BackbonesOption, list_backbones
from tlmed.cli.run import JsonOption

if TYPE_CHECKING:
    from tlmed.models.weight_sources import WeightSource
    from tlmed.recipe.hub_name import HubName

weights_app = typer.Typer(
    help="Starting weights: pull them from a hub, import, pack, list and show them.", no_args_is_help=True
)

StoreOption = Annotated[Path, typer.Option(help="Folder that runs share.")]
_DEFAULT_STORE = Path("runs")


@weights_app.command("list")
def list_stored(
    store: StoreOption = _DEFAULT_STORE, backbones: BackbonesOption = False, as_json: JsonOption = False
) -> None:
    """List the weights of hubs that a store has."""
    if backbones:
        list_backbones(store, as_json)
        return
    from tlmed.cli.screen import print_json
    from tlmed.models.weight_imports import list_weights

    sources = list_weights(store)
    if as_json:
        print_json([source.card() for source in sources])
        return
    _print_table(sources)
    if not sources:
        print(f"None in {store}. `tlmed weights pull ID` or `tlmed weights import FILE --as hub:ID` adds some.")


@weights_app.command("show")
def show(
    weights: Annotated[str, typer.Argument(help="file:PATH, hub:ID, stage:NAME or bundle:PATH.")],
    store: StoreOption = _DEFAULT_STORE,
) -> None:
    """Show what is known about weights: digest, revision, licence, normalisation, origin."""
    from tlmed.cli.screen import print_json
    from tlmed.errors import InputError
    from tlmed.models.licences import licence_concern
    from tlmed.runtime.store import Store
    from tlmed.transfer.plan import find_starting_weights

    source = find_starting_weights(weights, Store(store))
    if source is None:
        raise InputError(f"weights {weights}: these are random ones; name a file:, hub:, stage: or bundle:.")
    concern = licence_concern(source.licence, gated=source.gated)
    print_json({**source.card(), "concern": concern, "pinned": source.pinned, "path": str(source.path)})


@weights_app.command("pull")
def pull(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As hub:OWNER/NAME[@REVISION]; hub: may be left.")],
    store: StoreOption = _DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Download weights from a hub into a store; those that are there are left alone."""
    from tlmed.cli.screen import print_json, show_log
    from tlmed.models.hub import pull_weights, warn_of_licence

    show_log()
    sources = [pull_weights(name, store) for name in _hub_names(ids)]
    for source in sources:
        warn_of_licence(source)
    if as_json:
        print_json([{**source.card(), "pinned": source.pinned} for source in sources])
    else:
        _print_table(sources)


@weights_app.command("import")
def import_file(
    source: Annotated[Path, typer.Argument(help="A .safetensors, .pth or .pt file, or a folder that `pack` wrote.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Of a file: name in recipes, as hub:timm/vit_small_patch16_224.dino.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence, as SPDX writes it; goes into lineage and model card.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Pixel mean in training, as 0.5,0.5,0.5; default: ImageNet's.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Pixel standard deviation in training.")] = None,
    store: StoreOption = _DEFAULT_STORE,
) -> None:
    """Put a file of weights, or a packed folder, into a store: for machines without network."""
    from tlmed.cli.screen import show_log
    from tlmed.errors import InputError
    from tlmed.models.hub import warn_of_licence
    from tlmed.models.weight_imports import import_weights
    from tlmed.models.weight_packs import import_pack

    show_log()
    if source.is_dir():
        if any(value is not None for value in (name, licence, mean, std)):
            raise InputError(f"weights import {source}: a packed folder brings names and cards; leave the options out.")
        imported = import_pack(source, store)
    elif name is None:
        raise InputError(f"weights import {source}: name the file with --as hub:ID, as recipes will say.")
    else:
        imported = [import_weights(source, name, store, licence=licence, mean=_numbers(mean), std=_numbers(std))]
    for one in imported:
        warn_of_licence(one)
        print(f"imported {source} as {one.card()['spec']} ({one.digest[:12]})")


@weights_app.command("pack")
def pack(
    out: Annotated[Path, typer.Argument(help="The folder to write; must not be there.")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As hub:OWNER/NAME[@REVISION].")] = None,
    recipe: Annotated[
        list[Path] | None, typer.Option(help="Pack what this recipe takes from hubs; may be repeated.")
    ] = None,
    store: StoreOption = _DEFAULT_STORE,
) -> None:
    """Write weights and their cards into a folder for a machine without network; there, `import` takes it."""
    from tlmed.cli.screen import show_log
    from tlmed.models.hub import warn_of_licence
    from tlmed.models.weight_packs import hub_names_of, pack_weights
    from tlmed.recipe.load import load_recipe

    show_log()
    names = [*_hub_names(ids or ()), *(name for file in recipe or () for name in hub_names_of(load_recipe(file)))]
    packed = pack_weights(dict.fromkeys(names), out, store)
    for source in packed:
        warn_of_licence(source)
    _print_table(packed)
    print(f"Bring {out} to the other machine; there: tlmed weights import {out.name} --store FOLDER")


def _print_table(sources: Sequence[WeightSource]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("weights", "revision", "digest", "licence", "gated", "size")
    for source in sources:
        table.add_row(
            source.card()["spec"],
            source.revision[:12] if source.revision else "not known",
            source.digest[:12],
            source.licence or "not stated",
            "yes" if source.gated else "no",
            f"{source.path.stat().st_size / 2**20:.1f} MB",
        )
    Console().print(table)


def _hub_names(ids: Iterable[str]) -> list[HubName]:
    from tlmed.models.weight_sources import parse_hub_name

    return [parse_hub_name(one if one.startswith("hub:") else f"hub:{one}") for one in ids]


def _numbers(text: str | None) -> tuple[float, ...] | None:
    from tlmed.errors import InputError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{text!r}: write numbers with commas between them, as 0.485,0.456,0.406") from error
