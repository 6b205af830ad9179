"""What the wire contract refuses, hides and degrades."""

import pytest
from pydantic import SecretStr, ValidationError

from runner_protocol.jobs import RegistryAuth
from runner_protocol.messages import ClaimRequest, ReportEnvelope
from runner_protocol.problems import Stale
from runner_protocol.results import FaultClass


def test_a_password_is_hidden_from_people_and_told_to_the_peer() -> None:
    auth = RegistryAuth(username="robot", password=SecretStr("hunter2"))
    assert "hunter2" not in f"{auth} {auth!r} {auth.model_dump()}"
    assert auth.model_dump_json(exclude_none=True) == '{"username":"robot","password":"hunter2"}'


def test_a_class_or_reason_that_is_not_known_yet_is_read_as_unknown() -> None:
    assert FaultClass("struck_by_lightning") is FaultClass.UNKNOWN
    assert Stale("retired") is Stale.UNKNOWN


@pytest.mark.parametrize("seconds", [0, 901, -1])
def test_a_poll_outside_of_its_bounds_is_refused(seconds: int) -> None:
    with pytest.raises(ValidationError, match="poll_timeout"):
        ClaimRequest(poll_timeout=seconds)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "either `report` or `pieces` must be given"),
        ({"pieces": 2}, "`sha256` must be given with `pieces`"),
    ],
)
def test_an_envelope_holds_a_report_or_names_its_pieces(members: dict[str, int], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ReportEnvelope.model_validate({"attempt": 1, **members})
