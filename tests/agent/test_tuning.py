"""The host's settings on a tree of files: turned, read back, journalled, and put back whatever happened."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from runner_agent.facts import CpuPlan
from runner_agent.host import HostFiles
from runner_agent.journal import Change, Journal, left_behind
from runner_agent.tune import status_lines
from runner_agent.tuner import Tuner
from runner_agent.tuning import NAMES, SETTINGS, Means, digest, selected
from runner_agent.undo import JOURNAL, bare, boot_id, restore, same
from runner_protocol.results import IsolationRecord, SettingRecord

PLAN = CpuPlan(frozenset({2, 3}), frozenset(), frozenset({0, 1}), frozenset({0}))

TREE = {
    "proc/sys/kernel/random/boot_id": "boot-1",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "performance",
    "sys/devices/system/cpu/cpufreq/boost": "1",
    "proc/irq/default_smp_affinity": "f",
    "proc/irq/7/smp_affinity_list": "0-3",
    "proc/irq/10/smp_affinity_list": "1",
    "sys/devices/virtual/workqueue/cpumask": "0000000f",
    "sys/kernel/mm/ksm/run": "1",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "proc/sys/vm/swappiness": "60",
    "proc/sys/vm/stat_interval": "1",
    "proc/sys/kernel/nmi_watchdog": "1",
}
ROWS = tuple(row for row in selected({"huge_pages": True}, partitioned=True) if row.means is Means.FILE)


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    root = tmp_path / "root"
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return HostFiles(root)


def look(files: HostFiles) -> dict[str, str]:
    return {name: bare((files.root / name).read_text()) for name in TREE}


BEFORE = {name: bare(text) for name, text in TREE.items()}


def tuner(files: HostFiles, state: Path) -> Tuner:
    return Tuner(files, Journal(state / JOURNAL, boot_id(files)))


def tune(files: HostFiles, state: Path) -> Tuner:
    made = tuner(files, state)
    for row in ROWS:
        made.apply(row, PLAN)
    return made


def test_every_setting_is_turned_read_back_and_put_back(files: HostFiles, tmp_path: Path) -> None:
    held = tune(files, tmp_path)
    now = look(files)
    assert (now["proc/irq/7/smp_affinity_list"], now["proc/irq/default_smp_affinity"]) == ("0-1", "3")
    assert (now["sys/kernel/mm/transparent_hugepage/enabled"], now["proc/sys/vm/swappiness"]) == ("never", "10")
    assert all("ours" in line for line in status_lines(tmp_path, files.root))
    held.undo()
    assert look(files) == BEFORE
    assert not (tmp_path / JOURNAL).exists()
    assert list(status_lines(tmp_path, files.root)) == ["the host is as its owner left it"]


def in_child(work: Callable[[], object]) -> int:
    """The signal that ended it, as a negative number, or its exit code."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_after(writes: int, files: HostFiles, state: Path) -> None:
    """Tune, and be gone right after that write."""
    left, write = writes, HostFiles.write

    def fatal(self: HostFiles, path: str, text: str) -> str | None:
        nonlocal left
        answer, left = write(self, path, text), left - 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    HostFiles.write = fatal  # type: ignore[method-assign]
    tune(files, state)


def test_an_agent_killed_at_any_write_leaves_a_way_back_to_every_value(files: HostFiles, tmp_path: Path) -> None:
    deaths = 0
    while in_child(partial(die_after, deaths + 1, files, tmp_path)) == -signal.SIGKILL:
        deaths += 1
        assert look(files) != BEFORE
        restore(tmp_path, files.root)
        assert look(files) == BEFORE
    assert deaths == 11
    restore(tmp_path, files.root)
    assert look(files) == BEFORE


def test_what_somebody_else_has_changed_since_is_left_alone_and_told(files: HostFiles, tmp_path: Path) -> None:
    held = tune(files, tmp_path)
    (files.root / "proc/sys/vm/swappiness").write_text("42")
    assert [line for line in status_lines(tmp_path, files.root) if "somebody else" in line] == [
        "file         /proc/sys/vm/swappiness: 60 → 42 (changed by somebody else)"
    ]
    said = held.undo()
    assert "/proc/sys/vm/swappiness: left at '42'; somebody else has changed it since" in said
    assert look(files) == BEFORE | {"proc/sys/vm/swappiness": "42"}


def test_the_same_change_to_many_is_told_in_one_line(tmp_path: Path) -> None:
    for number in (7, 10, 11):
        path = tmp_path / f"proc/irq/{number}/smp_affinity_list"
        path.parent.mkdir(parents=True)
        path.write_text("0-1" if number == 11 else "0")
    irqs = [Change("file", f"/proc/irq/{number}/smp_affinity_list", "0-1", "0") for number in (7, 10, 11)]
    threads = [Change("affinity", f"{thread}:5", "0-1", "0") for thread in (20, 30)]
    Journal(tmp_path / JOURNAL, "unknown").remember(irqs + threads)
    assert list(status_lines(tmp_path, tmp_path)) == [
        "file         /proc/irq/*/smp_affinity_list: 0-1 → 0 (ours), 2 times",
        "file         /proc/irq/*/smp_affinity_list: 0-1 → 0-1 (as before)",
        "affinity     threads: 0-1 → 0, 2 times",
    ]


def test_with_a_slices_unit_goes_the_group_that_systemd_had_to_leave(files: HostFiles, tmp_path: Path) -> None:
    unit = files.root / "run/systemd/system/bench.slice"
    group = files.root / "sys/fs/cgroup/bench.slice"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Slice]\n")
    (group / "canary").mkdir(parents=True)
    Journal(tmp_path / JOURNAL, "boot-1").remember([Change("unit", "/run/systemd/system/bench.slice", "", "ours")])
    assert restore(tmp_path, files.root) == ["/run/systemd/system/bench.slice: removed"]
    assert (unit.exists(), group.exists()) == (False, False)


def test_a_journal_of_another_boot_is_void(files: HostFiles, tmp_path: Path) -> None:
    tune(files, tmp_path)
    (files.root / "proc/sys/kernel/random/boot_id").write_text("boot-2")
    assert restore(tmp_path, files.root) == []
    assert not (tmp_path / JOURNAL).exists()


def test_a_line_that_a_crash_cut_short_belongs_to_no_change(tmp_path: Path) -> None:
    journal = Journal(tmp_path / JOURNAL, "b")
    change = Change("file", "/x", "1", "0")
    (number,) = journal.remember([change])
    journal.note(number, "0")
    journal.remember([change])
    journal.close()
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-9])
    assert left_behind(path, "b") == [replace(change, achieved="0")]
    assert left_behind(path, "another") == []


def test_a_predecessors_journal_is_never_written_over(tmp_path: Path) -> None:
    Journal(tmp_path / JOURNAL, "b").remember([Change("file", "/x", "1", "0")])
    with pytest.raises(FileExistsError):
        Journal(tmp_path / JOURNAL, "b").remember([Change("file", "/x", "0", "0")])


def test_a_setting_that_the_host_has_not_is_recorded_as_such(files: HostFiles, tmp_path: Path) -> None:
    row = next(row for row in SETTINGS if row.name == "boost_intel")
    record = tuner(files, tmp_path).apply(row, PLAN)
    assert (record.applied, record.note) == (False, "this host has none")
    assert not (tmp_path / JOURNAL).exists()


def test_a_setting_that_is_right_already_is_neither_written_nor_journalled(files: HostFiles, tmp_path: Path) -> None:
    (files.root / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor").write_text("performance")
    record = tuner(files, tmp_path).apply(next(row for row in SETTINGS if row.name == "governor"), PLAN)
    assert (record.applied, record.before, record.achieved) == (True, "performance", "performance")
    assert not (tmp_path / JOURNAL).exists()


def test_single_settings_are_switched_by_name_and_a_slip_is_refused() -> None:
    usual = {row.name for row in selected({}, partitioned=True)}
    assert "huge_pages" not in usual
    assert {"engine", "neighbours"}.isdisjoint(usual)
    assert "engine" in {row.name for row in selected({}, partitioned=False)}
    assert {row.name for row in selected({"ksm": False, "smt": True}, partitioned=True)} == (usual - {"ksm"}) | {"smt"}
    with pytest.raises(ValueError, match="kms"):
        selected({"kms": False}, partitioned=True)


def test_every_setting_says_why_and_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(SETTINGS)
    assert all(row.why for row in SETTINGS)


def test_the_digest_tells_environments_apart_by_what_is_in_force_and_not_by_what_was_before() -> None:
    knob = SettingRecord(name="ksm", path="p", wanted="0", before="1", achieved="0", applied=True)
    one = IsolationRecord(benchmark_cpus="2-3", settings=[knob])
    other = IsolationRecord(benchmark_cpus="2-3", settings=[knob.model_copy(update={"before": "0"})])
    refused = IsolationRecord(benchmark_cpus="2-3", settings=[knob.model_copy(update={"applied": False})])
    assert digest(one) == digest(other) != digest(refused)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("f", "0000000f", True),
        ("1,00000000", "100000000", False),
        ("00000001,00000000", "1,00000000", True),
        ("always [never]", "never", True),
        ("0,8", "08", False),
        ("0-3", "0-3\n", True),
        ("60", "10", False),
    ],
)
def test_values_are_compared_as_the_kernel_means_them(one: str, other: str, equal: bool) -> None:
    assert same(one, other) is equal
