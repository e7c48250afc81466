"""The command `harness`. Exit codes: 0 fine, 1 a finding, 2 wrong use or a failed run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli import cards, comparing, converting, data, listing, nightly, reporting, running, scoring, training
from harness.version import __version__

app = typer.Typer(
    name="harness",
    help="Compare vision-language models, with the uncertainty of every number.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a finding, 2 wrong use or a failed run.",
)
app.add_typer(cards.app, name="cards")
app.add_typer(data.app, name="data")
app.command("compare-cards")(cards.compare_command)
app.command("list")(listing.list_command)
app.command("run")(running.run_command)
app.command("train")(training.train_command)
app.command("score")(scoring.score_command)
app.command("rescore")(scoring.rescore_command)
app.command("show")(scoring.show_command)
app.command("drops")(comparing.drops_command)
app.command("attribute")(comparing.attribute_command)
app.command("convert")(converting.convert_command)
app.command("compare")(comparing.compare_command)
app.command("report")(reporting.report_command)
app.command("nightly")(nightly.nightly_command)
app.add_typer(nightly.baseline, name="baseline")
app.command("history")(nightly.history_command)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to each sample.")] = False,
) -> None:
    import logging

    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if verbose:
        logging.getLogger("PIL").setLevel(logging.INFO)


def main() -> None:
    """Run the command line; an error that the user can act on is one message, not a traceback."""
    from harness.errors import HarnessError

    try:
        app()
    except HarnessError as error:
        from harness.cli.output import printable

        for line in str(error).splitlines():
            print(printable(f"error: {line}"), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
