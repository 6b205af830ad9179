"""How pages write what they show."""

from typing import Any

import pytest

from runner_protocol.messages import Progress
from runner_protocol.results import SettingRecord, Stage
from server_stub.pages import words
from server_stub.pages.jobs import settings_context


@pytest.mark.parametrize(
    ("stage", "ended", "shown"),
    [
        (Stage.PULL, 0, None),
        (Stage.ISOLATE, 0, None),
        (Stage.ITERATE, 0, "1 of 3"),
        (Stage.ITERATE, 2, "3 of 3"),
        (Stage.COLLECT, 3, "3 of 3"),
        (Stage.ISOLATE, 1, "2 of 3"),
    ],
)
def test_the_iteration_that_is_shown_is_the_one_under_way(stage: Stage, ended: int, shown: str | None) -> None:
    progress: dict[str, Any] = Progress(stage=stage, iteration=ended, iterations=3).model_dump()
    assert (words.at_iteration(progress) if words.is_counting(progress) else None) == shown


def test_a_command_is_shown_as_a_shell_would_need_it() -> None:
    assert [words.quoted(word) for word in ("sh", "-c", "echo 'a b'", "")] == [
        "sh",
        "-c",
        "'echo '\"'\"'a b'\"'\"''",
        "''",
    ]


def test_a_sentence_begins_with_a_capital_and_keeps_its_names() -> None:
    assert (words.sentence("no runner takes Rack"), words.sentence("")) == ("No runner takes Rack", "")


def test_a_setting_that_is_not_on_the_host_is_not_called_refused() -> None:
    turned = SettingRecord(name="ksm", path="/k", wanted="0", before="1", achieved="0", applied=True)
    refused = SettingRecord(name="smt", path="/s", wanted="off", before="on", achieved="on", note="not permitted")
    missing = [SettingRecord(name=name, path="/b", wanted="0", note="this host has none") for name in ("boost", "epp")]
    assert settings_context([turned, *missing, refused]) == {
        "settings": True,
        "settings_applied": [turned],
        "settings_refused": [refused],
        "settings_left_out": {"this host has none": ["boost", "epp"]},
    }
