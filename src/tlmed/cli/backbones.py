"""`tlmed weights list --backbones`: the networks that are known by name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

BackbonesOption = Annotated[
    bool, typer.Option("--backbones", help="List networks by name instead: size, speed here, licence of known weights.")
]


def list_backbones(store: Path, as_json: bool) -> None:
    """Print the known networks with how fast each would train here at its usual image size."""
    from tlmed.cli.screen import print_json
    from tlmed.models.known_backbones import known_backbones
    from tlmed.recipe.protocol import RuntimeSettings
    from tlmed.runtime.hardware import resolve_device, resolve_precision
    from tlmed.runtime.store import Store
    from tlmed.transfer.estimate import estimate_speeds

    known = known_backbones().values()
    runtime = RuntimeSettings()
    device = resolve_device(runtime)
    speeds = estimate_speeds(known, Store(store), device, resolve_precision(runtime, device))
    if as_json:
        print_json([{**asdict(backbone), "training_speed": asdict(speeds[backbone.name])} for backbone in known])
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("backbone", no_wrap=True), "parameters", "images/s, training", "licence", box=SIMPLE_HEAD)
    for backbone in known:
        speed = speeds[backbone.name]
        rate = "unknown" if speed.images_per_second is None else f"{speed.images_per_second:.3g}"
        mark = " *" if speed.basis.startswith("measured") else ""
        table.add_row(
            backbone.name,
            f"{backbone.parameters_million:.1f} M",
            f"{rate} at {speed.image_size} px{mark}",
            (backbone.licence or "not stated") if backbone.weights else "none known",
        )
    Console().print(table)
    print("Speeds: * measured on earlier stages here, others rough, from each network's arithmetic.")
    print("Licences: of well-known published weights; --json names them.")
    print("Any other network of timm can be used by its name there.")
