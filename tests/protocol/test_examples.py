"""Messages of released versions, kept as files that are never edited: what was once said is understood for ever."""

import json
from pathlib import Path

import pytest

from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import ClaimRequest, Heartbeat, HeartbeatReply, ReportEnvelope, ReportReceipt
from runner_protocol.problems import Problem
from runner_protocol.wire import Message

V1 = Path(__file__).parent / "examples" / "v1"

MODELS: dict[str, type[Message]] = {
    "claim-request": ClaimRequest,
    "claimed-job": ClaimedJob,
    "heartbeat": Heartbeat,
    "heartbeat-reply": HeartbeatReply,
    "report-envelope": ReportEnvelope,
    "report-envelope-in-pieces": ReportEnvelope,
    "report-receipt": ReportReceipt,
    "problem": Problem,
}


def test_every_example_file_has_its_model() -> None:
    assert {path.stem for path in V1.iterdir()} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_message_of_version_1_is_read_whole_and_written_as_it_was(name: str) -> None:
    text = (V1 / f"{name}.json").read_text()
    message = MODELS[name].model_validate_json(text)
    written = json.loads(message.model_dump_json(exclude_none=True))
    assert contains(written, json.loads(text))


@pytest.mark.parametrize("name", MODELS)
def test_members_that_a_newer_peer_has_added_are_ignored(name: str) -> None:
    body = json.loads((V1 / f"{name}.json").read_text())
    assert MODELS[name].model_validate(with_additions(body)) == MODELS[name].model_validate(body)


def contains(whole: object, part: object) -> bool:
    """Whether every member of `part` stands in `whole` with the same value. Null is the same as absent."""
    match whole, part:
        case dict(), dict():
            return all(value is None or (key in whole and contains(whole[key], value)) for key, value in part.items())
        case list(), list():
            return len(whole) == len(part) and all(map(contains, whole, part))
        case _:
            return whole == part


# Members whose own keys mean something: an added one would be another variable, signal or stage.
MAPS = frozenset({"env", "signals", "stage_s"})


def with_additions(value: object) -> object:
    """The same message from a peer of tomorrow: one more member in every object."""
    match value:
        case dict():
            known = {key: each if key in MAPS else with_additions(each) for key, each in value.items()}
            return {**known, "added_in_version_9": {"anything": [1]}}
        case list():
            return [with_additions(each) for each in value]
        case _:
            return value
