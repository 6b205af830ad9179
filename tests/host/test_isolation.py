"""The benchmark's CPUs on a real host: taken, kept, watched, and given back whatever ends the agent."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from host.vm import GuestError, Machine, Ran, boot

pytestmark = pytest.mark.host

GUEST = "/root/project/tests/host/guest_isolation.py"
IMPORT = (
    "mkdir -p /root/image/bin && cp /bin/busybox /root/image/bin/ && ln -sf busybox /root/image/bin/sh && "
    "tar -C /root/image -c . | docker import - bench-test:1"
)


class Guest:
    """The machine with our checkout and an image in it, and one who answers questions there."""

    def __init__(self, machine: Machine, answers: subprocess.Popen[str]) -> None:
        self.machine = machine
        self._answers = answers

    def call(self, *words: str, within_s: float = 600) -> Any:
        """What guest_isolation.py answers."""
        printed = self.ask(*words, within_s=within_s)
        assert printed[-1] == "ended 0\n", "".join(printed)
        return json.loads(printed[-2])

    def ask(self, *words: str, within_s: float = 600) -> list[str]:
        """All that it prints; the last line says how it ended."""
        assert self._answers.stdin is not None
        assert self._answers.stdout is not None
        limit = threading.Timer(within_s, self._answers.kill)
        limit.start()
        try:
            print(json.dumps(words), file=self._answers.stdin, flush=True)
            lines = []
            while line := self._answers.stdout.readline():
                lines.append(line)
                if line.startswith("ended "):
                    return lines
        finally:
            limit.cancel()
        raise GuestError(f"no answer within {within_s:.0f} s: {words}\n{''.join(lines)}")

    def type(self, line: str, *, environment: str = "", within_s: float = 400) -> Ran:
        """What a person types behind `runner-agent`."""
        return self.machine.run(self.command(line, environment=environment), within_s=within_s)

    @contextmanager
    def engine_with(self, settings: dict[str, Any], how: str) -> Iterator[None]:
        """The container engine with other settings, for the length of the block; `how` it takes them."""
        self.machine.write("/etc/docker/daemon.json", json.dumps(settings))
        self.machine.sh(f"systemctl {how} docker")
        try:
            yield
        finally:
            self.machine.sh(f"rm /etc/docker/daemon.json; systemctl {how} docker")

    def command(self, line: str, *, environment: str = "") -> str:
        """The same, for a shell."""
        return f"cd /root/project && {environment} {self.machine.python} -m runner_agent {line}"


@contextmanager
def ready(machine: Machine) -> Iterator[Guest]:
    """A machine made ready for questions."""
    machine.push_project()
    machine.wait_for("docker info")
    machine.sh(IMPORT)
    with machine.open(f"{machine.python} {GUEST}") as answers:
        yield Guest(machine, answers)


@pytest.fixture(scope="module")
def guest(vm: Machine) -> Iterator[Guest]:
    """The file's machine, made ready once."""
    with ready(vm) as made:
        yield made


@pytest.fixture(scope="module")
def two_cpus(guest: Guest) -> Any:
    """A container on two CPUs, which several tests look at."""
    return guest.call("run", "2")


def words(found: dict[str, Any], number: int = 0) -> tuple[str, set[str]]:
    """The verdict of an iteration, and the codes of its reasons."""
    verdict = found["iterations"][number]["verdict"]
    return verdict["word"], {reason["code"] for reason in verdict["reasons"]}


def test_on_cgroup_version_1_the_container_is_pinned_and_the_level_says_no_more() -> None:
    # The first of the tests: this machine has ended before the others share theirs.
    with boot(words="systemd.unified_cgroup_hierarchy=0") as machine, ready(machine) as guest:
        found = guest.call("run", "2")
    assert (found["isolation"]["level"], found["isolation"]["note"]) == ("cpuset", "cgroup version 1 has no partitions")
    assert (found["allowed"], found["ours"]) == ([[2, 3]], [])
    assert found["iterations"][0]["verdict"]["signals"]["foreign_cpu_s"] is not None


def test_several_cpus_are_taken_as_a_root_partition_and_nobody_else_is_on_them(two_cpus: Any) -> None:
    assert two_cpus["isolation"]["level"] == "partition-root"
    assert (two_cpus["allowed"], two_cpus["pid_1"], two_cpus["intruders"]) == ([[2, 3]], [[0, 1]], [])


def test_nothing_of_ours_runs_on_the_benchmarks_cpus_from_start_to_end(two_cpus: Any) -> None:
    assert (two_cpus["ours"], two_cpus["canary_ran_ns"]) == ([], 0)


def test_one_cpu_is_taken_as_an_isolated_partition(guest: Guest) -> None:
    found = guest.call("run", "1")
    assert found["isolation"]["level"] == "partition-isolated"
    assert (found["allowed"], found["pid_1"], found["intruders"]) == ([[3]], [[0, 1, 2]], [])


def test_a_container_that_lands_elsewhere_is_seen_from_outside(guest: Guest) -> None:
    found = guest.call("astray", "1")
    word, reasons = words(found)
    assert (found["allowed"], word, "misplaced" in reasons) == ([[0]], "disturbed", True)


def test_a_neighbour_that_takes_a_cpu_is_noticed_and_the_partition_taken_again(guest: Guest) -> None:
    thief = "/sys/fs/cgroup/thief"
    found = guest.call("run", "2", f"mkdir {thief}; echo 2-3 > {thief}/cpuset.cpus; rmdir {thief}")
    word, reasons = words(found)
    assert (word, "partition_lost" in reasons) == ("disturbed", True)
    assert "partition_lost" not in words(found, 1)[1]
    assert found["pid_1"][1] == [0, 1]


def test_a_reload_of_systemd_changes_nothing(guest: Guest) -> None:
    found = guest.call("run", "2", "systemctl daemon-reload")
    assert "partition_lost" not in words(found)[1] | words(found, 1)[1]
    assert (found["allowed"], found["pid_1"]) == ([[2, 3], [2, 3]], [[0, 1], [0, 1]])


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_an_agent_killed_at_any_write_leaves_a_way_back_to_every_value(guest: Guest, driver: str) -> None:
    found = guest.call("sweep", "2", driver, within_s=1800)
    print(f"  killed at each of {found['writes']} writes; {found['values']} values compared each time")
    assert found["writes"] > 10
    assert found["wrong"] == {}


def test_a_killed_agents_changes_are_told_and_put_back_but_for_what_somebody_else_has_changed(guest: Guest) -> None:
    swappiness = "/proc/sys/vm/swappiness"
    before = guest.call("snapshot")
    plan = guest.type("tune --dry-run --cpu 2").out.splitlines()
    assert plan[:2] == ["benchmark     2-3", "idle siblings -"]
    assert plan[2:4] == ["housekeeping  0-1", "isolation     partition root"]
    assert f"swappiness         {swappiness}: 60 → 10  (the host swaps early)" in plan
    assert guest.ask("die", "2")[-1] == f"ended {-signal.SIGKILL}\n"
    guest.machine.sh(f"echo 42 > {swappiness}")
    assert f"{swappiness}: 60 → 42 (changed by somebody else)" in guest.type("status").out
    doctor = guest.type("doctor")
    assert (doctor.code, "the host was not put back" in doctor.out) == (1, True)
    assert f"{swappiness}: left at '42'; somebody else has changed it since" in guest.type("restore").out
    after = guest.call("snapshot")
    guest.machine.sh(f"echo {before[swappiness]} > {swappiness}")
    assert {name for name in before if after.get(name, before[name]) != before[name]} == {swappiness}


def test_the_job_after_a_crash_is_given_the_cpus_that_the_killed_agent_still_held(guest: Guest) -> None:
    assert guest.ask("die", "2")[-1] == f"ended {-signal.SIGKILL}\n"
    found = guest.call("run", "2")
    assert (found["isolation"]["level"], found["allowed"], found["pid_1"]) == ("partition-root", [[2, 3]], [[0, 1]])


@pytest.mark.parametrize("verb", ["restore", "exec bench-test:1"])
def test_a_second_agent_is_refused_while_one_holds_the_host(guest: Guest, verb: str) -> None:
    refused = guest.machine.run(f"flock /run/lock/runner-agent.lock bash -c '{guest.command(verb)}'")
    assert refused.code == 75
    assert "holds this host: /run/lock/runner-agent.lock" in refused.err


def test_the_plain_driver_of_the_engine_is_served_as_well(guest: Guest) -> None:
    with guest.engine_with({"exec-opts": ["native.cgroupdriver=cgroupfs"]}, "restart"):
        found = guest.call("run", "2")
    assert found["isolation"]["level"] == "partition-root"
    assert (found["allowed"], found["pid_1"], found["intruders"]) == ([[2, 3]], [[0, 1]], [])
