"""Which CPUs a benchmark gets, over dozens of machines."""

import machines
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import CHOSEN, MACHINES, PLANS, REFUSALS

from runner_agent.cores import plan_cpus
from runner_agent.cpu_list import cpu_list, cpu_mask, parse_cpu_list, parse_cpu_mask
from runner_agent.facts import CpuPlan, Refusal, Topology


def written(plan: CpuPlan | Refusal) -> tuple[str, str, str, str | None] | str:
    if isinstance(plan, Refusal):
        return plan.reason
    return cpu_list(plan.benchmark), cpu_list(plan.idle), cpu_list(plan.housekeeping), plan.note


@pytest.mark.parametrize(
    ("topology", "wanted", "expected"), [(row[1], row[2], row[3:]) for row in PLANS], ids=[row[0] for row in PLANS]
)
def test_a_machine_is_divided(topology: Topology, wanted: int, expected: tuple[str, str, str, str | None]) -> None:
    assert written(plan_cpus(topology, wanted)) == expected


@pytest.mark.parametrize(
    ("topology", "wanted", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_what_cannot_be_is_refused_with_the_reason(topology: Topology, wanted: int, reason: str) -> None:
    assert plan_cpus(topology, wanted) == Refusal(reason)


@pytest.mark.parametrize(
    ("topology", "wanted", "chosen", "expected"), [row[1:] for row in CHOSEN], ids=[row[0] for row in CHOSEN]
)
def test_the_owner_can_choose(topology: Topology, wanted: int, chosen: str, expected: tuple[str, ...] | str) -> None:
    assert written(plan_cpus(topology, wanted, parse_cpu_list(chosen))) == expected


@given(name=st.sampled_from(sorted(MACHINES)), wanted=st.integers(1, 260))
def test_a_plan_never_promises_what_it_does_not_have(name: str, wanted: int) -> None:
    topology = MACHINES[name]
    plan = plan_cpus(topology, wanted)
    if isinstance(plan, Refusal):
        return
    usable = frozenset(cpu.number for cpu in topology.usable)
    assert len(plan.benchmark) == wanted
    assert plan.housekeeping
    assert plan.held | plan.housekeeping == usable
    assert plan.exclusive or plan.note


def test_memory_comes_from_the_nodes_of_the_cpus() -> None:
    plan = plan_cpus(machines.DUAL_16, 20)
    assert isinstance(plan, CpuPlan)
    assert plan.nodes == {0, 1}
    near = plan_cpus(machines.DUAL_16, 16)
    assert isinstance(near, CpuPlan)
    assert near.nodes == {1}


@given(st.frozensets(st.integers(0, 300)))
def test_sets_of_cpus_can_be_written_and_read_in_both_notations(cpus: frozenset[int]) -> None:
    assert parse_cpu_list(cpu_list(cpus)) == cpus
    assert parse_cpu_mask(cpu_mask(cpus)) == cpus


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("0-3,8\n", {0, 1, 2, 3, 8}), ("0-7:2/4", {0, 1, 4, 5}), ("5", {5})]
)
def test_a_list_is_read_as_the_kernel_writes_it(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["x", "3-1", "1,,2", "0-9999", "-1", "0-7:5/4"])
def test_a_list_that_is_none_is_refused_with_the_part(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_cpu_list(text)
