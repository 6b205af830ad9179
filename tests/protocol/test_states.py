"""The table of job states: what it promises to both sides."""

from itertools import product

import pytest

from runner_protocol.states import LEASED, MOVES, TERMINAL, IllegalMoveError, JobState, move, sources


def test_every_state_can_be_reached_and_every_other_one_left() -> None:
    reachable = {new for following in MOVES.values() for new in following}
    assert reachable == set(JobState)
    assert {JobState.PROCESSED, JobState.FAILED, JobState.CANCELED} == TERMINAL


def test_a_terminal_state_is_never_left() -> None:
    for old, new in product(TERMINAL, JobState):
        with pytest.raises(IllegalMoveError, match=f"a job that is {old} cannot become {new}"):
            move(old, new)


def test_only_a_leased_job_returns_to_the_queue_or_completes() -> None:
    assert sources(JobState.PENDING) == LEASED
    assert sources(JobState.COMPLETED) == LEASED


def test_a_legal_move_gives_the_new_state() -> None:
    assert move(JobState.PENDING, JobState.CLAIMED) is JobState.CLAIMED
