"""The growing record of a job: progress for heartbeats, stages timed, and a report that fits."""

import itertools

import pytest
from fakes import make_job, with_bytes_max

from runner_agent.ledger import Ledger, fitted
from runner_protocol.messages import TAIL_CHARACTERS_MAX, Progress
from runner_protocol.results import CapturedText, CollectedFile, IterationRecord, Outcome, RunReport, Stage


def test_stages_are_timed_and_one_that_is_entered_again_adds_up() -> None:
    clock = itertools.count(100.0, 1.5)
    ledger = Ledger(make_job(), lambda: next(clock))
    with ledger.during(Stage.PULL):
        pass
    with pytest.raises(RuntimeError), ledger.during(Stage.ITERATE):
        raise RuntimeError
    with ledger.during(Stage.PULL):
        pass
    assert ledger.report(Outcome.FAILED).stage_s == {Stage.PULL: 3.0, Stage.ITERATE: 1.5}


def test_the_stage_in_which_a_job_failed_is_the_one_it_shows() -> None:
    ledger = Ledger(make_job(), lambda: 0.0)
    with pytest.raises(RuntimeError), ledger.during(Stage.PULL):
        raise RuntimeError
    assert ledger.stage is Stage.PULL


def test_progress_is_bounded_and_begins_anew_with_each_stage() -> None:
    ledger = Ledger(make_job(), lambda: 0.0)
    with ledger.during(Stage.PULL):
        ledger.told(1.7, "x" * 10_000)
        assert ledger.progress() == Progress(stage=Stage.PULL, fraction=1.0, tail="x" * TAIL_CHARACTERS_MAX)
    ledger.runs = 2
    with ledger.during(Stage.ITERATE):
        ledger.tail("last line")
        for number in range(3):
            ledger.add(IterationRecord(number=number))
        assert ledger.progress() == Progress(stage=Stage.ITERATE, iteration=3, iterations=3, tail="last line")


def test_a_report_that_is_too_long_in_json_is_cut_evenly_and_says_by_how_much() -> None:
    noisy = IterationRecord(
        number=0,
        stdout=CapturedText(text="\x00" * 4000, dropped_bytes=5),
        stderr=CapturedText(text="short"),
        files=[
            CollectedFile(path="/a", size_bytes=3000, content="\x01" * 3000),
            CollectedFile(path="/b", size_bytes=1, content="b"),
        ],
    )
    report = RunReport(job=make_job().job, attempt=1, outcome=Outcome.COMPLETED, iterations=[noisy, noisy])
    [first, second] = fitted(report, 14_000).iterations
    assert first == second
    assert (len(first.stdout.text), first.stdout.dropped_bytes, first.stderr) == (1000, 3005, noisy.stderr)
    assert [(file.content, file.dropped_bytes) for file in first.files] == [(None, 3000), ("b", 0)]
    assert len(fitted(report, 14_000).as_json()) <= 14_000


def test_a_report_is_measured_in_bytes_and_not_in_characters() -> None:
    record = IterationRecord(number=0, stdout=CapturedText(text="\ufffd" * 4000))  # What is not UTF-8 triples in size.
    report = RunReport(job=make_job().job, attempt=1, outcome=Outcome.COMPLETED, iterations=[record])
    [cut] = fitted(report, 10_000).iterations
    assert cut.stdout == CapturedText(text="\ufffd" * 2000, dropped_bytes=6000)


def test_a_report_that_fits_is_left_as_it_is() -> None:
    ledger = Ledger(with_bytes_max(make_job(), piece=10), lambda: 0.0)
    record = IterationRecord(number=0, stdout=CapturedText(text="x" * 1000))
    ledger.add(record)
    assert ledger.report(Outcome.COMPLETED).iterations == [record]
