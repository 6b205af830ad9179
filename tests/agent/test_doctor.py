"""What `doctor` says of a host, and its exit code for machines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FACTS
from machines import MACHINES

from runner_agent.calibration import Calibration
from runner_agent.doctor import Examined, Severity, doctor, exit_code, findings
from runner_agent.engine import PODMAN
from runner_agent.facts import Cpu, Topology

FINE = Examined(
    topology=Topology(tuple(Cpu(number, number) for number in range(4))),
    root=True,
    engine=replace(FACTS, cgroup_version=2),
    init=True,
    keyrings=False,
    controllers=frozenset({"cpuset", "cpu", "memory"}),
    schedstat=True,
    pressure=True,
    virtual=False,
    governors=frozenset({"performance"}),
    irqbalance="inactive",
    clocksource="tsc",
    swap_used=False,
    journal=False,
    calibration=Calibration(epoch="e", taken="t", noise_floor=0.001, error_95=0.001, minimum_detectable_effect=0.002),
    command_line="nohz_full=2-3",
)

PODMAN_FACTS = replace(FACTS, name=PODMAN, cgroup_version=2)
LACKS: list[tuple[dict[str, Any], Severity, str]] = [
    ({"engine": None}, Severity.UNFIT, "the container engine does not answer"),
    ({"engine": PODMAN_FACTS, "init": False}, Severity.UNFIT, "Podman lacks catatonit"),
    ({"engine": PODMAN_FACTS, "keyrings": True}, Severity.NOISY, "Podman lets benchmarks at the kernel's keyrings"),
    ({"root": False}, Severity.NOISY, "the agent is not root"),
    ({"topology": Topology((Cpu(0, 0), Cpu(1, 0)))}, Severity.UNFIT, "there is one core"),
    ({"virtual": True}, Severity.NOISY, "this is a virtual machine"),
    ({"controllers": None, "engine": FACTS}, Severity.NOISY, "the host has cgroup version 1"),
    ({"controllers": frozenset({"cpu"})}, Severity.NOISY, "cgroup version 2 lacks cpuset"),
    ({"engine": FACTS}, Severity.UNFIT, "the engine uses cgroup version 1"),
    ({"schedstat": False}, Severity.NOISY, "there is no /proc/schedstat"),
    ({"pressure": False}, Severity.NOISY, "there is no pressure information"),
    ({"clocksource": "hpet"}, Severity.NOISY, "the clock is hpet"),
    ({"swap_used": True}, Severity.NOISY, "the host has swapped"),
    ({"command_line": "quiet"}, Severity.FINE, "nohz_full= is not set"),
    ({"journal": True}, Severity.NOISY, "the host was not put back"),
    ({"calibration": None}, Severity.NOISY, "the host was never calibrated"),
]


def test_a_host_that_lacks_nothing_is_fine() -> None:
    assert (findings(FINE), exit_code(findings(FINE))) == ([], 0)


@pytest.mark.parametrize(("changes", "severity", "what"), LACKS, ids=[row[2] for row in LACKS])
def test_each_lack_is_told_with_its_cost(changes: dict[str, Any], severity: Severity, what: str) -> None:
    (finding,) = findings(replace(FINE, **changes))
    assert (finding.severity, finding.what, exit_code([finding])) == (severity, what, int(severity))
    assert finding.cost


def test_docker_brings_what_podman_may_lack() -> None:
    assert findings(replace(FINE, init=False, keyrings=True)) == []


@pytest.mark.parametrize(("own", "open_"), [(None, True), ('["kill"]', False), ('["keyctl", "kill"]', True)])
def test_a_list_of_system_calls_of_the_hosts_own_stands_for_podmans(
    tmp_path: Path, own: str | None, open_: bool
) -> None:
    lists = {"usr/share": '["keyctl", "kill"]'} | ({"etc": own} if own else {})
    for place, text in lists.items():
        (tmp_path / place / "containers").mkdir(parents=True)
        (tmp_path / place / "containers/seccomp.json").write_text(text)
    found = doctor(tmp_path, PODMAN_FACTS, root=True, tree=tmp_path)
    assert ("Podman lets benchmarks at the kernel's keyrings" in {finding.what for finding in found}) is open_


def test_what_the_agent_turns_itself_is_no_finding_for_root() -> None:
    left: dict[str, Any] = {"governors": frozenset({"powersave"}), "irqbalance": "active"}
    assert findings(replace(FINE, **left)) == []
    told = [finding.what for finding in findings(replace(FINE, **left, root=False))]
    assert told == ["the agent is not root", "the governor is not performance", "irqbalance runs"]


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_every_machine_can_be_examined(name: str) -> None:
    assert exit_code(findings(replace(FINE, topology=MACHINES[name]))) in set(Severity)


def test_an_empty_host_is_read_and_the_worst_comes_first(tmp_path: Path) -> None:
    found = doctor(tmp_path / "state", None, root=False, tree=tmp_path)
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, reverse=True)
    assert found[0].what == "the container engine does not answer"
