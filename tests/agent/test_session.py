"""Whole conversations with the session: what happened, and what it says to do. No clock, no network."""

import pytest
from fakes import make_job

from runner_agent.session import (
    BACK_OFF_S_MAX,
    CallFailed,
    CancelAsked,
    Claim,
    Claimed,
    Command,
    Deliver,
    Delivered,
    DrainAsked,
    DrainTimeUp,
    Ending,
    Event,
    Exit,
    Interrupt,
    Interrupted,
    JobEnded,
    KeyRefused,
    KillJob,
    LeaseLost,
    NothingToDo,
    ReloadAsked,
    RunJob,
    Session,
    StartDrainClock,
    Started,
    Wait,
    Waited,
    Why,
    back_off_s,
)
from runner_protocol.problems import Stale

JOB = make_job()


def play(*conversation: Event | Command, jobs_left: int | None = None) -> None:
    """Feed every event; what follows it in the list is exactly what the session must answer."""
    session = Session(chance=lambda: 0.5, jobs_left=jobs_left)
    index = 0
    while index < len(conversation):
        event = conversation[index]
        assert isinstance(event, Event), f"{event} is where an event should be"
        answer = session.step(event)
        index += 1
        expected = [*conversation[index : index + len(answer)]]
        assert answer == expected, f"after {event}"
        index += len(answer)


def test_an_idle_agent_claims_again_and_again() -> None:
    play(Started(), Claim(), NothingToDo(), Claim(), NothingToDo(), Claim())


def test_a_job_is_run_delivered_and_the_next_one_claimed() -> None:
    play(Started(), Claim(), Claimed(JOB), RunJob(JOB), JobEnded(spooled=True), Deliver(), Delivered(), Claim())


def test_what_lies_in_the_spool_is_delivered_before_anything_is_claimed() -> None:
    play(Started(spooled=2), Deliver(), Delivered(), Deliver(), Delivered(), Claim())


def test_a_server_that_cannot_be_reached_is_asked_again_ever_more_slowly() -> None:
    play(
        Started(),
        *(Claim(), CallFailed(), Wait(0.5), Waited()),
        *(Claim(), CallFailed(), Wait(1.0), Waited()),
        *(Claim(), CallFailed(), Wait(2.0), Waited()),
        *(Claim(), NothingToDo()),
        *(Claim(), CallFailed(), Wait(0.5)),
    )


def test_a_poll_that_ends_far_too_early_is_not_repeated_at_once() -> None:
    play(Started(), Claim(), NothingToDo(early=True), Wait(2.0), Waited(), Claim(), NothingToDo(early=True), Wait(2.0))


def test_retry_after_is_waited_out_and_jitter_comes_on_top() -> None:
    play(
        Started(spooled=1),
        Deliver(),
        CallFailed(retry_after_s=20),
        Wait(20.5),
        Waited(),
        Deliver(),
        Delivered(),
        Claim(),
    )


def test_a_lost_lease_kills_the_job_and_leaves_no_report() -> None:
    play(
        *(Started(), Claim(), Claimed(JOB), RunJob(JOB)),
        *(LeaseLost(Stale.SUPERSEDED), KillJob(Why.LEASE_LOST), JobEnded(spooled=False), Claim()),
    )


def test_a_cancel_kills_the_job_and_its_report_is_delivered() -> None:
    play(
        *(Started(), Claim(), Claimed(JOB), RunJob(JOB)),
        *(CancelAsked(), KillJob(Why.CANCELED), JobEnded(spooled=True), Deliver(), Delivered(), Claim()),
    )


def test_news_of_a_job_that_has_ended_changes_nothing() -> None:
    play(
        Started(),
        Claim(),
        Claimed(JOB),
        RunJob(JOB),
        JobEnded(spooled=True),
        Deliver(),
        CancelAsked(),
        Delivered(),
        Claim(),
    )


def test_a_host_that_failed_a_job_pauses_after_delivering_it() -> None:
    play(
        *(Started(), Claim(), Claimed(JOB), RunJob(JOB), JobEnded(spooled=True, host_at_fault=True), Deliver()),
        *(Delivered(), Wait(0.5), Waited(), Claim(), Claimed(JOB), RunJob(JOB)),
        *(JobEnded(spooled=True, host_at_fault=True), Deliver(), Delivered(), Wait(1.0), Waited(), Claim()),
    )


def test_an_idle_agent_drains_at_once() -> None:
    play(Started(), Claim(), DrainAsked(), Interrupt(), Interrupted(), Exit(Ending.DRAINED))


def test_a_drain_lets_the_running_job_finish_and_be_delivered() -> None:
    play(
        *(Started(), Claim(), Claimed(JOB), RunJob(JOB), DrainAsked(), StartDrainClock()),
        *(JobEnded(spooled=True), Deliver(), Delivered(), Exit(Ending.DRAINED)),
    )


@pytest.mark.parametrize("last_word", [DrainTimeUp(), DrainAsked()])
def test_when_the_drain_takes_too_long_or_is_asked_twice_the_job_is_handed_back(last_word: Event) -> None:
    play(
        *(Started(), Claim(), Claimed(JOB), RunJob(JOB), DrainAsked(), StartDrainClock()),
        *(last_word, KillJob(Why.STOPPED), JobEnded(spooled=True), Deliver(), Delivered(), Exit(Ending.DRAINED)),
    )


@pytest.mark.parametrize("last_word", [DrainTimeUp(), DrainAsked()])
def test_a_job_that_arrives_while_the_drain_cuts_the_poll_is_run_within_the_drains_time(last_word: Event) -> None:
    play(
        *(Started(), Claim(), DrainAsked(), Interrupt(), Claimed(JOB), RunJob(JOB), StartDrainClock()),
        *(last_word, KillJob(Why.STOPPED), JobEnded(spooled=True), Deliver(), Delivered(), Exit(Ending.DRAINED)),
    )


def test_a_drain_does_not_wait_for_a_server_that_is_away() -> None:
    play(Started(spooled=1), Deliver(), DrainAsked(), CallFailed(), Exit(Ending.DRAINED))


def test_a_second_signal_cuts_the_delivery_short_and_the_report_stays() -> None:
    play(Started(spooled=1), Deliver(), DrainAsked(), DrainAsked(), Interrupt(), Interrupted(), Exit(Ending.DRAINED))


def test_once_runs_one_job_and_waits_until_it_is_delivered() -> None:
    play(
        *(Started(), Claim(), NothingToDo(), Claim(), Claimed(JOB), RunJob(JOB), JobEnded(spooled=True)),
        *(Deliver(), CallFailed(), Wait(0.5), Waited(), Deliver(), Delivered(), Exit(Ending.DRAINED)),
        jobs_left=1,
    )


def test_a_reload_waits_for_the_job_and_not_for_the_server() -> None:
    play(
        *(Started(), Claim(), Claimed(JOB), RunJob(JOB), ReloadAsked(), JobEnded(spooled=True), Exit(Ending.RELOAD)),
    )
    play(
        Started(spooled=1),
        Deliver(),
        CallFailed(),
        Wait(0.5),
        ReloadAsked(),
        Interrupt(),
        Interrupted(),
        Exit(Ending.RELOAD),
    )


def test_a_refused_key_ends_the_agent() -> None:
    play(Started(), Claim(), KeyRefused(), Exit(Ending.KEY_REFUSED))


def test_signals_before_the_start_are_not_lost() -> None:
    play(DrainAsked(), Started(), Exit(Ending.DRAINED))


def test_the_back_off_doubles_up_to_its_bound_and_jitter_takes_all_of_it() -> None:
    assert [back_off_s(failures, 1.0) for failures in (1, 2, 3, 6, 7, 10_000)] == [1, 2, 4, 32, 60, BACK_OFF_S_MAX]
    assert back_off_s(5, 0.0) == 0.0


def test_pauses_end_where_the_owner_says() -> None:
    session = Session(lambda: 0.5, pause_s_max=3)
    session.step(Started())
    assert [session.step(event) for event in (CallFailed(), Waited(), CallFailed(), Waited(), CallFailed())] == [
        *([Wait(0.5)], [Claim()]),
        *([Wait(1.0)], [Claim()]),
        [Wait(1.5)],
    ]
