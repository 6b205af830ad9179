"""When the disk's canary asks again: against what is usual of late, not against its luckiest moment."""

from collections import deque

import pytest

from runner_agent import canary_process


@pytest.mark.parametrize(
    ("known", "taken", "heard"),
    [
        ([], [900], 900),
        ([100, 400, 400, 400], [700], 700),
        ([400, 400, 400], [900, 500], 500),
        ([400, 400, 400], [900, 950, 990], 900),
    ],
    ids=["the first", "twice the fastest is usual", "one hiccup", "a neighbour"],
)
def test_a_block_is_written_again_when_it_took_twice_the_usual(
    known: list[int], taken: list[int], heard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(taken)
    monkeypatch.setattr(canary_process, "took_ns", lambda _: left.pop(0))
    history = deque(known, maxlen=20)
    assert canary_process.disk_ns(history) == heard
    assert (left, list(history)) == ([], [*known, heard])
