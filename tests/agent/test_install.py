"""`install` and `uninstall` beneath a root of their own, with a systemd that only keeps account."""

import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from agents import client_of
from fakes import FakeServer

from runner_agent.by_hand import contact_here
from runner_agent.errors import IdentityFault, ServiceFault, SettingFault
from runner_agent.exits import explained_faults
from runner_agent.install import (
    CONFIG,
    EX_NOPERM,
    EX_UNAVAILABLE,
    UNIT,
    Contact,
    Installer,
    NotRootError,
    Places,
    Systemd,
    with_setting,
)

KEY, OTHER_KEY = "bencher_runner_" + "k" * 30, "bencher_runner_" + "o" * 30
KNOWN = Contact(0, "the server knows this host")


@dataclass(frozen=True)
class Account(Systemd):
    """systemd's state and what it was told; `fails` is a verb that it refuses."""

    yes: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    fails: str = ""
    dies: bool = False
    """Whether the agent ends as soon as it is started."""

    def __call__(self, *words: str, within_s: float = 60) -> str:
        """Note it and do it."""
        if words[0] == self.fails:
            raise ServiceFault(f"{words[0]} failed")
        if words[0] == "--version":
            return "systemd 254 (254.1)"
        if words[0] == "show":
            return "ActiveState=active\nStatusText=idle\n" if "is-active" in self.yes else "ActiveState=failed\n"
        self.told.append(words[0])
        self.yes.update({"enable": ["is-enabled"], "restart": [] if self.dies else ["is-active"]}.get(words[0], []))
        self.yes.difference_update({"stop": ["is-active"], "disable": ["is-enabled"]}.get(words[0], []))
        return ""

    def asked(self, *words: str) -> bool:
        """As it was told before."""
        return words[0] == "cat" or words[0] in self.yes


@dataclass
class Host:
    """A host to be, and what was said on it."""

    root: Path
    systemd: Account = field(default_factory=Account)
    contact: Contact = KNOWN
    user: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def installer(self) -> Installer:
        """At work beneath the root."""
        places, program = Places(self.root), self.root / "no-program"
        return Installer(lambda config, key: self.contact, places, self.systemd, program, self.said.append, self.user)

    def install(self, key: str | None = KEY) -> int:
        """As the line that `runner create` prints."""
        path = self.root / "given.key"
        path.write_text(key or "")
        return self.installer.install(server="http://s:1", runner="rack-7", key_file=path if key else None)

    def files(self) -> set[str]:
        """What lies beneath the root, but for the key that was given."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        return found - {"given.key"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_is_installed_started_and_told_how_it_stands(host: Host) -> None:
    assert host.install() == 0
    assert host.files() == {
        "etc/runner-agent/config.toml",
        "etc/runner-agent/runner.key",
        "etc/systemd/system/runner-agent.service.d/10-back-off.conf",
        "usr/local/lib/systemd/system/bench.slice",
        "usr/local/lib/systemd/system/runner-agent.service",
    }
    assert stat.S_IMODE(host.installer.places.key.stat().st_mode) == 0o600
    assert f"{host.root}/no-program run" in (host.installer.places.own_units / UNIT).read_text()
    assert host.systemd.told == ["daemon-reload", "enable", "restart"]
    assert host.said[-2:] == ["the server knows this host", "runner-agent.service is active: idle"]
    assert KEY not in "".join(host.said)


def test_said_again_it_writes_nothing_and_restarts_nothing(host: Host) -> None:
    host.install()
    host.systemd.told.clear()
    host.said.clear()
    assert host.install(key=None) == 0
    assert host.systemd.told == ["daemon-reload"]
    assert [line for line in host.said if line.startswith("wrote")] == []


def test_a_changed_key_restarts_the_agent_and_changed_settings_reload_it(host: Host) -> None:
    host.install()
    host.systemd.told.clear()
    host.install(OTHER_KEY)
    host.installer.install(server="http://s:2", runner=None, key_file=None)
    assert host.systemd.told == ["daemon-reload", "restart", "daemon-reload", "reload"]
    assert host.installer.places.key.read_text() == f"{OTHER_KEY}\n"


@pytest.mark.parametrize(
    ("contact", "dies", "code"),
    [
        (Contact(EX_NOPERM, "refused"), True, EX_NOPERM),
        (Contact(EX_UNAVAILABLE, "no answer"), False, EX_UNAVAILABLE),
        (KNOWN, True, 1),
    ],
    ids=["wrong key", "wrong URL", "an agent that does not stay up"],
)
def test_what_is_not_well_is_said_and_is_the_exit_code(host: Host, contact: Contact, *, dies: bool, code: int) -> None:
    host.contact, host.systemd = contact, Account(dies=dies)
    assert host.install() == code
    state = "failed; `journalctl -u runner-agent` tells why" if dies else "active: idle"
    assert host.said[-2:] == [contact.told, f"runner-agent.service is {state}"]


@pytest.mark.parametrize(
    ("install", "why"),
    [
        (lambda host: host.install(key=None), "`--key-file` is needed"),
        (lambda host: host.install("no key"), "not a runner's key"),
        (
            lambda host: host.installer.install(server="http://s:1", runner=None, key_file=host.root / "good"),
            "`--runner` is needed",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    host: Host, install: Callable[[Host], int], why: str
) -> None:
    (host.root / "good").write_text(KEY)
    with pytest.raises(SettingFault, match=why):
        install(host)
    assert (host.files(), host.systemd.told) == ({"good"}, [])


def test_only_root_installs_and_uninstalls(host: Host) -> None:
    host.user = 1000
    for verb in (host.install, host.installer.uninstall):
        with pytest.raises(NotRootError):
            verb()


def test_a_systemd_that_refuses_ends_in_one_sentence(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.systemd = Account(fails="restart")
    with pytest.raises(SystemExit) as ended, explained_faults():
        host.install()
    assert (ended.value.code, capsys.readouterr().err) == (1, "runner-agent: restart failed\n")


@pytest.mark.parametrize(
    ("script", "words", "why"),
    [
        ("exit 3", ("restart", UNIT), f"`systemctl restart {UNIT}` failed: `journalctl -u runner-agent` tells why"),
        ("exec sleep 9", ("stop",), "`systemctl stop` is not done after 0.2 s: `journalctl -u runner-agent` tells why"),
        (None, ("stop",), r"there is no systemctl on this host \(No such file or directory\)"),
    ],
    ids=["fails", "hangs", "absent"],
)
def test_every_way_in_which_systemctl_fails_is_a_fault_of_the_service(
    script: str | None, words: Sequence[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        program = tmp_path / "systemctl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if script else str(tmp_path))
    with pytest.raises(ServiceFault, match=f"^{why}$"):
        Systemd()(*words, within_s=0.2 if script != "exit 3" else 30)


def test_uninstalling_leaves_reports_that_wait_and_purging_refuses_to_lose_them(host: Host) -> None:
    host.install()
    report = host.installer.places.state / "spool" / "000000000001-job-1.report"
    report.parent.mkdir(parents=True)
    report.touch()
    with pytest.raises(SettingFault, match="1 reports were not delivered yet"):
        host.installer.uninstall(purge=True)
    assert "stop" not in host.systemd.told
    assert host.installer.uninstall() == 0
    assert host.files() == {str(report.relative_to(host.root))}
    assert host.systemd.told[-3:] == ["stop", "disable", "daemon-reload"]
    assert host.installer.uninstall(purge=True, force=True) == 0
    assert host.files() == set()


def test_a_setting_is_changed_in_its_place_or_added_above_everything() -> None:
    own = '# mine\nserver = "http://old"  # note\n\n[engine]\nserver = "not this one"\n'
    assert with_setting(own, "server", "http://new") == (
        '# mine\nserver = "http://new"\n\n[engine]\nserver = "not this one"\n'
    )
    assert with_setting("[gate]\n", "runner", 'a "b"') == 'runner = "a \\"b\\""\n[gate]\n'
    assert 'runner = "rack-7"\n' in with_setting(CONFIG, "runner", "rack-7")


@pytest.mark.anyio
async def test_a_greeting_tells_a_known_key_from_another_and_changes_nothing() -> None:
    server = FakeServer()
    async with client_of(server) as client:
        await client.greet()
    async with client_of(server, key=OTHER_KEY) as client:
        with pytest.raises(IdentityFault):
            await client.greet()
    assert server.claims == []


@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_told_by_its_address(tmp_path: Path) -> None:
    config, key = tmp_path / "config.toml", tmp_path / "key"
    config.write_text('server = "http://127.0.0.1:9"\nrunner = "rack-7"\n')
    key.write_text(KEY)
    contact = await contact_here(config, key)
    assert contact.exit_code == EX_UNAVAILABLE
    assert contact.told.startswith("no answer of a server at http://127.0.0.1:9")


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "packaging/runner-agent/postinst"])
def test_every_page_that_shows_how_to_install_names_all_that_is_needed(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    shown = re.findall(r"runner-agent install (--server[^`\n]*)", text)
    assert shown
    assert [line for line in shown if "--runner" not in line or "--key-file" not in line] == []
