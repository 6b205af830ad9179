"""A runner's host from its first package to its last: what docs/operations.md says to type, and all that may befall it.

Server and agent share one machine, once with each Debian. The tests go on from one another, as a host's days do.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from host.conftest import packaged
from host.operations_page import SUDO, boxes, join_lines, section
from host.vm import IMAGE, MADE_IMAGE, Machine, boot

pytestmark = pytest.mark.host

STATE = "/var/lib/runner-agent"
OLD = "0.0.1"
CENSUS = Path(__file__).with_name("guest_census.py")
INSECURE = """
[[registry]]
location = "127.0.0.1:5000"
insecure = true
"""


@dataclass
class Host:
    """A machine that runs a server and, as the runner `rack-7`, an agent."""

    machine: Machine
    install: str = ""
    """What is typed to install the agent, and to have it join."""
    before: list[dict[str, str]] = field(default_factory=list)
    """Two censuses from before the agent came: what differs between them changes by itself."""

    def sh(self, command: str, *, within_s: float = 300) -> str:
        """The output of what has to succeed."""
        return self.machine.sh(command, within_s=within_s)

    def server(self, words: str) -> Any:
        """What a verb of the server's says as JSON."""
        verb = f"sudo -u server-stub server-stub {words} --config /etc/server-stub/config.toml --json"
        return json.loads(self.sh(f"cd / && {verb}"))

    def submit(self, seconds: float) -> str:
        """A job that takes so long; its UUID."""
        script = f"""sleep {seconds}; echo '{{"sleep": {{"latency": {{"value": {seconds}}}}}}}'"""
        words = f"--adapter json --image {IMAGE} --project life -- sh -c {shlex.quote(script)}"
        report = json.loads(self.sh(f"server-stub submit --server http://server:61016 --json {words}"))
        return str(report["job"])

    def job(self, job: str) -> dict[str, Any]:
        """How it stands with a job."""
        shown: dict[str, Any] = self.server(f"job show {job}")
        return shown

    def wait_for_job(self, job: str, status: str = "processed") -> dict[str, Any]:
        """Wait until a job is where it should be."""
        show = f"sudo -u server-stub server-stub job show {job} --config /etc/server-stub/config.toml --json"
        self.machine.wait_for(f"cd / && {show} | jq -e '.status == \"{status}\"'", within_s=300)
        return self.job(job)

    def wait_until_it_runs(self, job: str) -> None:
        """Wait until the job's container is there."""
        self.wait_for_job(job, "running")
        self.machine.wait_for("docker ps -q | grep .")

    def property(self, name: str) -> str:
        """What systemd says of the agent."""
        return self.sh(f"systemctl show -P {name} runner-agent").strip()

    def census(self) -> dict[str, str]:
        """Every file and setting."""
        counted: dict[str, str] = json.loads(self.sh("python3 /root/guest_census.py"))
        return counted


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as they were a version ago."""
    return packaged(tmp_path_factory.mktemp("earlier"), VERSION=OLD)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def host(request: pytest.FixtureRequest, packages: Path, earlier: Path) -> Iterator[Host]:
    """Installed as the page says, from packages a version old; the new ones lie in /root/new."""
    _, server, agent = boxes(section("Install a host"))
    with boot(request.param) as machine:
        host = Host(machine)
        machine.write("/usr/local/bin/sudo", SUDO)
        machine.sh("chmod 755 /usr/local/bin/sudo; echo 127.0.0.1 server >> /etc/hosts; rm -f /root/guest_census.py")
        machine.push(packages, "/root/new")
        machine.push(earlier, "/root/old")
        machine.push(CENSUS, "/root/guest_census.py")
        machine.wait_for("docker info")
        # With a host's first container systemd turns controllers on.
        machine.sh(f"{MADE_IMAGE} && docker run --rm {IMAGE} sh -c :")
        joins = join_lines(machine.sh(f"cd /root/old; set -e; {server}", within_s=600))
        host.before = [host.census(), host.census()]
        install, join = agent.splitlines()
        assert re.sub(r"echo \S+ >", "echo KEY >", joins["rack-7"]) == join
        host.install = f"set -e; {install}\n{joins['rack-7']}; rm runner.key"
        print(machine.sh(f"cd /root/old; {host.install}", within_s=600))
        yield host


def test_what_is_installed_is_active_and_waits_for_work(host: Host) -> None:
    assert host.property("ActiveState") == "active"
    assert host.sh("stat -c %a:%U /etc/runner-agent/runner.key").strip() == "600:root"
    host.machine.wait_for("systemctl status runner-agent | grep -q 'Status: \"idle'")
    assert [runner["state"] for runner in host.server("runner list")] == ["idle"]


def test_a_jobs_lines_are_found_in_the_journal_by_its_id(host: Host) -> None:
    job = host.submit(0)
    host.wait_for_job(job)
    lines = [json.loads(line) for line in host.sh(f"journalctl JOB={job} -o json").splitlines()]
    assert {"job_claimed", "job_ended", "report_delivered"} <= {line["EVENT"] for line in lines}
    assert {line["ATTEMPT"] for line in lines} == {"1"}


def test_the_unit_is_active_only_once_the_agent_is_ready(host: Host) -> None:
    host.sh("systemctl stop runner-agent && systemd-run -q --unit=holder flock /run/lock/runner-agent.lock sleep 600")
    host.sh("systemctl start --no-block runner-agent")
    host.machine.wait_for("test $(systemctl show -P NRestarts runner-agent) -ge 1")
    assert host.property("ActiveState") == "activating"
    host.sh("systemctl stop holder")
    host.machine.wait_for("systemctl is-active runner-agent")


def test_a_stop_lets_the_job_come_to_its_end(host: Host) -> None:
    job = host.submit(10)
    host.wait_until_it_runs(job)
    host.sh("systemctl stop runner-agent")
    assert host.sh("docker ps -aq") == ""
    host.sh("systemctl start runner-agent")
    assert host.wait_for_job(job)["attempt"] == 1


def test_an_agent_killed_in_a_job_comes_back_and_the_job_is_run_again(host: Host) -> None:
    before = host.property("NRestarts")
    job = host.submit(10)
    host.wait_until_it_runs(job)
    host.sh("systemctl kill -s KILL --kill-whom=main runner-agent")
    assert host.wait_for_job(job)["attempt"] == 2
    assert int(host.property("NRestarts")) == int(before) + 1
    assert host.sh("docker ps -aq") == ""


def test_a_loop_that_is_stuck_is_ended_by_the_watchdog(host: Host) -> None:
    before = int(host.property("NRestarts"))
    stuck = host.property("MainPID")
    host.sh(f"kill -STOP {stuck}")
    host.machine.wait_for(f"test $(systemctl show -P NRestarts runner-agent) -gt {before}", within_s=180)
    host.machine.wait_for("systemctl is-active runner-agent")
    assert "watchdog timeout" in host.sh("journalctl -u runner-agent -o cat").lower()
    assert host.property("MainPID") != stuck
    host.wait_for_job(host.submit(0))


def test_the_packages_bring_what_traces_need(host: Host) -> None:
    load = "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter"
    for program in ("runner-agent", "server-stub"):
        host.sh(f"cd / && /opt/{program}/bin/python3 -Bc '{load}'")


def test_an_upgrade_between_jobs_loses_none(host: Host) -> None:
    jobs = [host.submit(8) for _ in range(3)]
    host.wait_until_it_runs(jobs[0])
    host.sh("cd /root/new && apt-get install -y ./runner-agent_*.deb", within_s=600)
    host.sh("cd /root/new && apt-get install -y ./server-stub_*.deb", within_s=600)
    assert [host.wait_for_job(job)["attempt"] for job in jobs] == [1, 1, 1]
    versions = host.sh("dpkg-query -W -f '${Version}\\n' runner-agent server-stub").split()
    assert OLD not in versions
    assert host.property("ActiveState") == "active"


def test_a_purge_leaves_the_host_as_it_was(host: Host) -> None:
    remove = boxes(section("Remove"))[0]
    uninstall, purge = re.findall(r"(?m)^sudo (runner-agent uninstall|apt purge runner-agent)", remove)
    host.sh(f"{uninstall} && {purge.replace('apt', 'apt-get')} -y", within_s=600)
    one, two = host.before
    after = host.census()
    by_itself = {path for path in one.keys() | two.keys() if one.get(path) != two.get(path)}
    changed = {
        path: (one.get(path), after.get(path))
        for path in (one.keys() | after.keys()) - by_itself
        if one.get(path) != after.get(path) and "server-stub" not in path  # That was upgraded, and stays.
    }
    print(json.dumps(changed, indent=1))
    assert changed == {}


def test_a_report_that_found_no_server_is_delivered_after_a_reboot(host: Host) -> None:
    host.sh(f"cd /root/new; {host.install}", within_s=600)  # What was purged may come again.
    job = host.submit(8)
    host.wait_until_it_runs(job)
    host.sh("systemctl stop server-stub")
    host.machine.wait_for(f"ls {STATE}/spool/* | grep -q {job}")
    host.machine.reboot()
    assert host.wait_for_job(job)["attempt"] == 1
    host.machine.wait_for(f"! ls {STATE}/spool/* | grep -q {job}")


def test_podman_runs_jobs_through_its_socket(host: Host) -> None:
    host.machine.write("/etc/containers/registries.conf.d/tests.conf", INSECURE)
    host.sh("systemctl start docker-registry; systemctl enable --now podman.socket")
    socket = 'docker_host = "unix:///run/podman/podman.sock"'
    host.sh(f"cd /etc/runner-agent && cp -p config.toml kept && sed -i 's|^\\[engine\\]|&\\n{socket}|' config.toml")
    host.sh("systemctl reload runner-agent")
    ended = host.wait_for_job(host.submit(1))
    assert ended["host"]["engine"].lower().startswith("podman")
    host.sh("cd /etc/runner-agent && mv kept config.toml && systemctl reload runner-agent")
    host.sh("systemctl disable --now podman.socket; rm /etc/containers/registries.conf.d/tests.conf")


def test_a_purge_of_the_server_leaves_nothing_of_it(host: Host) -> None:
    host.sh("apt-get purge -y server-stub", within_s=600)
    left = host.machine.run(
        "getent passwd server-stub || ls -d /opt/server-stub /etc/*server-stub* /var/lib/server-stub"
    ).out
    assert left == ""
