"""Every row of the transition table of branches."""

from uuid import UUID

import pytest

from server_stub.branches import Decision, HeadMove, KnownBranch, StartPoint, decide

MAIN, OTHER = UUID(int=1), UUID(int=2)
AT_A, AT_B, UNHASHED = StartPoint(MAIN, "a" * 40), StartPoint(MAIN, "b" * 40), StartPoint(MAIN, None)
PLAIN, FROM_MAIN = KnownBranch(None), KnownBranch(AT_A)

KEEP = Decision(HeadMove.KEEP)
CREATE_EMPTY = Decision(HeadMove.CREATE)
RESET_EMPTY = Decision(HeadMove.REPLACE)


def replaced(start: StartPoint) -> Decision:
    return Decision(HeadMove.REPLACE, start)


@pytest.mark.parametrize(
    ("branch", "resolved", "reset", "expected"),
    [
        (None, None, False, CREATE_EMPTY),
        (None, None, True, CREATE_EMPTY),
        (None, AT_A, False, Decision(HeadMove.CREATE, AT_A)),
        (None, AT_A, True, Decision(HeadMove.CREATE, AT_A)),
        (PLAIN, None, False, KEEP),
        (FROM_MAIN, None, False, KEEP),
        (PLAIN, None, True, RESET_EMPTY),
        (FROM_MAIN, None, True, RESET_EMPTY),
        (PLAIN, AT_A, True, replaced(AT_A)),
        (FROM_MAIN, AT_A, True, replaced(AT_A)),
        (PLAIN, AT_A, False, replaced(AT_A)),
        (PLAIN, UNHASHED, False, replaced(UNHASHED)),
        (FROM_MAIN, StartPoint(OTHER, "a" * 40), False, replaced(StartPoint(OTHER, "a" * 40))),
        (FROM_MAIN, StartPoint(OTHER, None), False, replaced(StartPoint(OTHER, None))),
        (FROM_MAIN, AT_A, False, KEEP),
        (FROM_MAIN, AT_B, False, replaced(AT_B)),
        (KnownBranch(UNHASHED), AT_A, False, replaced(AT_A)),
        (FROM_MAIN, UNHASHED, False, KEEP),
        (KnownBranch(UNHASHED), UNHASHED, False, KEEP),
    ],
)
def test_a_start_point_keeps_or_makes_a_head(
    branch: KnownBranch | None, resolved: StartPoint | None, reset: bool, expected: Decision
) -> None:
    assert decide(branch, resolved, reset=reset) == expected
