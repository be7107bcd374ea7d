"""The command line: options, exit codes and messages of failures. The work of each command is in
the module that it calls.

Exit codes: 0 done, 1 failed, 2 the request or the configuration is wrong. A failure is one line on
stderr; a refused configuration is one line per field. Only a defect of this program shows a
traceback.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from actors.errors import OperatingError
from cluster.errors import ClusterError, UsageError
from cluster.terminal.log_format import LogFormat

app = typer.Typer(
    name="lockstep",
    help="Mirror creators' trades into every follower account.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DEFAULT_DATA = Path("lockstep-data")

DataOption = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", readable=False, help="Data directory of the cluster."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="F", help="Configuration file (TOML); see `lockstep config`."),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        help="Log on stderr as text for people or as JSON lines; "
        "else text on a terminal, JSON elsewhere.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _input(help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="F", help=help_text, exists=True, dir_okay=False, readable=True
    )
    return option


@app.command()
def up(
    config: ConfigOption = None,
    data: DataOption = DEFAULT_DATA,
    log_format: LogFormatOption = None,
) -> NoReturn:
    """Start a cluster and keep it running until Ctrl-C or `lockstep down`."""
    from cluster.config.file import load

    # A wrong configuration is refused before anything heavy is loaded.
    settings = load(config)
    from cluster.command_line.up import run

    sys.exit(run(data, settings, log_format))


@app.command()
def status(data: DataOption = DEFAULT_DATA, json: JsonOption = False) -> NoReturn:
    """Show the servers and actors of a running cluster."""
    from cluster.command_line.status import run
    from cluster.command_line.status_table import print_status

    sys.exit(run(data, as_json=json, show=print_status))


@app.command()
def down(data: DataOption = DEFAULT_DATA) -> NoReturn:
    """Stop a cluster and everything it started."""
    from cluster.command_line.down import run

    sys.exit(run(data))


@app.command()
def rotate(
    role: Annotated[str, typer.Argument(help="A role of DIR/credentials.json.")],
    data: DataOption = DEFAULT_DATA,
    finish: Annotated[bool, typer.Option("--finish", help="End the role's old login.")] = False,
) -> NoReturn:
    """Give a role a new NATS login beside the old one, without a stop; end the old one later."""
    from cluster.command_line.rotate import run

    sys.exit(run(data, role, finish=finish))


@app.command("nats-accounts")
def nats_accounts(data: DataOption = DEFAULT_DATA) -> NoReturn:
    """Print the accounts, users and permissions for a NATS server of your own."""
    from cluster.config.credentials import nats_accounts, read_credentials

    print(nats_accounts(read_credentials(data)), end="")
    sys.exit(0)


@app.command("check-broker")
def check_broker(
    name: Annotated[str, typer.Argument(help="A broker of the configuration.")],
    config: ConfigOption = None,
    data: Annotated[
        Path,
        typer.Option("--data", metavar="DIR", readable=False, help="Directory for checks alone."),
    ] = Path("lockstep-check"),
    start: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="Starts the program; it is killed and started again. Without it the program runs "
            "already, and the rules about restarts are not run.",
        ),
    ] = "",
    symbol: Annotated[str, typer.Option(help="An instrument that the broker trades.")] = "AAPL",
    price: Annotated[str, typer.Option(help="Its price, a decimal.")] = "100",
    answer_s: Annotated[float, typer.Option(help="Seconds that an answer may take.")] = 5.0,
    lifetime_s: Annotated[float, typer.Option(help="Seconds until an order expires.")] = 2.0,
    settle_s: Annotated[
        float, typer.Option(help="Seconds that an order's end may take beyond that.")
    ] = 15.0,
    start_s: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Seconds that the program may take to start: 30 with --start, 300 by hand.",
        ),
    ] = None,
    kills: Annotated[int, typer.Option(min=1, help="Kills in each rule about restarts.")] = 10,
    seed: Annotated[int, typer.Option(help="Changes the moments of the kills.")] = 1,
    test_ledger: Annotated[
        bool,
        typer.Option(
            "--test-ledger",
            help="Check on the running cluster of --data: nothing in it, and in the broker's "
            "ledger, is real.",
        ),
    ] = False,
) -> NoReturn:
    """Check a broker's program against the broker protocol, on a NATS and a ledger of its own."""
    from cluster.config.file import load

    settings = load(config)
    from cluster.command_line.check_broker import BrokerCheck, run, suite_options

    options = suite_options(
        settings,
        name,
        symbol=symbol,
        price=price,
        answer_s=answer_s,
        lifetime_s=lifetime_s,
        settle_s=settle_s,
        start_s=start_s,
        start=start,
        kills=kills,
        seed=seed,
    )
    sys.exit(run(BrokerCheck(data, settings, name, start, options, test_ledger)))


@app.command()
def replay(
    creators: Annotated[Path, _input("creator_id,cash")],
    followers: Annotated[Path, _input("account_id,creator_id,cash and the terms of copying")],
    fills: Annotated[Path, _input("time,fill_id,creator_id,symbol,side,qty,price")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Where the results are written.")
    ],
    prices: Annotated[Path | None, _input("date,symbol,open,high,low,close")] = None,
    instruments: Annotated[Path | None, _input("symbol,lot,min_notional")] = None,
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
) -> NoReturn:
    """Run recorded fills through an embedded cluster, audit it and write what every account did."""
    from cluster.config.file import load

    settings = load(config)
    from cluster.replay import run

    sys.exit(
        run(
            creators=creators,
            followers=followers,
            fills=fills,
            prices=prices,
            instruments=instruments,
            out=out,
            config=settings,
            log_format=log_format,
        )
    )


@app.command()
def audit(data: DataOption = DEFAULT_DATA, json: JsonOption = False) -> NoReturn:
    """Check every promise from both sides: journal and snapshots, and the broker's own ledger."""
    from cluster.audit.command import run

    sys.exit(run(data, as_json=json))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(context: typer.Context) -> NoReturn:
    """Measure; arguments are the harness's own, see `lockstep bench --help`."""
    from cluster.command_line.plugins import load_command

    run = load_command("bench")
    sys.exit(run(context.args))


@app.command("config")
def show_config(
    config: ConfigOption = None,
    options: Annotated[
        bool, typer.Option("--options", help="List every option with its default instead.")
    ] = False,
) -> None:
    """Check a configuration and print the whole of it, secrets masked."""
    from cluster.config.file import load
    from cluster.config.printing import render, render_options

    typer.echo(render_options() if options else render(load(config)), nl=False)


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        app()
    except UsageError as error:
        _fail(error, 2)
    except (ClusterError, OperatingError, OSError) as error:
        _fail(error, 1)
    sys.exit(0)


def _fail(error: Exception, status: int) -> NoReturn:
    print(f"lockstep: {error}", file=sys.stderr)
    sys.exit(status)
