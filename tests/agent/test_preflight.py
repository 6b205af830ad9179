"""When a host may not ask for work, and what it says then."""

import pytest

from runner_agent.preflight import Floors, GateFacts, blocked

FIT = GateFacts(
    image_free_bytes=1 << 40, image_free_inodes=1 << 20, state_free_bytes=1 << 40, spool_bytes=0, clock_offset_s=0.2
)


def test_a_fit_host_has_no_reason() -> None:
    assert blocked(FIT, Floors()) == []


def test_what_cannot_be_told_does_not_block() -> None:
    assert blocked(GateFacts(), Floors()) == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (GateFacts(engine_error="no engine answers"), "engine: no engine answers"),
        (GateFacts(image_free_bytes=5), "disk: bytes free for images: 5, at least 4294967296 are needed"),
        (GateFacts(image_free_inodes=0), "disk: inodes free for images: 0, at least 10000 are needed"),
        (GateFacts(state_free_bytes=7), "disk: bytes free for reports: 7, at least 536870912 are needed"),
        (GateFacts(spool_bytes=9 << 30), "spool: 9663676416 bytes of reports wait here, at most 8589934592 may"),
        (GateFacts(clock_offset_s=90_000), "clock: 90000 s ahead of the server's, at most 86400 s may be"),
        (GateFacts(clock_offset_s=-1e9), "clock: 1000000000 s behind the server's, at most 86400 s may be"),
    ],
)
def test_each_reason_is_named_with_its_figures(facts: GateFacts, reason: str) -> None:
    assert blocked(facts, Floors()) == [reason]
