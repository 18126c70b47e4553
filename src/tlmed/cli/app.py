"""The command line: which verbs there are, and what each kind of failure means to the caller."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tlmed.cli.audit import audit
from tlmed.cli.clean import clean
from tlmed.cli.compare import compare
from tlmed.cli.demo import demo
from tlmed.cli.evaluate import evaluate
from tlmed.cli.init import init
from tlmed.cli.predict import predict
from tlmed.cli.report import report
from tlmed.cli.run import run
from tlmed.cli.weights import weights_app

EXIT_INPUT, EXIT_IO = 1, 74

app = typer.Typer(
    name="tlmed",
    help="Staged transfer learning for medical images when labels are scarce. Research use only, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _verb in (demo, init, run, compare, report, audit, predict, evaluate, clean):
    app.command()(_verb)
app.add_typer(weights_app, name="weights")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("tlmed"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; failures become one sentence and an exit code (see docs/architecture.md)."""
    from tlmed.errors import InputError
    from tlmed.runtime.stopping import Stopped, install_stop_signals

    install_stop_signals()
    try:
        app()
    except InputError as error:
        _fail(str(error), EXIT_INPUT)
    except Stopped as stopped:
        _fail(f"{stopped}; what was done is saved, the same command goes on from here", stopped.exit_code)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{where}; what was saved before is intact", EXIT_IO)


def _fail(message: str, exit_code: int) -> None:
    print(f"tlmed: {message}", file=sys.stderr)
    sys.exit(exit_code)
