"""The kernel's counters: files as they were recorded, read through descriptors that are kept."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner_agent import counters
from runner_agent.counters import Reading, passage
from runner_agent.culprits import Ran, named, parse, processes, suspects
from runner_agent.host import HostFiles
from runner_agent.kernel_log import SICK, KernelLog
from runner_agent.watch import KeptFile, Sentinel, Watch
from runner_protocol.results import Reason, Verdict, Word

SCHEDSTAT = """version 15
timestamp 4295200000
cpu0 0 0 0 0 0 0 1000 2000 30
domain0 f 0 0
cpu1 0 0 0 0 0 0 5000000 700 10
cpu2 0 0 0 0 0 0 7000000 700 10
"""
STAT = """cpu  10 0 10 100 0 0 0 9 0 0
cpu0 5 0 5 50 0 1 1 4 0 0
cpu1 7 1 3 50 9 2 2 5 0 0
cpu2 1 0 0 99 0 0 0 0 0 0
intr 1 2 3
"""
INTERRUPTS = """           CPU0       CPU1       CPU2
  1:         10         20         30  IO-APIC   1-edge      i8042
 36:          0      19132          7  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
LOC:     392884     391317     391317   Local timer interrupts
ERR:          0
"""
SOFTIRQS = """                    CPU0       CPU1       CPU2
          HI:          0          1          2
       TIMER:      45067      33121          1
      NET_RX:      77700      74631          5
         RCU:     116170     142868          1
"""
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
VMSTAT = "nr_free_pages 7\npswpin 3\npswpout 4\noom_kill 2\n"
CPU_STAT = "usage_usec 4000\nuser_usec 3000\nnr_throttled 0\nthrottled_usec 12\n"


def test_run_time_is_read_for_the_held_cpus_only() -> None:
    assert counters.schedstat_ns(SCHEDSTAT, [1, 2]) == 12_000_000
    assert counters.per_cpu_ns("100 200 300\n", [0, 2]) == 400
    assert counters.stat_busy_ns(STAT, [1]) == 15 * counters.TICK_NS
    assert counters.stat_steal_ns(STAT, [0, 1]) == 9 * counters.TICK_NS


def test_a_cpu_that_a_file_does_not_tell_of_is_unknown() -> None:
    assert counters.schedstat_ns(SCHEDSTAT, [1, 9]) is None
    assert counters.per_cpu_ns("100 200\n", [2]) is None
    assert counters.stat_busy_ns(STAT, [9]) is None
    assert counters.stat_busy_ns("cpu1 1 2\n", [1]) is None
    assert counters.keyed(VMSTAT, "pgscan") is None
    assert counters.keyed(VMSTAT, "swpin") is None
    assert (counters.keyed(VMSTAT, "nr_free_pages"), counters.keyed(VMSTAT, "oom_kill")) == (7, 2)
    assert counters.pressure_ns("") is None


def test_interrupts_are_those_of_devices_by_name() -> None:
    assert counters.device_interrupts(INTERRUPTS, [1, 2]) == {
        "i8042 (irq 1)": 50,
        "virtio1-req.0 (irq 36)": 19139,
    }
    assert counters.soft_interrupts(SOFTIRQS, [1, 2]) == {"HI (softirq)": 3, "NET_RX (softirq)": 74636}


@pytest.fixture
def tree(tmp_path: Path) -> HostFiles:
    files = {
        "proc/stat": STAT,
        "proc/schedstat": SCHEDSTAT,
        "proc/vmstat": VMSTAT,
        "proc/interrupts": INTERRUPTS,
        "proc/softirqs": SOFTIRQS,
        "sys/fs/cgroup/bench/i0/cpu.stat": CPU_STAT,
        "sys/fs/cgroup/bench/i0/memory.pressure": PRESSURE,
        "sys/fs/cgroup/bench/i0/memory.peak": "4096\n",
        "sys/fs/cgroup/bench/cpuset.cpus.partition": "root\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "5\n",
        "sys/class/hwmon/hwmon0/temp1_input": "41000\n",
        "sys/class/hwmon/hwmon0/temp2_input": "45500\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return HostFiles(tmp_path)


def watching(files: HostFiles) -> Watch:
    partition = "/sys/fs/cgroup/bench/cpuset.cpus.partition"
    return Watch(files, held=frozenset({1, 2}), benchmark=frozenset({1}), partition=partition)


def test_a_reading_has_everything_that_this_host_tells(tree: HostFiles) -> None:
    watch = watching(tree)
    watch.follow(["/sys/fs/cgroup/bench/i0"])
    reading = watch.reading()
    watch.close()
    assert reading == Reading(
        at_ns=reading.at_ns,
        raw_ns=reading.raw_ns,
        ran_ns=12_000_000,
        own_ns=4_000_000,
        steal_ns=5 * counters.TICK_NS,
        throttled_ns=12_000,
        memory_wait_ns=1_234_000,
        interrupts=counters.device_interrupts(INTERRUPTS, [1, 2]) | counters.soft_interrupts(SOFTIRQS, [1, 2]),
        swapped_pages=7,
        oom_kills=2,
        thermal_throttles=5,
        frequency_mhz=3000.0,
        temperature_c=45.5,
        memory_peak_bytes=4096,
        partition="root",
    )


def test_a_host_that_tells_nothing_gives_unknowns(tmp_path: Path) -> None:
    watch = Watch(HostFiles(tmp_path), held=frozenset({1}), benchmark=frozenset({1}), partition=None)
    reading = watch.reading()
    watch.close()
    assert reading == Reading(at_ns=reading.at_ns, raw_ns=reading.raw_ns, ran_step_ns=counters.TICK_NS)


def test_a_kept_file_is_read_anew_and_outlives_its_name(tmp_path: Path) -> None:
    path = tmp_path / "counter"
    path.write_text("1")
    kept = KeptFile(HostFiles(tmp_path), "/counter")
    path.write_text("22")
    assert kept.text() == "22"
    path.unlink()
    assert kept.text() == "22"
    kept.close()
    assert kept.text() is None


def reading(at_ms: int, **changes: object) -> Reading:
    return Reading(at_ns=at_ms * 1_000_000, raw_ns=at_ms * 1_000_000, **changes)  # type: ignore[arg-type]


def test_what_the_engine_did_while_it_started_the_container_is_told_apart() -> None:
    before = reading(0, ran_ns=0, own_ns=0, partition="root")
    started = reading(100, ran_ns=80_000_000, own_ns=10_000_000, partition="root")
    after = reading(1100, ran_ns=1_090_000_000, own_ns=1_010_000_000, partition="root")
    seen = passage(before, started, after, cpus=1, word="root")
    assert (seen.wall_ns, seen.foreign_ns, seen.foreign_early_ns) == (1_000_000_000, 10_000_000, 70_000_000)
    assert seen.idle_ns == 0
    assert seen.partition_lost is None


def test_time_in_which_nobody_ran_is_told_where_it_is_counted_finely() -> None:
    before, after = reading(0, ran_ns=0), reading(100, ran_ns=150_000_000)
    assert passage(before, None, after, cpus=2, word=None).idle_ns == 50_000_000
    assert passage(before, None, replace(after, ran_step_ns=counters.TICK_NS), cpus=2, word=None).idle_ns is None


def test_what_the_hypervisor_took_before_the_command_ran_is_not_held_against_it() -> None:
    before, started, after = (reading(at, steal_ns=ns) for at, ns in ((0, 0), (100, 90), (200, 100)))
    assert passage(before, started, after, cpus=1, word=None).steal_ns == 10


def test_a_partition_that_is_invalid_at_any_reading_was_lost() -> None:
    readings = [reading(at, partition=word) for at, word in ((0, "root"), (1, "root invalid"), (2, "root"))]
    assert passage(*readings, cpus=1, word="root").partition_lost == "root invalid"


def test_a_clock_that_was_bent_shows_against_the_one_that_cannot_be() -> None:
    before = Reading(at_ns=0, raw_ns=0)
    after = Reading(at_ns=1_001_000_000, raw_ns=1_000_000_000)
    skew = passage(before, None, after, cpus=1, word=None).clock_skew_ppm
    assert skew is not None
    assert round(skew) == 1000


def test_a_change_that_is_undone_before_the_next_look_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "partition"
    path.write_text("root")
    sentinel = Sentinel(str(path))
    assert not sentinel.heard()
    path.write_text("member")
    path.write_text("root")
    assert (sentinel.heard(), sentinel.heard()) == (True, False)
    sentinel.close()
    assert not sentinel.heard()


@pytest.mark.parametrize(
    ("line", "sick"),
    [
        ("mce: [Hardware Error]: Machine check events logged", True),
        ("CPU3: Core temperature above threshold, cpu clock throttled", True),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s!", True),
        ("blk_update_request: I/O error, dev sda, sector 12", True),
        ("e1000e: eth0 NIC Link is Down", True),
        ("docker0: port 1(veth1) entered blocking state", False),
        ("Memory cgroup out of memory: Killed process 12 (bench)", False),
    ],
)
def test_of_the_kernels_log_only_what_doubts_the_machine_counts(line: str, sick: bool) -> None:
    assert bool(SICK.search(line)) is sick


def test_the_log_is_read_from_where_it_was_left(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    path = tmp_path / "dev" / "kmsg"
    path.write_text("4,1,1,-;mce: old\n")
    log = KernelLog(tmp_path / "dev/kmsg")
    log.skip()
    with path.open("a") as file:
        file.write("4,2,2,-;mce: new\n")
    assert log.sick_lines() == ("mce: new",)
    log.close()


def test_the_culprit_ran_there_may_run_there_and_gained_most(tmp_path: Path) -> None:
    before = {1: Ran("init", 10, 0), 7: Ran("idle", 50, 3), 8: Ran("dockerd", 5, 3)}
    after = {**before, 8: Ran("dockerd", 90, 3), 9: Ran("make", 30, 2), 10: Ran("cc1", 20, 3), 11: Ran("far", 99, 0)}
    assert [ran.name for _, ran in suspects(before, after, {2, 3})] == ["dockerd", "make", "cc1"]
    for pid, ran in after.items():
        fields = ["S", *["0"] * 10, str(ran.ticks), "0", *["0"] * 23, str(ran.cpu), "0"]
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        (tmp_path / "proc" / str(pid) / "stat").write_text(f"{pid} ({ran.name}) {' '.join(fields)}\n")
        allowed = "0-1" if ran.name == "dockerd" else "0-3"
        (tmp_path / "proc" / str(pid) / "status").write_text(f"Name:\tx\nCpus_allowed_list:\t{allowed}\nMems:\t0\n")
    verdict = Verdict(
        word=Word.DISTURBED, reasons=[Reason(code="foreign_cpu", message="m"), Reason(code="oom", message="m")]
    )
    files = HostFiles(tmp_path)
    assert processes(files) == after
    found = named(verdict, before, after, files, frozenset({2, 3}))
    assert [reason.culprit for reason in found.reasons] == ["make", None]


def test_a_process_is_read_whatever_its_name() -> None:
    fields = ["R", *["0"] * 10, "7", "8", *["0"] * 23, "5", "0"]
    assert parse(f"42 (a) b (c) {' '.join(fields)}") == (42, Ran("a) b (c", 15, 5))
    assert parse("42 (gone") is None
    assert parse(None) is None
    assert parse(Path(f"/proc/{os.getpid()}/stat").read_text()) is not None
