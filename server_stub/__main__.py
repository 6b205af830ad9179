"""The command line. Every verb imports what it needs when it is called, so that `--help` answers at once.

Exit codes: see `server_stub.commands.context`.
"""

from typing import Annotated

import typer

from server_stub.commands import fleet, people, submit, upkeep, work
from server_stub.commands.context import ConfigOption, DatabaseOption, exit_codes, settings_for

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Takes benchmark runs, hands their jobs to runners, and says what moved.",
)
app.add_typer(fleet.runners, name="runner")
app.add_typer(fleet.specs, name="spec")
app.add_typer(work.jobs, name="job")
app.add_typer(people.users, name="user")
app.add_typer(people.tokens, name="token")
app.command("queue")(work.show_queue)
app.command("submit")(submit.submit)
app.command("migrate")(upkeep.migrate)
app.command("backup")(upkeep.backup)
app.command("restore")(upkeep.restore)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: 61016; 0 takes a free one.")] = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve the API until SIGTERM. Settings: `SERVER_STUB_…` variables, then the file, then defaults."""
    settings = settings_for(database, config, host=host, port=port)
    from server_stub.commands.serving import serve as serve_until_told

    with exit_codes():
        serve_until_told(settings)


def main() -> None:
    """Run the command line."""
    app(prog_name="server-stub")


if __name__ == "__main__":
    main()
