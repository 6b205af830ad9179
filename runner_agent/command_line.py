"""The verbs. Each imports what it needs when it is called, so that `--help` answers at once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from runner_agent.exits import explained_faults, hold_signals, live

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Runs benchmark jobs on this host, in isolation, and reports how far the numbers can be trusted.",
)
config_app = typer.Typer(no_args_is_help=True, help="The settings.")
app.add_typer(config_app, name="config")

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (TOML). Default: /etc/runner-agent/config.toml, if there."),
]


@app.command()
def run(
    server: Annotated[str | None, typer.Option(help="URL of the API server.")] = None,
    runner: Annotated[str | None, typer.Option(help="Name, slug or UUID of this runner on the server.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the runner's key. Default: the systemd credential.")
    ] = None,
    config: Config = None,
    state_dir: Annotated[Path | None, typer.Option(help="Where the spool and the journal are kept.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Leave off after one job.")] = False,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="Leave off after so many jobs.")] = None,
) -> None:
    """Claim jobs and run them, until SIGTERM."""
    import json

    from runner_agent.memory import start_anew

    flags = {"server": server, "runner": runner, "key_file": key_file, "state_dir": state_dir}
    hold_signals()
    start_anew(json.dumps({"config": config, "flags": flags, "jobs_max": 1 if once else max_jobs}, default=str))


@app.command(name="exec", context_settings={"allow_interspersed_args": False})
def exec_(  # noqa: PLR0917  Every option of the verb is a parameter; typer passes them by name.
    image: Annotated[str, typer.Argument(help="An OCI image, of a registry or of the local engine.")],
    command: Annotated[list[str] | None, typer.Argument(help="Replaces the image's command.")] = None,
    entrypoint: Annotated[str | None, typer.Option(help="Replaces the image's entrypoint.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE, as often as needed.")] = None,
    iterations: Annotated[
        int, typer.Option("--iterations", "-n", min=0, help="Fresh containers, one after the other.")
    ] = 1,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for each iteration.")] = 3600.0,
    pull_timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for fetching the image.")] = 600.0,
    file: Annotated[list[str] | None, typer.Option("--file", help="Path or glob in the container to collect.")] = None,
    baseline: Annotated[str | None, typer.Option(help="A second image, for a paired comparison.")] = None,
    allow_failure: Annotated[bool, typer.Option("--allow-failure", help="Go on after a failed iteration.")] = False,
    cpu: Annotated[int, typer.Option(min=1, help="CPUs for the benchmark.")] = 1,
    memory_mib: Annotated[int, typer.Option(min=4, help="MiB of memory, with no swap.")] = 1024,
    disk_mib: Annotated[int, typer.Option(min=1, help="MiB that a container may write.")] = 10240,
    network: Annotated[bool, typer.Option("--network", help="Let the container reach a network.")] = False,
    sandbox: Annotated[str | None, typer.Option(help="One of this host's sandboxes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    config: Config = None,
) -> None:
    """Run one job without a server and print what would be reported. Exits with 0 when it completed, else with 1."""
    from runner_agent.alone import Machine, job_of
    from runner_agent.by_hand import run_here
    from runner_protocol.jobs import Budgets, Work

    work = Work(
        image=image,
        baseline=baseline,
        entrypoint=None if entrypoint is None else [entrypoint],
        cmd=command or None,
        env=_variables(env or []),
        iterations=iterations,
        allow_failure=allow_failure,
        file_paths=file or [],
    )
    machine = Machine(cpu=cpu, memory=memory_mib << 20, disk=disk_mib << 20, network=network, sandbox=sandbox)
    job_s_max = pull_timeout + timeout * max(1, iterations) * 4
    budgets = Budgets(pull_s_max=pull_timeout, iteration_s_max=timeout, job_s_max=job_s_max)
    sys.exit(live(lambda: run_here(job_of(work, machine, budgets), config, as_json=as_json)))


@app.command()
def install(
    server: Annotated[str | None, typer.Option(help="URL of the API server.")] = None,
    runner: Annotated[str | None, typer.Option(help="Name, slug or UUID of this runner on the server.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with the runner's key.")] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the agent, now and at boot.")] = True,
) -> None:
    """Make this host a runner: settings, key, units. As root; may be repeated.

    Exits with 0 when the agent is up and the server knows its key, 1 where systemd does not keep it up, 69 where no
    server answers, 77 where it refuses the key.
    """
    from runner_agent.install import Contact, Installer

    def contact(config: Path, key: Path) -> Contact:
        import anyio

        from runner_agent.by_hand import contact_here

        return anyio.run(contact_here, config, key)

    with explained_faults():
        sys.exit(Installer(contact).install(server=server, runner=runner, key_file=key_file, start=start))


@app.command()
def uninstall(
    purge: Annotated[bool, typer.Option("--purge", help="Remove spool and calibration too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even reports that were not delivered.")] = False,
) -> None:
    """Take the agent off this host and put the host back. As root."""
    from runner_agent.install import Installer

    with explained_faults():
        sys.exit(Installer().uninstall(purge=purge, force=force))


@app.command()
def restore(config: Config = None) -> None:
    """Put the host back as a killed agent found it, and remove its containers. For `ExecStopPost=` and by hand."""
    from runner_agent.by_hand import restore_here

    sys.exit(live(lambda: restore_here(config)))


@app.command()
def tune(
    config: Config = None,
    cpu: Annotated[int, typer.Option(min=1, help="CPUs that the job would ask for.")] = 1,
    _dry_run: Annotated[bool, typer.Option("--dry-run", help="As always: the host is tuned for a job only.")] = True,
) -> None:
    """Show which CPUs a job would get and every setting that would be turned for it. Changes nothing."""
    from runner_agent.by_hand import tuning_of

    with explained_faults():
        for line in tuning_of(config, cpu):
            print(line)


@app.command()
def doctor(
    config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False
) -> None:
    """Say what this host lacks for quiet measurements and what mends it. Exits with 0 fine, 1 noisy, 2 unfit."""
    from runner_agent.by_hand import doctor_here

    sys.exit(live(lambda: doctor_here(config, as_json=as_json)))


@app.command()
def calibrate(
    config: Config = None,
    cpu: Annotated[int, typer.Option(min=1, help="CPUs that the usual job asks for.")] = 1,
) -> None:
    """Measure for half a minute what this host can tell apart; kept, sent with reports, compared at every job."""
    from runner_agent.by_hand import calibrate_here

    sys.exit(live(lambda: calibrate_here(config, cpu)))


@app.command()
def status(
    config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False
) -> None:
    """Show how the agent on this host stands, without asking anybody."""
    import json

    from runner_agent.settings import load
    from runner_agent.upkeep import standing

    with explained_faults():
        lines = list(standing(load(config).settings))
        print(json.dumps(lines) if as_json else "\n".join(f"{name + ':':<17}{value}" for name, value in lines))


@config_app.command("check")
def config_check(config: Config = None) -> None:
    """Read the settings as `run` would, and print each with the place where it was set."""
    from runner_agent.settings import known_names, load

    with explained_faults():
        loaded = load(config)
        for name in sorted(known_names()):
            value = loaded.settings
            for part in name:
                value = getattr(value, part)
            print(f"{'.'.join(name)} = {value}  ({loaded.origins.get(name, 'default')})")


def _variables(pairs: list[str]) -> dict[str, str]:
    """`NAME=VALUE`, as Docker reads it."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not NAME=VALUE", param_hint="--env")
    return dict(pair.split("=", 1) for pair in pairs)
