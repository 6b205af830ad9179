"""What the page of failures says of the agent and of the server is what the code does."""

import re
from pathlib import Path

from runner_agent.points import POINTS
from runner_agent.settings import Settings
from runner_agent.wiring import EXIT_CODES
from runner_protocol.results import FaultClass
from server_stub.api import RunBody
from server_stub.settings import Settings as ServerSettings

ROOT = Path(__file__).parents[2]
DOCS, AGENT, SERVER = ROOT / "docs", ROOT / "runner_agent", ROOT / "server_stub"


def test_the_failure_page_lists_every_named_point_in_order() -> None:
    text = (DOCS / "failures.md").read_text().partition("## Named points")[2]
    assert tuple(re.findall(r"`([a-z]+\.(?:before|after))`", text)) == POINTS


def test_every_named_point_is_passed_somewhere() -> None:
    source = "".join(path.read_text() for path in AGENT.glob("*.py"))
    assert set(re.findall(r'\bat\("([a-z.]+)"\)', source)) == set(POINTS)


def test_every_event_on_the_failure_page_is_logged_somewhere() -> None:
    rows = (DOCS / "failures.md").read_text().partition("## Failures")[2].partition("## Stopping")[0]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: [^`]*)?`", rows))
    named -= {*Settings.model_fields, *ServerSettings.model_fields, *RunBody.model_fields, *FaultClass}
    source = "".join(path.read_text() for package in (AGENT, SERVER) for path in package.rglob("*.py"))
    assert {event for event in named if f'"{event}"' not in source} == set()


def test_every_warning_and_error_that_is_logged_is_on_the_failure_page() -> None:
    source = "".join(path.read_text() for package in (AGENT, SERVER) for path in package.rglob("*.py"))
    logged = re.findall(r'\blog\.(?:warning|error|exception)\(\s*"(\w+)"', source)
    page = (DOCS / "failures.md").read_text()
    assert {event for event in logged if f"`{event}" not in page} == set()


def test_the_exit_codes_are_those_of_the_page() -> None:
    page = (DOCS / "failures.md").read_text()
    assert {0, 77} == set(EXIT_CODES.values())
    for code in (75, 77, 78):
        assert f"{code} " in page.partition("Exit codes: ")[2]
