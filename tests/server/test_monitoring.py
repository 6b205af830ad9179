"""The alert rules and the dashboard are sound, and ask only for what is really exported."""

import inspect
import json
import re
import subprocess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from runner_agent.figures import STATES
from runner_protocol.results import FaultClass
from runner_protocol.states import JobState
from server_stub.routes.agents import ROUTES
from server_stub.sweeping import Expired
from server_stub.telemetry import Telemetry
from server_stub.waiting import RunnerState

MONITORING = Path(__file__).parents[2] / "packaging/monitoring"
_ASKED = re.compile(r"\b(?:bench|runner_agent)_[a-z_]+")
_SELECTED = re.compile(r"""\b((?:bench|runner_agent)_[a-z_]+)\{((?:\w+[=!~]+\\?"[^"]*",? ?)+)\}""")
_LABEL = re.compile(r"""(\w+)([=!~]+)\\?"([^"\\]*)""")
# Every label whose values are ours; of the others any value may come.
VALUES = {
    ("bench_attempts_ended_total", "state"): set(JobState),
    ("bench_attempts_ended_total", "fault"): {*FaultClass, "none"},
    ("bench_leases_expired_total", "ending"): set(re.findall(r"`(\w+)`", inspect.getsource(Expired))),
    ("bench_queue_jobs", "state"): {"pending", "leased"},
    ("bench_request_seconds_bucket", "route"): {route.path for route in ROUTES},
    ("bench_runners", "state"): set(RunnerState),
    ("runner_agent_state", "state"): set(STATES),
}
ANY_VALUE = {"instance", "job", "le", "method", "spec", "status"}


def promtool(*arguments: str) -> None:
    """One check, in the folder of the files."""
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def exported() -> set[str]:
    """Every name that a server process exports, also of what it has not counted yet."""
    page = Telemetry().page([{"spec": "s", "pending": 1, "leased": 0, "oldest_ms": 0}], {"idle": 1}, 0).decode()
    names: set[str] = set()
    for family in text_string_to_metric_families(page):
        names |= {family.name} if family.type == "gauge" else {family.name + "_total"}
        if family.type == "histogram":
            names |= {family.name + suffix for suffix in ("_bucket", "_count", "_sum")}
    return names


def asked() -> set[str]:
    """Every name that the rules and the dashboard ask for."""
    rules = re.findall(
        r"expr: (?:\|\n)?(.*?)(?:\n        (?:for|labels):)", (MONITORING / "alerts.yml").read_text(), re.DOTALL
    )
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return {name for expression in rules + shown for name in _ASKED.findall(expression)}


def test_the_rules_are_sound_and_fire_when_they_should() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    promtool("test", "rules", "alerts_test.yml")


def exported_by_agents() -> set[str]:
    """The same of an agent, as its source lists them."""
    source = (MONITORING.parents[1] / "runner_agent/figures.py").read_text()
    return {f"runner_agent_{name}" for name in re.findall(r'^    "([a-z_]+)": \("', source, re.MULTILINE)}


def test_rules_and_dashboard_ask_only_for_what_is_exported() -> None:
    assert asked() - exported() - exported_by_agents() == set()
    assert len(asked()) > 10


def selected() -> set[tuple[str, str, str]]:
    """Every figure, label and value that the rules, their tests or the dashboard name; a value may be a pattern."""
    found = set()
    for file in ("alerts.yml", "alerts_test.yml", "dashboard.json"):
        for name, labels in _SELECTED.findall((MONITORING / file).read_text()):
            found |= {(name, label, value) for label, _, value in _LABEL.findall(labels) if label not in ANY_VALUE}
    return found


def test_labels_have_values_that_are_really_given() -> None:
    unknown = [
        (name, label, value)
        for name, label, value in selected()
        if not any(re.fullmatch(value, one) or value == one for one in VALUES.get((name, label), ()))
    ]
    assert unknown == []
    assert {(name, label) for name, label, _ in selected()} == set(VALUES)


def test_every_rule_is_seen_to_fire() -> None:
    rules = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    tested = (MONITORING / "alerts_test.yml").read_text()
    fired = re.findall(r"alertname: (\w+)\n        exp_alerts:\n          - exp_labels", tested)
    assert sorted(set(fired)) == sorted(rules)
