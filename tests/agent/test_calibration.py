"""What a host knows of itself: how it is found out, kept, drawn, and held against what it has become."""

import io
import os
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from runner_agent.calibrate import gap_record
from runner_agent.calibration import (
    PAIRS,
    Calibration,
    GapRecord,
    changed,
    doubt,
    drifted,
    epoch_of,
    load,
    load_drift,
    save,
    save_drift,
    self_test,
)
from runner_agent.canary import NAMES, Canaries, Gaps
from runner_agent.sketch import WIDTH, bars, histogram, svg, terminal, words
from runner_protocol.results import HostRecord

HOST = HostRecord(hostname="bench-1", kernel="6.1", microcode="0x1")


def samples_ns(noise: float, tests: int = 10) -> list[int]:
    chance = random.Random(1)
    return [round(1e7 * chance.gauss(1, noise)) for _ in range(2 * PAIRS * tests)]


def calibration(noise: float = 0.01) -> Calibration:
    samples = samples_ns(noise)
    return Calibration(
        epoch="e1",
        taken="2026-01-01T00:00:00+00:00",
        kernel="6.1",
        microcode="0x1",
        canary_ns={"alu": 100_000.0, "memory": 200_000.0, "disk": 300_000.0},
        gaps=[GapRecord(cpu=3, stolen_ppm=120, longest_us=55.5, gaps_per_s=250)],
        samples_ns=samples,
        **self_test(samples).model_dump(),
    )


def test_a_noisier_host_sees_only_larger_effects() -> None:
    quiet, noisy = self_test(samples_ns(0.002)), self_test(samples_ns(0.02))
    assert 0.0015 < quiet.noise_floor < 0.0025
    assert quiet.error_95 < noisy.error_95
    assert 5 < noisy.minimum_detectable_effect / quiet.minimum_detectable_effect < 20


def test_too_few_samples_make_no_self_test() -> None:
    with pytest.raises(ValueError, match="29 pairs are too few"):
        self_test([1] * 58)


def test_gaps_are_told_as_shares_and_rates() -> None:
    found = Gaps(stolen_ns=2_000_000, longest_ns=60_000, count=500, looked_ns=2_000_000_000)
    assert gap_record(2, found) == GapRecord(cpu=2, stolen_ppm=1000, longest_us=60, gaps_per_s=250)


def test_a_calibration_is_kept_and_goes_into_the_hosts_record(tmp_path: Path) -> None:
    made = calibration()
    assert load(tmp_path) is None
    save(tmp_path, made)
    kept = load(tmp_path)
    assert kept == made
    record = made.into(HOST, ["alu canary: slow"])
    assert (record.epoch, record.noise_floor, record.minimum_detectable_effect, record.drift) == (
        "e1",
        made.noise_floor,
        made.minimum_detectable_effect,
        ["alu canary: slow"],
    )


def test_a_damaged_calibration_is_none(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"epoch": "e1"')
    (tmp_path / "drift.json").write_text("nonsense")
    assert (load(tmp_path), load_drift(tmp_path)) == (None, [])


def test_a_new_calibration_ends_the_drift(tmp_path: Path) -> None:
    save_drift(tmp_path, ["alu canary: slow"])
    assert load_drift(tmp_path) == ["alu canary: slow"]
    save(tmp_path, calibration())
    assert load_drift(tmp_path) == []


@pytest.mark.parametrize(
    ("canary_ns", "lines"),
    [
        ({"alu": 100_000.0, "memory": 215_000.0}, []),
        ({"disk": 900_000.0}, []),
        ({"alu": 115_000.0}, ["alu canary: 100 µs when calibrated, 115 µs now"]),
        ({"memory": 150_000.0}, ["memory canary: 200 µs when calibrated, 150 µs now"]),
        ({"calls": 1.0}, []),
        ({}, []),
    ],
)
def test_a_host_that_became_slower_or_faster_has_drifted(canary_ns: dict[str, float], lines: list[str]) -> None:
    assert drifted(calibration(), canary_ns) == lines


def test_a_host_with_another_kernel_is_another_host() -> None:
    assert changed(calibration(), HOST) == []
    assert changed(calibration(), HOST.model_copy(update={"kernel": "6.2", "microcode": None})) == [
        "kernel: 6.1 when calibrated, 6.2 now"
    ]
    assert epoch_of("a", None) != epoch_of("b", None)


def test_ratios_fall_into_bins_and_the_farthest_into_the_last() -> None:
    counts = histogram([1.0, 1.0, 0.5, 1.01, 2.0], 0.01)
    assert (counts[0], counts[20], counts[40], sum(counts)) == (1, 2, 2, 5)
    assert [line[:2] for line in bars([8, 4])][3:5] == ["█", "██"]


def test_a_calibration_beside_others_at_work_is_to_be_taken_again() -> None:
    quiet = calibration()
    busy = GapRecord(cpu=3, stolen_ppm=673_008, longest_us=60_121, gaps_per_s=924)
    assert doubt(quiet) is None
    assert doubt(quiet.model_copy(update={"gaps": [busy]})) == (
        "others used 67 % of CPU 3 meanwhile: calibrate again when this host is idle"
    )


def test_a_calibration_is_drawn_on_a_terminal_and_as_a_picture() -> None:
    made = calibration()
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal(made))
    text = console.export_text()
    assert " · ".join(words(made)) in text.replace("\n", " ").replace("  ", " ")
    assert "120 ppm" in text
    assert "56 µs" in text
    picture = ET.fromstring(svg(made))
    circles = [each for each in picture.iter() if each.tag.endswith("circle")]
    assert len(circles) == len(made.samples_ns)
    texts = [each for each in picture.iter() if each.tag.endswith("text")]
    # Of the usual fonts at this size a letter is 6.2 wide in the mean.
    too_long = [each.text for each in texts if float(each.attrib["x"]) + 6.5 * len(each.text or "") > WIDTH]
    assert (len(texts), too_long) == (7, [])


def test_the_helper_sings_works_and_looks_for_gaps() -> None:
    cpu = max(os.sched_getaffinity(0))
    with Canaries() as canaries:
        song, work_ns, gaps = canaries.sing(cpu), canaries.work(cpu), canaries.gaps(cpu, 0.05)
    assert set(song) == set(NAMES) - {"disk"}
    assert min(song.values()) > 0
    assert work_ns is not None
    assert work_ns > sum(song.values())
    assert gaps is not None
    assert gaps.looked_ns >= 50_000_000
    assert gaps.longest_ns <= gaps.stolen_ns <= gaps.looked_ns


def test_a_cpu_that_is_not_there_gives_no_song() -> None:
    with Canaries() as canaries:
        assert (canaries.sing(8000), canaries.work(8000), canaries.gaps(8000, 0.01)) == ({}, None, None)
        assert set(canaries.sing(max(os.sched_getaffinity(0)))) == set(NAMES) - {"disk"}


def test_a_disk_sings_where_it_can_be_written(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    with Canaries(tmp_path) as canaries:
        assert set(canaries.sing(cpu)) == set(NAMES)
    assert list(tmp_path.iterdir()) == []
    with Canaries(tmp_path / "gone") as canaries:
        assert set(canaries.sing(cpu)) == set(NAMES) - {"disk"}


@pytest.mark.parametrize(("least_ns", "sings"), [(1, True), (10**10, False)])
def test_what_answers_faster_than_a_disk_is_none(
    least_ns: int, sings: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner_agent.canary.DISK_NS_MIN", least_ns)
    monkeypatch.setattr("runner_agent.canary.DISK_NS_MAX", 10**11)
    cpu = max(os.sched_getaffinity(0))
    with Canaries(tmp_path) as canaries:
        canaries.tune_up([cpu])
        assert set(canaries.sing(cpu)) == set(canaries.heard_ns) == set(NAMES) - (set() if sings else {"disk"})


def test_a_song_is_held_against_the_quiet_quarter_of_its_own_moment() -> None:
    canaries = Canaries()
    for ns in (100, 100, 100, 900):
        canaries.learn({"alu": ns})
    assert canaries.heard_ns == {"alu": 100.0}
    # The first before an iteration against those sung alone, the first after one against nothing.
    assert canaries.ratios({"alu": 130}, {"alu": 400}) == {"alu": 1.3}
    assert canaries.ratios({"alu": 130}, {"alu": 400}) == {"alu": 1.3}
    assert canaries.ratios({"alu": 130}, {"alu": 800}) == {"alu": 2.0}
    assert canaries.ratios({"alu": 130}, {}) == {"alu": 1.0}
    assert canaries.ratios({}, {}) == {}
