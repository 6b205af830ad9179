"""What is made of the counters of an iteration, and of the verdicts of a job."""

from typing import Any

import pytest

from runner_agent.counters import Passage
from runner_agent.trust import Limits, judge, signals, summarise
from runner_protocol.results import IterationRecord, Reason, Variant, Verdict, Word

SECOND = 1_000_000_000
QUIET = Passage(wall_ns=SECOND, cpus=2, foreign_ns=0, own_ns=SECOND, steal_ns=0, canaries={"alu": 1.02, "memory": 1.1})

# What is different from a quiet second, and which codes it is given.
DISTURBED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("the partition was open", {"partition_lost": "root invalid"}, ["partition_lost"]),
    ("a thread is elsewhere", {"misplaced": ("sh (0-1)",)}, ["misplaced"]),
    ("others ran", {"foreign_ns": 20_000_000}, ["foreign_cpu"]),
    ("the hypervisor took it", {"steal_ns": 20_000_000}, ["steal"]),
    ("a tick that is missing", {"wall_ns": 100_000_000, "steal_ns": 10_000_000, "idle_ns": 9_000_000}, ["steal"]),
    ("a quota", {"throttled_ns": 1}, ["throttled"]),
    ("memory was short", {"memory_wait_ns": 11_000_000}, ["memory_wait"]),
    ("it swapped", {"swapped_pages": 1}, ["swap"]),
    ("somebody was killed", {"oom_kills": 1}, ["oom"]),
    ("it got hot", {"thermal_throttles": 1}, ["thermal"]),
    ("a disk interrupts", {"interrupts": {"nvme0 (irq 40)": 3000}}, ["interrupts"]),
    ("the way to memory was taken", {"canaries": {"alu": 1.0, "memory": 1.4}}, ["canary_memory"]),
    ("the disk was busy", {"canaries": {"alu": 1.0, "disk": 3.5}}, ["canary_disk"]),
    ("the clock was set", {"clock_skew_ppm": -900.0}, ["clock"]),
    ("the kernel complained", {"kernel_log": ("mce: hardware error",)}, ["kernel_log"]),
    ("two at once", {"foreign_ns": SECOND, "canaries": {"alu": 2.0}}, ["foreign_cpu", "canary_alu"]),
]

FINE: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("a wake-up of a kernel thread", {"foreign_ns": 5_000_000}),
    ("less than a coarse clock can tell", {"foreign_ns": 35_000_000, "foreign_step_ns": 20_000_000}),
    ("threads that wait for each other", {"cpu_wait_ns": SECOND}),
    ("threads that wait for their disk", {"io_wait_ns": SECOND}),
    ("some interrupts", {"interrupts": {"nvme0 (irq 40)": 900, "eth0 (irq 41)": 900}}),
    ("memory as it is", {"canaries": {"alu": 1.4, "memory": 1.25}}),
    ("a disk as it is", {"canaries": {"disk": 2.5}}),
    ("a slewed clock", {"clock_skew_ppm": 500.0}),
    ("no steal is told", {"steal_ns": None}),
    ("a single tick of steal", {"wall_ns": 100_000_000, "steal_ns": 10_000_000}),
    ("a tick from before", {"wall_ns": 100_000_000, "steal_ns": 10_000_000, "idle_ns": 100_000}),
    ("a tick beside much sleep", {"wall_ns": 100_000_000, "steal_ns": 10_000_000, "idle_ns": 50_000_000}),
]


@pytest.mark.parametrize(("changes", "codes"), [row[1:] for row in DISTURBED], ids=[row[0] for row in DISTURBED])
def test_what_disturbs_is_named(changes: dict[str, Any], codes: list[str]) -> None:
    verdict = judge(changed(QUIET, changes))
    assert (verdict.word, [reason.code for reason in verdict.reasons]) == (Word.DISTURBED, codes)


@pytest.mark.parametrize("changes", [row[1] for row in FINE], ids=[row[0] for row in FINE])
def test_what_does_not_disturb_is_quiet(changes: dict[str, Any]) -> None:
    verdict = judge(changed(QUIET, changes))
    assert (verdict.word, verdict.reasons) == (Word.QUIET, [])


def changed(passage: Passage, changes: dict[str, Any]) -> Passage:
    return Passage(**{**{name: getattr(passage, name) for name in passage.__slots__}, **changes})


def test_a_short_iteration_is_not_disturbed_by_one_wake_up() -> None:
    assert judge(changed(QUIET, {"wall_ns": 1_000_000, "foreign_ns": 150_000})).word is Word.QUIET
    assert judge(changed(QUIET, {"wall_ns": 1_000_000, "foreign_ns": 250_000})).word is Word.DISTURBED


def test_nobody_watched_is_unknown_and_not_quiet() -> None:
    verdict = judge(Passage(wall_ns=SECOND, cpus=1))
    assert (verdict.word, [reason.code for reason in verdict.reasons]) == (Word.UNKNOWN, ["unwatched"])
    assert judge(Passage(wall_ns=SECOND, cpus=1, canaries={"alu": 1.0})).word is Word.QUIET


def test_what_a_host_cannot_tell_is_null_and_never_zero() -> None:
    told = signals(Passage(wall_ns=SECOND, cpus=1))
    assert told["wall_s"] == 1.0
    assert {value for name, value in told.items() if name != "wall_s"} == {None}


def test_the_culprit_and_the_limit_stand_in_the_reason() -> None:
    (reason,) = judge(changed(QUIET, {"interrupts": {"a": 1, "nvme0": 5000}})).reasons
    assert (reason.culprit, reason.value, reason.limit) == ("nvme0", 5001, 2000)


def test_an_owner_can_set_the_limits() -> None:
    loose = Limits(canary_memory_ratio=2.0, cpu_wait_share=0.5)
    assert judge(changed(QUIET, {"canaries": {"memory": 1.9}}), loose).word is Word.QUIET
    assert judge(changed(QUIET, {"cpu_wait_ns": SECOND}), loose).word is Word.DISTURBED


def ran(number: int, wall_ms: int, word: Word | None = Word.QUIET, **changes: Any) -> IterationRecord:
    verdict = None if word is None else Verdict(word=word)
    record = IterationRecord(number=number, wall_ns=wall_ms * 1_000_000, exit_code=0, verdict=verdict)
    return record.model_copy(update=changes)


def test_a_quiet_job_is_quiet() -> None:
    trust = summarise([ran(0, 900, warm_up=True), ran(1, 100), ran(2, 101), ran(3, 102)])
    assert (trust.word, trust.reasons) == (Word.QUIET, [])
    assert trust.summary is not None
    assert (trust.summary.counted, trust.summary.median_all_ns, trust.summary.median_kept_ns) == (3, 101e6, 101e6)


def test_an_iteration_that_was_run_again_counts_once_and_both_medians_are_told() -> None:
    trust = summarise([ran(0, 100), ran(1, 150, Word.DISTURBED), ran(2, 100, repeats=1), ran(3, 100)])
    assert trust.summary is not None
    assert (trust.word, trust.summary.counted, trust.summary.disturbed) == (Word.QUIET, 3, 0)
    assert (trust.summary.median_all_ns, trust.summary.median_kept_ns) == (100e6, 100e6)


def test_iterations_that_stay_disturbed_spoil_the_job() -> None:
    trust = summarise([ran(0, 100), ran(1, 100), ran(2, 130, Word.DISTURBED), ran(3, 130, Word.DISTURBED)])
    assert (trust.word, [reason.code for reason in trust.reasons]) == (Word.DISTURBED, ["disturbed", "medians_apart"])


def test_a_disturbed_job_says_what_disturbed_it_and_how_often() -> None:
    ran_here = Reason(code="foreign_cpu", message="m", culprit="cron")
    causes = [
        [ran_here, Reason(code="steal", message="m")],
        [ran_here],
        [ran_here.model_copy(update={"culprit": "sh"})],
    ]
    verdicts = [Verdict(word=Word.DISTURBED, reasons=reasons) for reasons in causes]
    trust = summarise([ran(0, 100), *(ran(place, 100, verdict=each) for place, each in enumerate(verdicts, 1))])
    assert [reason.message for reason in trust.reasons] == [
        "3 of 4 iterations stayed disturbed: foreign_cpu in 3 (cron), steal in 1"
    ]


def test_a_job_of_which_nothing_is_known_is_unknown() -> None:
    assert summarise([]).word is Word.UNKNOWN
    assert summarise([ran(0, 100, None), ran(1, 100, Word.UNKNOWN)]).word is Word.UNKNOWN
    assert summarise([ran(0, 100, exit_code=1)]).word is Word.UNKNOWN


def test_pairs_are_compared_within_the_same_summary() -> None:
    records = [ran(place, 110 if place % 2 else 100, variant=list(Variant)[(place + 1) % 2]) for place in range(12)]
    comparison = summarise(records).comparison
    assert comparison is not None
    assert (comparison.pairs, round(comparison.ratio, 3), comparison.p_value < 0.05) == (6, 1.1, True)
