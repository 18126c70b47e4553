"""`tlmed report`: the page of a finished run, drawn again from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlmed.cli.run import JsonOption


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run, such as runs/NAME.")],
    share: Annotated[
        bool, typer.Option("--share", help="Opaque ids, no pictures of cases, no counts under 5, no places on disk.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="File; default: report.html or report-share.html in RUN.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw report.html of a finished run: the verdict on page one, then all that it rests on.

    One file that needs nothing beside it. `study:` in the run's recipe.yaml may be
    filled in first; it is what only a person knows.
    """
    from tlmed.cli.screen import print_json
    from tlmed.errors import InputError
    from tlmed.report.page_one.page import page_one
    from tlmed.report.record.run_record import read_run
    from tlmed.report.run_report import render_report
    from tlmed.runtime.store import write_durably

    file = out if out is not None else run / ("report-share.html" if share else "report.html")
    if file.is_dir():
        raise InputError(f"--out {file}: a folder; name the file to write, such as {file / 'report.html'}.")
    record = read_run(run)
    page = render_report(record, shared=share)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably(file, page)
    verdict = None if record.comparison is None else record.comparison["verdict"]
    if as_json:
        print_json({"report": str(file), "shared": share, "verdict": verdict})
        return
    print(f"Verdict: {page_one(record).verdict}." if verdict is None else verdict["sentence"])
    print(f"Report: {file}")
    if share:
        print("Send this file alone: tables/ beside it is not made for sharing, and holds all counts.")
    print("Research use only, not a medical device.")
