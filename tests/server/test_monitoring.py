"""The alert rules and the dashboard are sound, and ask only for what is really exported."""

import json
import re
import subprocess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from server_stub.telemetry import Telemetry

MONITORING = Path(__file__).parents[2] / "packaging/monitoring"
_ASKED = re.compile(r"\b(?:bench|runner_agent)_[a-z_]+")


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
