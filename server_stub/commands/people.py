"""`user …` and `token …`: who may do what, and what they prove it by."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from server_stub.commands.context import ConfigOption, DatabaseOption, Exit, JsonOption, fail, once
from server_stub.commands.printing import show_one

if TYPE_CHECKING:
    from server_stub.store.tx import Tx

users = typer.Typer(no_args_is_help=True, help="Users: create.")
tokens = typer.Typer(no_args_is_help=True, help="API tokens and keys: create.")


@users.command("create")
def create_user(
    name: str,
    email: Annotated[str, typer.Option(help="Identifies the user; nothing is ever sent there.")],
    admin: Annotated[bool, typer.Option("--admin", help="May do everything on this server.")] = False,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a user. `token create --user` gives it something to prove itself by."""

    def work(tx: "Tx") -> dict[str, Any]:
        from server_stub.store import accounts

        made = accounts.create_user(tx, name, email, admin=admin)
        return {member: made[member] for member in ("uuid", "name", "slug", "email")} | {"admin": bool(made["admin"])}

    show_one(once(database, config, work, create=True), as_json=as_json)


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    user: Annotated[str | None, typer.Option(help="For this user: e-mail address, slug or UUID.")] = None,
    project: Annotated[str | None, typer.Option(help="For this project alone: slug or UUID.")] = None,
    key: Annotated[bool, typer.Option("--key", help="A user's key instead of an API token.")] = False,
    ttl: Annotated[int | None, typer.Option(min=1, help="Seconds until it expires. Default: 136 years.")] = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Make an API token, a user's key (--key) or a project's key (--project). It is printed once, and not kept."""
    if (user is None) == (project is None):
        fail("either --user or --project has to say whom it is for", Exit.REFUSED)

    def work(tx: "Tx") -> dict[str, Any]:
        from server_stub.store import accounts

        if user is not None:
            make = accounts.create_user_key if key else accounts.create_token
            row, secret = make(tx, accounts.find_user(tx, user), name, ttl)
        else:
            row, secret = accounts.create_project_key(tx, _project(tx, str(project)), name, ttl)
        return {"uuid": row["uuid"], "name": name, "token": secret}

    made = once(database, config, work, create=True)
    if as_json:
        show_one(made, as_json=True)
    else:
        print(made["token"])


def _project(tx: "Tx", named: str) -> Any:
    from server_stub.errors import BadRequestError, NotFoundError
    from server_stub.names import parse_resource_id
    from server_stub.store import projects

    try:
        row = projects.find(tx, parse_resource_id(named))
    except ValueError as error:
        raise BadRequestError(f"project: {error}") from error
    if row is None:
        raise NotFoundError(f"there is no project {named!r}")
    return row
