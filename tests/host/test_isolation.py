"""The benchmark's CPUs on a real host: taken, kept, watched, and given back whatever ends the agent."""

import json
import shlex
from typing import Any

import pytest
from host.vm import Machine, boot

pytestmark = pytest.mark.host

GUEST = "/root/project/tests/host/guest_isolation.py"
ALLOWED = "grep Cpus_allowed_list /proc/self/status"
IMPORT = (
    "mkdir -p /root/image/bin && cp /bin/busybox /root/image/bin/ && ln -sf busybox /root/image/bin/sh && "
    "tar -C /root/image -c . | docker import - bench-test:1"
)
BUSY = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"


class Guest:
    """The machine with our checkout and an image in it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.push_project()
        machine.wait_for("docker info")
        machine.sh(IMPORT)

    def call(self, *words: str, within_s: float = 400) -> Any:
        """What guest_isolation.py prints."""
        quoted = " ".join(map(shlex.quote, words))
        printed = self.machine.sh(f"{self.machine.python} {GUEST} {quoted}", within_s=within_s)
        return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def guest(vm: Machine) -> Guest:
    """The session's machine, made ready once."""
    return Guest(vm)


def words(found: dict[str, Any], number: int = 0) -> tuple[str, set[str]]:
    """The verdict of an iteration, and the codes of its reasons."""
    verdict = found["iterations"][number]["verdict"]
    return verdict["word"], {reason["code"] for reason in verdict["reasons"]}


@pytest.mark.parametrize(
    ("cpus", "level", "inside", "outside"), [(2, "partition-root", "2-3", "0-1"), (1, "partition-isolated", "3", "0-2")]
)
def test_a_partition_is_taken_and_nobody_else_is_on_its_cpus(
    guest: Guest, cpus: int, level: str, inside: str, outside: str
) -> None:
    found = guest.call("run", str(cpus), f"{ALLOWED}; {BUSY}")
    assert found["isolation"]["level"] == level
    assert found["iterations"][0]["stdout"]["text"].split() == ["Cpus_allowed_list:", inside]
    assert found["pid_1"] == [outside]
    assert found["intruders"] == []


def test_nothing_of_ours_runs_on_the_benchmarks_cpus_from_start_to_end(guest: Guest) -> None:
    found = guest.call("run", "2", BUSY)
    assert (found["ours"], found["canary_ran_ns"]) == ([], 0)


def test_a_container_that_lands_elsewhere_is_seen_from_outside(guest: Guest) -> None:
    found = guest.call("astray", "1", "sleep 5")
    word, reasons = words(found)
    assert (word, "misplaced" in reasons) == ("disturbed", True)


def test_a_neighbour_that_takes_a_cpu_is_noticed_and_the_partition_taken_again(guest: Guest) -> None:
    thief = "/sys/fs/cgroup/thief"
    steal = f"sleep 6; mkdir {thief}; echo 2-3 > {thief}/cpuset.cpus; rmdir {thief}"
    found = guest.call("run", "2", "sleep 15", steal, "2")
    word, reasons = words(found)
    assert (word, "partition_lost" in reasons) == ("disturbed", True)
    assert "partition_lost" not in words(found, 1)[1]
    assert found["pid_1"][1] == "0-1"


def test_a_reload_of_systemd_changes_nothing(guest: Guest) -> None:
    found = guest.call("run", "2", f"sleep 15; {ALLOWED}", "sleep 4; systemctl daemon-reload")
    assert "partition_lost" not in words(found)[1]
    assert found["iterations"][0]["stdout"]["text"].split() == ["Cpus_allowed_list:", "2-3"]


def test_an_agent_killed_at_any_write_leaves_a_way_back_to_every_value(guest: Guest) -> None:
    found = guest.call("sweep", "2", within_s=900)
    print(f"  killed at each of {found['writes']} writes; {found['values']} values compared each time")
    assert found["writes"] > 20
    assert found["wrong"] == {}


def test_what_somebody_else_has_changed_since_is_left_alone(guest: Guest) -> None:
    before = guest.call("snapshot")
    ended = guest.machine.sh(
        f"{guest.machine.python} {GUEST} die 2 >/dev/null 2>&1 || echo ended with $?", within_s=300
    )
    assert ended == "ended with 137\n"
    guest.machine.sh("echo 42 > /proc/sys/vm/swappiness")
    said = guest.call("restore")
    after = guest.call("snapshot")
    guest.machine.sh(f"echo {before['/proc/sys/vm/swappiness']} > /proc/sys/vm/swappiness")
    assert "/proc/sys/vm/swappiness: left at '42'; somebody else has changed it since" in said
    changed = {name for name in before if after.get(name, before[name]) != before[name]}
    assert changed == {"/proc/sys/vm/swappiness"}


def test_a_second_agent_is_refused_while_one_holds_the_host(guest: Guest) -> None:
    machine = guest.machine
    restore = f"cd /root/project && {machine.python} -m runner_agent restore"
    refused = machine.run(f"flock /run/lock/runner-agent.lock bash -c '{restore}'")
    assert refused.code == 75
    assert "holds this host: /run/lock/runner-agent.lock" in refused.err


def test_the_plain_driver_of_the_engine_is_served_as_well(guest: Guest) -> None:
    machine = guest.machine
    machine.write("/etc/docker/daemon.json", '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}')
    machine.sh("systemctl restart docker")
    try:
        found = guest.call("run", "2", ALLOWED)
    finally:
        machine.sh("rm /etc/docker/daemon.json; systemctl restart docker")
    assert found["isolation"]["level"] == "partition-root"
    assert found["iterations"][0]["stdout"]["text"].split() == ["Cpus_allowed_list:", "2-3"]
    assert found["intruders"] == []


def test_on_cgroup_version_1_the_container_is_pinned_and_the_level_says_no_more() -> None:
    with boot(words="systemd.unified_cgroup_hierarchy=0") as machine:
        found = Guest(machine).call("run", "2", f"{ALLOWED}; {BUSY}")
    assert (found["isolation"]["level"], found["isolation"]["note"]) == ("cpuset", "cgroup version 1 has no partitions")
    assert found["iterations"][0]["stdout"]["text"].split() == ["Cpus_allowed_list:", "2-3"]
    assert found["iterations"][0]["verdict"]["signals"]["foreign_cpu_s"] is not None
    assert found["ours"] == []
