"""`runner …` and `spec …`: who takes jobs, and the classes of machine."""

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server_stub.commands.context import (
    LOCAL,
    ConfigOption,
    DatabaseOption,
    Exit,
    JsonOption,
    exit_codes,
    fail,
    once,
    server_url,
    settings_for,
)
from server_stub.commands.printing import ago, show_one, show_rows

if TYPE_CHECKING:
    from server_stub.edits import NewSpec
    from server_stub.store.tx import Row, Tx

runners = typer.Typer(no_args_is_help=True, help="Runners: create, list, show, drain, resume, remove, rotate keys.")
specs = typer.Typer(no_args_is_help=True, help="Specs: the classes of machine that jobs ask for.")

Named = Annotated[str, typer.Argument(metavar="RUNNER", help="Its name, slug or UUID.")]
SpecOption = Annotated[list[str] | None, typer.Option("--spec", help="A spec that it takes jobs of; may be repeated.")]
KEY_FILE = "runner.key"


@runners.command("create")
def create_runner(
    name: str,
    spec: SpecOption = None,
    server: Annotated[str, typer.Option(callback=server_url, help="How the runner's host reaches the server.")] = LOCAL,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a runner and print its key, once, with the command that lets a host join."""
    from server_stub.names import parse_resource_name

    try:
        parse_resource_name(name)
    except ValueError as error:
        fail(f"name: {error}", Exit.REFUSED)
    made = once(database, config, partial(_create, name=name, specs=spec or []), create=True)
    if as_json:
        show_one(made | {"server": server}, as_json=True)
        return
    show_one(made, as_json=False)
    print("\nThe key is not shown again. On the host, as root:\n")
    named = f"--server {shlex.quote(server)} --runner {made['slug']}"
    print(f"  {_keep(made['key'])} && runner-agent install {named} --key-file {KEY_FILE}")
    if server == LOCAL:
        print(f"\nOn another host than this one, {LOCAL} is not the server: say --server with the URL that it reaches.")


@runners.command("list")
def list_runners(
    removed: Annotated[bool, typer.Option("--removed", help="Those that were removed instead.")] = False,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """All runners: what each does, and since when a silent one is silent."""
    lost_ms = round(settings_for(database, config).lost_s * 1000)
    rows = once(database, config, partial(_list, lost_ms=lost_ms, archived=removed))
    columns = {"RUNNER": "slug", "STATE": "state", "SEEN": "seen_ago", "HOST": "hostname", "SPECS": "specs"}
    columns |= {"JOB": "job", "VERSION": "version", "NOTE": "note"}
    show_rows(rows, columns, as_json=as_json)


@runners.command("show")
def show_runner(
    name: Named, as_json: JsonOption = False, database: DatabaseOption = None, config: ConfigOption = None
) -> None:
    """All that is known of one runner."""
    lost_ms = round(settings_for(database, config).lost_s * 1000)
    show_one(once(database, config, partial(_show, named=name, lost_ms=lost_ms)), as_json=as_json)


@runners.command("rotate-key")
def rotate_key(
    name: Named,
    now: Annotated[bool, typer.Option("--now", help="Make the old key worthless at once.")] = False,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a new key. The old one stays valid for a day (setting `key_overlap_s`), so that nothing stops."""
    overlap_ms = 0 if now else round(settings_for(database, config).key_overlap_s * 1000)
    made = once(database, config, partial(_rotate, named=name, overlap_ms=overlap_ms))
    show_one(made, as_json=as_json)
    if not as_json:
        print("\nThe key is not shown again. On the host, as root; the agent restarts once its job has ended:\n")
        print(f"  {_keep(made['key'])} && runner-agent install --key-file {KEY_FILE}")


@runners.command("drain")
def drain_runner(
    name: Named,
    reason: Annotated[str | None, typer.Option(help="For those who look.")] = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Let it finish what it runs and hand it nothing more."""
    from server_stub.store import runners as store

    once(database, config, lambda tx: store.drain(tx, _find(tx, name), reason))
    print(f"{name} finishes what it holds and is handed nothing more")


@runners.command("resume")
def resume_runner(name: Named, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Hand a drained runner work again."""
    from server_stub.store import runners as store

    once(database, config, lambda tx: store.resume(tx, _find(tx, name)))
    print(f"{name} is handed work again")


@runners.command("remove")
def remove_runner(name: Named, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Take it out for good: its keys are worthless at once, and what it runs is run elsewhere."""
    from server_stub.removing import remove

    once(database, config, lambda tx: remove(tx, _find(tx, name)))
    print(f"{name} is removed")


@runners.command("allow")
def allow_spec(name: Named, spec: str, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Let a runner take jobs of a spec."""
    from server_stub.store import runners as store
    from server_stub.store import specs as spec_store

    once(database, config, lambda tx: store.add_spec(tx, _find(tx, name), spec_store.find(tx, spec)["id"]))
    print(f"{name} takes jobs of {spec}")


@runners.command("deny")
def deny_spec(name: Named, spec: str, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Let a runner take no more jobs of a spec."""
    from server_stub.store import runners as store
    from server_stub.store import specs as spec_store

    once(database, config, lambda tx: store.drop_spec(tx, _find(tx, name), spec_store.find(tx, spec)["id"]))
    print(f"{name} takes no more jobs of {spec}")


@specs.command("create")
def create_spec(  # noqa: PLR0917  Every option of the verb is a parameter; typer passes them by name.
    name: str,
    cpu: Annotated[int, typer.Option(min=1, help="CPUs for the benchmark.")] = 1,
    memory_mib: Annotated[int, typer.Option(min=1, help="MiB of memory, with no swap.")] = 1024,
    disk_mib: Annotated[int, typer.Option(min=1, help="MiB that a container may write.")] = 10240,
    architecture: Annotated[str, typer.Option(help="x86_64 or aarch64.")] = "x86_64",
    network: Annotated[bool, typer.Option("--network", help="Let containers reach a network.")] = False,
    sandbox: Annotated[str | None, typer.Option(help="An engine runtime that the host must offer.")] = None,
    fallback: Annotated[bool, typer.Option("--fallback", help="Take jobs that name no spec.")] = False,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a class of machine."""
    from server_stub.entity_json import spec_json
    from server_stub.store import specs as store

    given = {"name": name, "architecture": architecture, "cpu": cpu, "network": network, "fallback": fallback}
    body = _spec_body(given | {"memory": memory_mib << 20, "disk": disk_mib << 20, "sandbox": sandbox})
    made = once(database, config, partial(store.create, body=body), create=True)
    show_one(spec_json(made), as_json=as_json)


@specs.command("list")
def list_specs(as_json: JsonOption = False, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """All specs that are not archived."""
    from server_stub.entity_json import spec_json
    from server_stub.store import specs as store

    rows = once(database, config, store.everything)
    shown = [spec_json(row) for row in rows]
    columns = {"SPEC": "slug", "CPUS": "cpu", "MEMORY": "memory", "DISK": "disk", "ARCHITECTURE": "architecture"}
    show_rows(shown, columns | {"NETWORK": "network", "FALLBACK": "fallback", "UUID": "uuid"}, as_json=as_json)


def _spec_body(given: dict[str, Any]) -> "NewSpec":
    from pydantic import ValidationError

    from server_stub.bodies import problem_of
    from server_stub.edits import NewSpec
    from server_stub.errors import BadRequestError

    with exit_codes():
        try:
            return NewSpec.model_validate(given)
        except ValidationError as error:
            raise BadRequestError(problem_of(error)) from error
    raise typer.Exit(Exit.REFUSED)


def _keep(key: str) -> str:
    """The key goes through a file: arguments are seen by every process of the host."""
    return f"(umask 077 && echo {key} > {KEY_FILE})"


def _find(tx: "Tx", named: str) -> "Row":
    from server_stub.store import runners as store

    return store.find(tx, named, by_name=True)


def _create(tx: "Tx", name: str, specs: list[str]) -> dict[str, Any]:
    from server_stub.store import runners as store
    from server_stub.store import specs as spec_store

    uuid, key = store.create(tx, name)
    runner = store.find(tx, str(uuid))
    for spec in specs:
        store.add_spec(tx, runner, spec_store.find(tx, spec)["id"])
    return {"uuid": str(uuid), "name": name, "slug": runner["slug"], "specs": specs, "key": key}


def _rotate(tx: "Tx", named: str, overlap_ms: int) -> dict[str, Any]:
    from server_stub.store import runners as store

    runner = _find(tx, named)
    return {"uuid": runner["uuid"], "key": store.rotate_key(tx, runner, overlap_ms)}


def _list(tx: "Tx", lost_ms: int, *, archived: bool) -> list[dict[str, Any]]:
    from server_stub.store import job_reads

    return [_shown(tx, row, lost_ms) for row in job_reads.runners(tx, archived=archived)]


def _show(tx: "Tx", named: str, lost_ms: int) -> dict[str, Any]:
    from server_stub.store import job_reads

    runner = _find(tx, named)
    found = job_reads.runners(tx, archived=runner["archived_ms"] is not None)
    return _shown(tx, next(row for row in found if row["id"] == runner["id"]), lost_ms)


def _shown(tx: "Tx", row: "Row", lost_ms: int) -> dict[str, Any]:
    from server_stub.job_json import runner_json, runner_state_json
    from server_stub.store import job_reads
    from server_stub.store import runners as store

    state = job_reads.state_of(row, tx.now_ms(), lost_ms)
    shown = runner_json(row, store.spec_slugs(tx, row["id"])) | runner_state_json(row, state)
    clone = shown["clone"] or {}
    note = shown["drain_reason"] or ", ".join(shown["blocked"]) or clone.get("message")
    host, agent = shown["host"] or {}, shown["agent"] or {}
    brief = {"seen_ago": ago(row["seen_ms"]), "hostname": host.get("hostname"), "version": agent.get("version")}
    return shown | brief | {"note": note}
