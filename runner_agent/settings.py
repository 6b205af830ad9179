"""The owner's settings: command line, environment (`RUNNER_AGENT_…`), one TOML file, and the defaults here.

The first of these that names a setting wins. Tables of the file are named with two underscores in the environment
(`RUNNER_AGENT_GATE__…`). A wrong or unknown setting is refused with its name, where it stands, and, if it looks like
a slip of the pen, what was probably meant. The key itself is never a setting: it comes from a file or a systemd
credential.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from runner_agent.errors import SettingFault
from runner_agent.session import BACK_OFF_S_MAX

PREFIX: Final = "RUNNER_AGENT_"
CONFIG_FILE: Final = Path("/etc/runner-agent/config.toml")
CONFIG_VARIABLE: Final = PREFIX + "CONFIG"
CREDENTIAL: Final = "runner-key"
KEY_SHAPE: Final = re.compile(r"bencher_runner_[A-Za-z0-9]{30}")
READ_ELSEWHERE: Final = frozenset({CONFIG_VARIABLE, PREFIX + "STOP_AT"})
"""Variables with our prefix that are no settings."""


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GateTable(Table):
    """When this host asks for no work. Bytes, inodes and seconds."""

    image_free_bytes_min: int = Field(default=4 << 30, ge=0)
    image_free_inodes_min: int = Field(default=10_000, ge=0)
    state_free_bytes_min: int = Field(default=512 << 20, ge=0)
    spool_bytes_max: int = Field(default=8 << 30, ge=0)
    clock_offset_s_max: float = Field(default=86_400.0, gt=0)


class EngineTable(Table):
    """The container engine and what it grants a job. Bytes and seconds."""

    docker_host: str | None = None
    """Such as `unix:///run/docker.sock`; none: the engine's usual socket."""
    cache_bytes_max: int = Field(default=20 << 30, ge=0)
    """Of images that this runner pulled; the least recently used go first."""
    disk_free_bytes_min: int = Field(default=2 << 30, ge=0)
    """Below it nothing is pulled, and a container that gets there is killed."""
    mirror: str | None = None
    """`host:port` or `host:port/prefix`, asked first for every image."""
    docker_config: Path | None = None
    """The Docker config with registry credentials; none: the usual place of the agent's user."""
    stall_s_max: float = Field(default=60.0, gt=0)
    """A pull in which nothing arrives for so long is broken off and tried again."""
    sandboxes: dict[str, str] = Field(default_factory=dict)
    """From a spec's `sandbox` to the engine runtime that provides it."""
    pids_max: int = Field(default=4096, ge=1)
    nofile_max: int = Field(default=16384, ge=64)
    shm_bytes: int = Field(default=64 << 20, ge=0)


class IsolationTable(Table):
    """How the host is kept quiet while a job runs."""

    benchmark_cpus: str = ""
    """CPUs for benchmarks, as a kernel list such as `2-3`; empty: chosen from the topology."""
    group: str = Field(default="bench", pattern=r"^[a-z][a-z0-9]{0,31}$")
    """Name of the cgroup, or of the slice, that jobs run in. A second agent beside this one needs another."""
    partition: bool = True
    """Take these CPUs away from everything else, where the host can."""
    tune: bool = True
    """Turn the settings of the tuning table, for the length of each job."""
    switches: dict[str, bool] = Field(default_factory=dict)
    """Single settings of the tuning table, by name: false leaves one as it is."""
    canaries: bool = True
    """Time short fixed work on the benchmark's CPUs before and after each iteration."""


class Settings(BaseSettings):
    """Every setting, with its unit in its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    server: str = Field(default="http://127.0.0.1:61016", pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$")
    """Where the API server answers."""
    runner: str = Field(default="", max_length=64)
    """Name, slug or UUID under which the server knows this runner."""
    key_file: Path | None = None
    """File with the runner's key; none: the systemd credential `runner-key`."""
    ca_file: Path | None = None
    """Certificates of a private authority, PEM; none: those of the system."""
    state_dir: Path = Path("/var/lib/runner-agent")
    """Spool, journal and calibration."""
    lock_file: Path = Path("/run/lock/runner-agent.lock")
    """One agent a host: whoever holds this file's lock."""
    traces_url: str | None = Field(default=None, pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$")
    """Where an OpenTelemetry collector takes traces over HTTP; none: nothing is traced."""
    metrics_file: Path | None = None
    """Where figures for Prometheus are written, for the textfile collector of node_exporter; none: nowhere."""
    metrics_listen: str | None = Field(default=None, pattern=r"^(127\.0\.0\.1|\[::1\]):[1-9][0-9]{0,4}$")
    """Where the same figures are served, as `127.0.0.1:9101`, on this host alone; none: nowhere."""
    poll_timeout_s: int = Field(default=55, ge=1, le=900)
    """How long one poll waits for a job. Below the idle time-out of any proxy on the way."""
    pause_s_max: float = Field(default=BACK_OFF_S_MAX, gt=0)
    """The longest pause between two tries to reach a server that is away, or after a fault of this host."""
    drain_s_max: float = Field(default=3600.0, ge=0)
    """How long SIGTERM lets a running job go on before it is handed back."""
    warm_ups: int = Field(default=0, ge=0, le=1000)
    """Runs of each image before counting begins."""
    reruns_max: int = Field(default=5, ge=0, le=1000)
    """Disturbed iterations of one job that are run again."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """auto: JSON under systemd or into a pipe, text on a terminal."""
    gate: GateTable = GateTable()
    engine: EngineTable = EngineTable()
    isolation: IsolationTable = IsolationTable()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force and where each that was set stands."""

    settings: Settings
    origins: Mapping[tuple[str, ...], str]


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Read everything once. `flags`: options of the command line that were given. Raises `SettingFault`."""
    path = config or (Path(os.environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in os.environ else None)
    table = _read_file(path or CONFIG_FILE, required=path is not None)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    origins = dict.fromkeys(_leaves(table), f"in {path or CONFIG_FILE}")
    origins |= {name: f"in the variable {variable}" for name, variable in _variables()}
    origins |= {(name,): f"on the command line as --{name.replace('_', '-')}" for name in given}
    _refuse_unknown(origins)
    try:
        return Loaded(_over(table)(**given), origins)
    except ValidationError as error:
        raise SettingFault("\n".join(_explained(error, origins))) from None
    except SettingsError as error:  # A variable that should hold JSON does not.
        raise SettingFault(f"in the environment: {error}") from None


def _over(table: Mapping[str, Any]) -> type[Settings]:
    """The settings with one file's content beneath command line and environment."""

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  The library fixes the signature.
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  The same.
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(table))

    return FromFile


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        if required:
            raise SettingFault(f"{path}: there is no such file") from None
        return {}
    except OSError as error:
        raise SettingFault(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingFault(f"{path}: not TOML: {error}") from None


def _leaves(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The dotted names that a file sets. A map that is itself one setting (`sandboxes`) counts as one name."""
    for key, value in table.items():
        name = (*above, key)
        if isinstance(value, dict) and not above:
            yield from _leaves(value, name)
        else:
            yield name


def _variables() -> Iterator[tuple[tuple[str, ...], str]]:
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in READ_ELSEWHERE:
            yield tuple(variable.removeprefix(PREFIX).lower().split("__")), variable


def known_names() -> frozenset[tuple[str, ...]]:
    """Every setting there is, a table's by its two names."""
    names: set[tuple[str, ...]] = set()
    for name, field in Settings.model_fields.items():
        table = field.annotation
        if isinstance(table, type) and issubclass(table, Table):
            names |= {(name, inner) for inner in table.model_fields}
        else:
            names.add((name,))
    return frozenset(names)


def _refuse_unknown(origins: Mapping[tuple[str, ...], str]) -> None:
    known = known_names()
    tables = {(name[0],) for name in known if len(name) > 1}
    unknown = [name for name in origins if name not in known | tables]
    if unknown:
        raise SettingFault("\n".join(_unknown(name, origins[name], known) for name in unknown))


def _unknown(name: tuple[str, ...], origin: str, known: frozenset[tuple[str, ...]]) -> str:
    import difflib  # For this one sentence: a daemon that has begun holds no memory for it.

    close = difflib.get_close_matches(".".join(name), [".".join(each) for each in sorted(known)], n=1)
    meant = f"; was `{close[0]}` meant?" if close else ""
    return f"`{'.'.join(name)}` {origin}: there is no such setting{meant}"


def _explained(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """One line for each wrong setting. Values are not shown: one might be a secret in the wrong place."""
    for detail in error.errors(include_input=False, include_url=False):
        name = tuple(str(part) for part in detail["loc"])
        origin = next((origins[name[:end]] for end in (2, 1) if name[:end] in origins), "")
        yield f"`{'.'.join(name)}` {origin}: {detail['msg']}"


def read_key(key_file: Path | None) -> SecretStr:
    """The runner's key, from its file or the systemd credential. Raises `SettingFault`, never showing what it read."""
    path = key_file or credential()
    if path is None:
        raise SettingFault(f"`key_file` is not set and systemd passed no credential `{CREDENTIAL}`: there is no key")
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingFault(f"`key_file` {path}: {getattr(error, 'strerror', 'not text')}") from None
    if KEY_SHAPE.fullmatch(text) is None:
        raise SettingFault(f"`key_file` {path}: not a runner's key (bencher_runner_ and 30 letters or digits)")
    return SecretStr(text)


def credential() -> Path | None:
    """Where systemd put the key (`LoadCredential=runner-key:…`), if it did."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / CREDENTIAL if directory else None
    return path if path is not None and path.exists() else None
