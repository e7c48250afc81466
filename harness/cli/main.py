"""The command `harness`. Exit codes: 0 fine, 1 a finding, 2 wrong use or a failed run."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any

import typer
import typer.core

from harness.cli import (
    cards,
    comparing,
    converting,
    data,
    exporting,
    listing,
    nightly,
    reporting,
    running,
    scoring,
    training,
)
from harness.version import __version__


class _Commands(typer.core.TyperGroup):
    """All commands, with the exit codes of the module's first line: the library's own are 130 and 1 here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a stopped one is 2, and a reader that has seen enough (`| head`) is no fault."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            print("error: interrupted; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(2) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with whole sentences; the library cuts them at the end of the line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=200)) for name, command in commands if command])


app = typer.Typer(
    name="harness",
    cls=_Commands,
    help="Compare vision-language models, with the uncertainty of every number.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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
app.command("export")(exporting.export_command)
app.command("import")(exporting.import_command)
app.command("lmms-suite")(exporting.lmms_suite_command)


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

    from harness.cli.output import PrintableFormatter

    level = logging.DEBUG if verbose else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    if verbose:
        logging.getLogger("PIL").setLevel(logging.INFO)


def main() -> None:
    """Run the command line; an error that the user can act on is one message, not a traceback."""
    from harness.errors import HarnessError

    # Records hold no cycles and go when they are done with; looking for cycles among them took a sixth of the time.
    gc.set_threshold(100_000, 50, 100)
    try:
        app()
    except HarnessError as error:
        from harness.cli.output import printable

        for line in str(error).splitlines():
            print(printable(f"error: {line}"), file=sys.stderr)
        sys.exit(2)
    except Exception:
        import traceback

        from harness.cli.output import printable

        print(printable(traceback.format_exc()), file=sys.stderr, end="")
        print("error: this is a fault of the program, not of its use; please report the lines above", file=sys.stderr)
        sys.exit(2)
