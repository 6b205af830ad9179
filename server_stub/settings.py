"""The server's settings: environment `SERVER_STUB_*`, then one TOML file, then the defaults below.

Read once, by `__main__`. A wrong value is named together with the variable or the file it came from; a key of the file
that nobody knows is refused with the nearest known one. Opens nothing but that file.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from server_stub.errors import BadRequestError

PREFIX = "SERVER_STUB_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
"""Path of the TOML file."""

ENVELOPE_BYTES = 64 << 10
"""What may stand around a report that is as large as one piece."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=31 * 86400)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 30)]
Creations = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Settings(BaseSettings):
    """Everything that an operator may turn. Lengths of time are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 61016
    """Port to listen on; 0 takes a free one."""
    database: str = "sqlite:///server-stub.db"
    """`sqlite:///FILE`, or `postgresql://user:password@host/name` for several servers on one database."""
    console_url: HttpUrl | None = None
    """Where people look at reports: clients build their links from it. None: this server's own pages."""
    request_bytes_max: Bytes = 4 << 20
    """Of the body of a public request; a larger one is refused while it is being read."""
    proxies_trusted: bool = False
    """Whether `X-Forwarded-For` names the client: only behind a proxy of one's own."""
    metrics: bool = True
    """Whether `/metrics` answers."""
    traces_url: str | None = None
    """Where an OpenTelemetry collector takes traces over HTTP; none: nothing is traced."""

    heartbeat_s: Seconds = 15
    """How often the holder of a lease should say that it lives."""
    lease_s: Seconds = 45
    """How long a lease holds without a heartbeat: three missed beats, so that one lost packet costs nothing."""
    confirm_s: Seconds = 30
    """How long a claim waits for its first heartbeat before the job returns to the queue at no cost."""
    outage_grace_s: Seconds = 90
    """How long the holders of leases have to speak up after the server or its database was away: agents that wait to
    deliver a report try every 60 s at least."""
    attempts_max: Annotated[int, Field(ge=1, le=100)] = 3
    """Attempts that a job may lose to lost hosts and other faults of the infrastructure."""
    requeue_s_max: Seconds = 120
    """How long a job waits after it lost an attempt so: 2 s, then 30, then 120, or this where it is less."""
    sweep_s: Annotated[float, Field(gt=0, le=60)] = 1
    """How often each server process looks for leases that ran out."""
    seen_flush_s: Annotated[float, Field(gt=0, le=60)] = 15
    """How often it is written down which runners were heard of."""
    lost_s: Seconds = 180
    """After how long without a word a runner is shown as lost."""

    key_overlap_s: Seconds = 86400
    """How long a runner's old key stays valid beside the new one."""

    pull_s_max: Seconds = 600
    """Budget of one image's pull."""
    timeout_s: Annotated[int, Field(ge=1, le=2**31 - 1)] = 3600
    """Budget of one iteration, where a job names none."""
    job_grace_s: Seconds = 60
    """What a job may take beyond its whole budget before the server cancels it."""
    job_s_max: Seconds = 7 * 86400
    """Ceiling of any job's whole budget."""
    stream_bytes_max: Bytes = 25 << 20
    """Of stdout, and of stderr, of one iteration."""
    files_bytes_max: Bytes = 25 << 20
    """Of the collected files of one iteration."""
    report_bytes_max: Bytes = 256 << 20
    """Of one whole report."""
    piece_bytes_max: Bytes = 1 << 20
    """Of one piece of a large report."""

    claimed_per_day_max: Creations | None = None
    """How much may be made within 24 hours in a project whose organization has members: of each kind, so many reports,
    branches, testbeds, benchmarks, measures and thresholds, and projects of its organization. Unset: any number."""
    unclaimed_per_day_max: Creations | None = None
    """The same where anybody may write. A run that would pass it is refused with 429 and leaves nothing."""

    tiers: bool = False
    """Whether organizations without members run one short job at a time for each address, and others one job each."""

    def body_bytes_max(self, path: str) -> int:
        """The bound on the body of a request to `path`. Runners have one of their own, for pieces of reports."""
        if path.startswith("/v0/runners/"):
            return max(self.request_bytes_max, self.piece_bytes_max + ENVELOPE_BYTES)
        return self.request_bytes_max


def read_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; `overrides` (from the command line) win over everything where they are not None.

    Raises `BadRequestError` naming the setting and where it came from.
    """
    path = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    from_file = {} if path is None else _read_file(path)
    given = {name: value for name, value in overrides.items() if value is not None}
    in_environment = {name for name in Settings.model_fields if os.environ.get(PREFIX + name.upper())}
    # What is passed to the constructor wins over the environment, so that the file gives way here.
    unset = {name: value for name, value in from_file.items() if name not in in_environment}
    try:
        return Settings(**unset | given)
    except ValidationError as error:
        raise BadRequestError(_explain(error, path, unset, given)) from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadRequestError(f"{path}: {error}") from error
    for key in content:
        if key not in Settings.model_fields:
            near = difflib.get_close_matches(key, Settings.model_fields, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise BadRequestError(f"{path}: no setting is called `{key}`{hint}")
    return content


def _explain(error: ValidationError, path: Path | None, from_file: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if name in given:
        source = f"option --{name.replace('_', '-')}"
    elif name in from_file:
        source = f"{path}: {name}"
    else:
        source = f"environment variable {PREFIX}{name.upper()}"
    return f"{source}: {first['msg']}"
