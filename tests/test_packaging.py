"""The packages' own scripts, run by dpkg itself in a folder of its own, with a systemd that only remembers.

Each package here is a stand-in of a few bytes with the real scripts in it; only the folders that they name are moved.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGING = Path(__file__).resolve().parents[1] / "packaging"
AGENT, SERVER = "runner-agent.service", "server-stub.service"
ONE, TWO = "server-stub@61016.service", "server-stub@61017.service"
# Each unit is a file that holds its state; what was asked is kept in a log.
SYSTEMCTL = r"""#!/bin/sh
cd "$STAND_IN" || exit 1
echo "$*" >>log
verb=$1; shift
case $verb in
list-units)
    for word; do case $word in --state=*) wanted=,${word#--state=}, ;; esac; done
    for unit in server-stub*; do
        case $wanted in *,$(cat "$unit"),*) echo "$unit loaded $(cat "$unit") running Benchmark API server" ;; esac
    done ;;
show) for unit; do :; done; cat "$unit" ;;
stop) for unit; do [ ! -e refuses ] || exit 1; echo inactive >"$unit"; done ;;
start) for unit; do echo active >"$unit"; done ;;
esac
"""


@dataclass
class Host:
    """A folder that dpkg takes for `/`."""

    root: Path
    units: Path

    def build(self, name: str, version: str, *, broken: bool = False) -> Path:
        """A package with the real scripts. `broken`: its files cannot be unpacked, which dpkg finds out too late."""
        made = self.root / f"made/{name}-{version}"
        (made / "DEBIAN").mkdir(parents=True)
        about = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: stands in\n"
        (made / "DEBIAN/control").write_text(about)
        for script in ("postinst", "postrm", "prerm"):
            moved = re.sub(r"(?<![\w$}/])/(?=(run|opt|etc|var)/)", f"{self.root}/", _source(name, script))
            (made / "DEBIAN" / script).write_text(moved)
            (made / "DEBIAN" / script).chmod(0o755)
        content = made / f"opt/{name}/version"
        content.parent.mkdir(parents=True)
        content.write_bytes(version.encode() + os.urandom(100_000))
        package = made.with_suffix(".deb")
        subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", made, package], check=True)
        if broken:
            package.write_bytes(package.read_bytes()[:50_000])
        return package

    def dpkg(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """One call of dpkg for this folder."""
        options = [f"--root={self.root}", "--force-not-root,script-chrootless,bad-path", f"--log={self.root}/dpkg.log"]
        path = f"{self.units.parent / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        environment = os.environ | {"STAND_IN": str(self.units), "PATH": path, "LC_ALL": "C.UTF-8"}
        return subprocess.run(["dpkg", *options, *words], capture_output=True, text=True, check=False, env=environment)

    def install(self, package: Path) -> None:
        """Install what can be installed."""
        done = self.dpkg("-i", package)
        assert done.returncode == 0, done.stdout + done.stderr

    def set(self, **states: str) -> None:
        """How the units stand now."""
        for unit, state in states.items():
            (self.units / unit).write_text(state + "\n")

    def states(self) -> dict[str, str]:
        """How each unit stands."""
        return {path.name: path.read_text().strip() for path in self.units.glob("*.service")}

    def changes(self) -> list[str]:
        """What was asked of systemd that changes something, since the last question."""
        log = self.units / "log"
        asked = log.read_text().splitlines()
        log.write_text("")
        return [line for line in asked if line.startswith(("start", "stop", "--quiet disable"))]

    def installed(self, name: str) -> str:
        """The version that is wholly installed; otherwise how far it is."""
        options = ["-W", f"--admindir={self.root}/var/lib/dpkg", "-f", "${db:Status-Status} ${Version}", name]
        state, version = subprocess.check_output(["dpkg-query", *options], text=True).split()
        return version if state == "installed" else state

    def remembered(self) -> list[str]:
        """What the scripts have left in /run for each other."""
        return [path.name for path in (self.root / "run").glob("*.was-active")]


def _source(name: str, script: str) -> str:
    return (PACKAGING / name / script).read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path / "root", tmp_path / "units")
    for folder in (host.root / "run/systemd/system", host.root / "var/lib/dpkg/updates", host.units, tmp_path / "bin"):
        folder.mkdir(parents=True)
    (host.root / "var/lib/dpkg/status").touch()
    for name, text in (
        ("systemctl", SYSTEMCTL),
        ("systemd-sysusers", "#!/bin/sh\n"),
        ("getent", "#!/bin/sh\nexit 2\n"),
    ):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    host.set(**{AGENT: "inactive", SERVER: "inactive", ONE: "inactive", TWO: "inactive"})
    host.install(host.build("runner-agent", "1"))
    host.install(host.build("server-stub", "1"))
    assert host.changes() == []
    return host


@pytest.mark.parametrize("state", ["active", "activating", "reloading"])
def test_an_upgrade_stops_what_is_up_or_coming_up_and_starts_it_again(host: Host, state: str) -> None:
    host.set(**{AGENT: state})
    host.install(host.build("runner-agent", "2"))
    assert host.changes() == [f"stop {AGENT}", f"start {AGENT}"]
    host.set(**{SERVER: state})
    host.install(host.build("server-stub", "2"))
    assert host.changes() == [f"stop {SERVER}", f"start {SERVER}"]
    assert host.remembered() == []


def test_an_upgrade_starts_nothing_that_was_stopped_or_had_failed(host: Host) -> None:
    host.set(**{AGENT: "failed", ONE: "failed", TWO: "deactivating"})
    host.install(host.build("runner-agent", "2"))
    host.install(host.build("server-stub", "2"))
    assert host.changes() == [f"stop {TWO}"]


def test_an_upgrade_stops_every_instance_of_the_server_and_starts_one_after_the_other(host: Host) -> None:
    host.set(**{ONE: "active", TWO: "activating"})
    host.install(host.build("server-stub", "2"))
    assert host.changes() == [f"stop {ONE} {TWO}", f"start {ONE}", f"start {TWO}"]
    assert host.states()[SERVER] == "inactive"


def test_an_upgrade_that_cannot_be_unpacked_leaves_running_what_ran(host: Host) -> None:
    before = {AGENT: "active", SERVER: "inactive", ONE: "active", TWO: "active"}
    host.set(**before)
    for name in ("runner-agent", "server-stub"):
        assert host.dpkg("-i", host.build(name, "2", broken=True)).returncode == 1
        assert len(host.changes()) > 1  # They were stopped by then.
    assert host.states() == before
    assert host.remembered() == []
    assert [host.installed(name) for name in ("runner-agent", "server-stub")] == ["1", "1"]


def test_a_unit_that_cannot_be_stopped_keeps_its_package_and_runs_on(host: Host) -> None:
    host.set(**{AGENT: "active", ONE: "active"})
    (host.units / "refuses").touch()
    for name in ("runner-agent", "server-stub"):
        assert host.dpkg("--remove", name).returncode == 1
    assert host.changes() == [f"stop {AGENT}", f"start {AGENT}", f"stop {ONE}", f"start {ONE}"]
    assert [host.installed(name) for name in ("runner-agent", "server-stub")] == ["1", "1"]


def test_a_purge_stops_all_and_takes_away_links_settings_and_state(host: Host) -> None:
    host.set(**{AGENT: "active", ONE: "active", TWO: "active"})
    gone = [
        *("etc/runner-agent", "etc/systemd/system/runner-agent.service.d", "var/lib/runner-agent"),
        *("etc/server-stub", "etc/systemd/system/server-stub@61016.service.d", "var/lib/server-stub"),
    ]
    for folder in gone:
        (host.root / folder).mkdir(parents=True)
    assert host.dpkg("--purge", "runner-agent", "server-stub").returncode == 0
    assert host.changes() == [
        f"stop {AGENT}",
        f"--quiet disable {AGENT}",
        f"stop {ONE} {TWO}",
        f"--quiet disable {SERVER} server-stub@.service",
    ]
    assert [folder for folder in gone if (host.root / folder).exists()] == []
    assert host.remembered() == []
