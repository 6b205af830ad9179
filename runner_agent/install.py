"""`install` and `uninstall`: this host becomes a runner, and is again what it was. Root only; each may be repeated.

Everything is checked before anything is written, and only what differs is written. What starts and stops the agent is
systemd; an owner's own drop-ins are left alone. Takes no key as an argument and prints none.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runner_agent.durable import write_durably
from runner_agent.errors import ServiceFault, SettingFault
from runner_agent.settings import load, read_key
from runner_agent.spool import SUFFIX

UNIT: Final = "runner-agent.service"
UNITS: Final = (UNIT, "bench.slice")
PACKAGED_PROGRAM: Final = "/usr/bin/runner-agent"
HINT: Final = "`journalctl -u runner-agent` tells why"
START_S_MAX: Final = 180
STOP_S_MAX: Final = 70 * 60
"""Above the unit's TimeoutStopSec: a running job may first come to its end."""

EX_UNAVAILABLE, EX_NOPERM = 69, 77
"""sysexits.h: the server does not answer; it refuses the key."""

BACK_OFF: Final = """\
# Written by `runner-agent install`, because this host's systemd knows these (since version 254): from 10 s to 5 min.
[Service]
RestartSteps=6
RestartMaxDelaySec=5min
"""

CONFIG: Final = """\
# Settings of the benchmark runner on this host. A line that begins with # shows the default.
# After a change: `runner-agent config check`, then `systemctl reload runner-agent`.

# Where the API server answers, and the name under which it knows this host.
server = ""
runner = ""

# Certificates of a private authority (PEM).
# ca_file = "/etc/runner-agent/ca.pem"

# Figures for Prometheus: served on this host alone, or written for node_exporter (which needs a drop-in for the unit).
# metrics_listen = "127.0.0.1:9101"
# metrics_file = "/var/lib/prometheus/node-exporter/runner-agent.prom"

# How long one poll waits for a job, in seconds. Keep it below the idle time-out of any proxy on the way.
# poll_timeout_s = 55

# How long `systemctl stop` lets a running job go on, in seconds. TimeoutStopSec= of the unit has to stay above it.
# drain_s_max = 3600.0

# Runs of each image before counting begins, and how many disturbed iterations of one job are run again.
# warm_ups = 0
# reruns_max = 5

[gate]
# Below these this host asks for no work, and tells the server why (bytes, seconds).
# image_free_bytes_min = 4294967296
# state_free_bytes_min = 536870912
# clock_offset_s_max = 86400.0

[engine]
# docker_host = "unix:///run/podman/podman.sock"
# Credentials for registries. The agent cannot see home directories.
# docker_config = "/etc/runner-agent/docker.json"
# cache_bytes_max = 21474836480
"""


class NotRootError(SettingFault):
    """Only root can do this."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things belong, beneath a root that a test can choose."""

    root: Path = Path("/")

    @property
    def config(self) -> Path:
        """The settings."""
        return self.root / "etc/runner-agent/config.toml"

    @property
    def key(self) -> Path:
        """The runner's key, which the unit hands to the agent as a credential."""
        return self.root / "etc/runner-agent/runner.key"

    @property
    def state(self) -> Path:
        """Spool and journal."""
        return self.root / "var/lib/runner-agent"

    @property
    def packaged_units(self) -> Path:
        """Units of the Debian package."""
        return self.root / "usr/lib/systemd/system"

    @property
    def own_units(self) -> Path:
        """Units that `install` copies; below /run in rank, where the agent's own slice of the moment has to win."""
        return self.root / "usr/local/lib/systemd/system"

    @property
    def back_off(self) -> Path:
        """The drop-in for a newer systemd."""
        return self.root / f"etc/systemd/system/{UNIT}.d/10-back-off.conf"


@dataclass(frozen=True, slots=True)
class Systemd:
    """The way to systemd: `systemctl` with these words. Raises `ServiceFault` where it fails or there is none."""

    def __call__(self, *words: str, within_s: float = 60) -> str:
        """What it printed."""
        done = self._done(words, within_s)
        if done.returncode:
            raise ServiceFault(f"`systemctl {' '.join(words)}` failed: {HINT}")
        return done.stdout

    def asked(self, *words: str) -> bool:
        """Whether it says yes, as in `is-active`."""
        return self._done(("--quiet", *words), 60).returncode == 0

    def _done(self, words: Sequence[str], within_s: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["systemctl", *words], check=False, timeout=within_s, stdout=subprocess.PIPE, text=True
            )
        except subprocess.TimeoutExpired:
            raise ServiceFault(f"`systemctl {' '.join(words)}` is not done after {within_s:g} s: {HINT}") from None
        except OSError as error:
            raise ServiceFault(f"there is no systemctl on this host ({error.strerror})") from None


@dataclass(frozen=True, slots=True)
class Contact:
    """What came of asking the server with this host's key."""

    exit_code: int
    told: str


@dataclass(frozen=True, slots=True)
class Installer:
    """One installation on one host."""

    contact: Callable[[Path, Path], Contact] | None = None
    """Asks the server, with these settings and this key; none: it is not asked."""
    places: Places = field(default_factory=Places)
    systemd: Systemd = field(default_factory=Systemd)
    program: Path = field(default_factory=lambda: Path(sys.argv[0]).absolute())
    say: Callable[[str], None] = print
    user: int = field(default_factory=os.geteuid)

    def install(self, *, server: str | None, runner: str | None, key_file: Path | None, start: bool = True) -> int:
        """Make this host a runner. Returns the exit code: 0, where the agent is up and the server knows its key.

        Raises `SettingFault` before anything is changed.
        """
        self._refuse_others()
        key = self._key(key_file)
        config = self._config(server, runner)
        reloadable = self._put(self.places.config, config, mode=0o644)
        changes = [self._put(self.places.key, key, mode=0o600), *self._put_units()]
        self.systemd("daemon-reload")
        if not start:
            return 0
        self._start(changed=any(changes), reloadable=reloadable)
        self._call_program("doctor")
        return self._conclude()

    def _conclude(self) -> int:
        """Say how the agent stands, and with the server. First the server: a refused key is what ends the agent."""
        contact = self.contact(self.places.config, self.places.key) if self.contact else Contact(0, "")
        if contact.told:
            self.say(contact.told)
        up = self.systemd.asked("is-active", UNIT)
        shown = self.systemd("show", "--property=ActiveState,StatusText", UNIT)
        known = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        told = ": ".join(filter(None, (known.get("ActiveState"), known.get("StatusText"))))
        self.say(f"{UNIT} is {told}" if up else f"{UNIT} is {told}; {HINT}")
        return contact.exit_code or int(not up)

    def uninstall(self, *, purge: bool = False, force: bool = False) -> int:
        """Take the agent off this host. `purge`: its state too, which is refused while it holds undelivered reports."""
        self._refuse_others()
        waiting = len(list(self.places.state.glob(f"spool/*{SUFFIX}")))
        if purge and waiting and not force:
            raise SettingFault(f"{waiting} reports were not delivered yet: start the agent, or say --force")
        if self.systemd.asked("is-active", UNIT):
            self.say("stopping the agent; a running job may come to its end first")
        self._stop()
        self._call_program("restore")
        for path in self._files():
            path.unlink(missing_ok=True)
        for directory in (self.places.config.parent, self.places.back_off.parent):
            _remove_if_empty(directory)
        if purge:
            shutil.rmtree(self.places.state, ignore_errors=True)
        self.systemd("daemon-reload")
        return 0

    def _refuse_others(self) -> None:
        if self.user != 0:
            raise NotRootError("only root can do this: try again with sudo")

    def _key(self, key_file: Path | None) -> str:
        if key_file is None and not self.places.key.exists():
            raise SettingFault("`--key-file` is needed: this host has no key yet")
        return read_key(key_file or self.places.key).get_secret_value() + "\n"

    def _config(self, server: str | None, runner: str | None) -> str:
        """The owner's file with what was given now; only if the agent would take it."""
        text = self.places.config.read_text() if self.places.config.exists() else CONFIG
        for name, value in (("server", server), ("runner", runner)):
            if value is not None:
                text = with_setting(text, name, value)
        with tempfile.TemporaryDirectory() as directory:
            tried = Path(directory) / "config.toml"
            tried.write_text(text)
            if not load(tried).settings.runner:
                raise SettingFault("`--runner` is needed: the name under which the server knows this host")
        return text

    def _put_units(self) -> list[bool]:
        changed = []
        if not (self.places.packaged_units / UNIT).exists():
            source = unit_source()
            for name in UNITS:
                text = (source / name).read_text().replace(PACKAGED_PROGRAM, str(self.program))
                changed.append(self._put(self.places.own_units / name, text, mode=0o644))
        if systemd_version(self.systemd("--version")) >= 254:
            changed.append(self._put(self.places.back_off, BACK_OFF, mode=0o644))
        return changed

    def _put(self, path: Path, text: str, *, mode: int) -> bool:
        """Write what differs; tells whether it did."""
        if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target from its first byte on as closed as it has to be.
        before = os.umask(0o777 & ~mode)
        try:
            write_durably(path, text.encode())
        finally:
            os.umask(before)
        self.say(f"wrote {path}")
        return True

    def _start(self, *, changed: bool, reloadable: bool) -> None:
        if not self.systemd.asked("is-enabled", UNIT):
            self.systemd("enable", UNIT)
        if not self.systemd.asked("is-active", UNIT):
            self.systemd("restart", UNIT, within_s=START_S_MAX)
        elif changed:
            self.say("restarting the agent; a running job may come to its end first")
            self.systemd("restart", UNIT, within_s=STOP_S_MAX)
        elif reloadable:
            self.systemd("reload", UNIT)

    def _stop(self) -> None:
        for verb, limit_s in (("stop", STOP_S_MAX), ("disable", 60)):
            if self.systemd.asked("cat", UNIT):
                self.systemd(verb, UNIT, within_s=limit_s)

    def _call_program(self, verb: str) -> None:
        """For what it prints: a finding of the doctor's does not undo an installation."""
        if self.program.exists():
            try:
                subprocess.run([self.program, verb], check=False, timeout=300)
            except (subprocess.TimeoutExpired, OSError) as error:
                self.say(f"`{self.program} {verb}` did not come to its end: {error}")

    def _files(self) -> Iterator[Path]:
        yield from (self.places.config, self.places.key, self.places.back_off)
        yield from (self.places.own_units / name for name in UNITS)


def with_setting(text: str, name: str, value: str) -> str:
    """The file with one setting of the top table changed, or added above everything else."""
    table = re.search(r"(?m)^\[", text)
    top, rest = (text[: table.start()], text[table.start() :]) if table else (text, "")
    line = f"{name} = {json.dumps(value)}"
    changed, count = re.subn(rf"(?m)^{name}\s*=.*$", lambda _: line, top, count=1)
    return (changed if count else f"{line}\n{top}") + rest


def systemd_version(printed: str) -> int:
    """From `systemctl --version`, as in `systemd 252 (252.39-1~deb12u1)`."""
    found = re.match(r"systemd (\d+)", printed)
    return int(found[1]) if found else 0


def unit_source() -> Path:
    """The units that came with this program: beside its environment, or in its checkout."""
    places: Sequence[Path] = (
        Path(sys.prefix) / "lib/systemd/system",
        Path(__file__).resolve().parents[1] / "systemd",
    )
    for place in places:
        if (place / UNIT).exists():
            return place
    raise SettingFault(f"no {UNIT} came with this program; looked in {', '.join(map(str, places))}")


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
