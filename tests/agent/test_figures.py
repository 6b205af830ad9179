"""The agent's figures for Prometheus: what is counted, and the file that node_exporter reads."""

from pathlib import Path
from uuid import UUID

from prometheus_client.parser import text_string_to_metric_families

from runner_agent.figures import Figures
from runner_agent.preflight import GateFacts
from runner_protocol.results import (
    HostRecord,
    IsolationLevel,
    IsolationRecord,
    IterationRecord,
    Outcome,
    RunReport,
    Stage,
    Verdict,
    Word,
)

REPORT = RunReport(
    job=UUID(int=1),
    attempt=1,
    outcome=Outcome.COMPLETED,
    iterations=[
        IterationRecord(number=n, verdict=Verdict(word=Word.QUIET, signals=signals))
        for n, signals in enumerate(
            [
                {"temperature_c": 61.5, "canary_alu_ratio": 1.01, "canary_calls_ratio": 1.0},
                {"temperature_c": None, "canary_alu_ratio": 1.25},
                {},
            ]
        )
    ],
    isolation=IsolationRecord(level=IsolationLevel.CPUSET),
    host=HostRecord(hostname="rack", noise_floor=0.01),
    stage_s={Stage.ITERATE: 1.5},
)
FACTS = GateFacts(
    image_free_bytes=5_000_000_123,
    state_free_bytes=1,
    spool_bytes=7,
    clock_offset_s=-0.25,
    cached_images=2,
    cached_bytes=9,
)


def samples(page: str) -> dict[str, float]:
    """Every sample of a page by its name and labels, as Prometheus's own parser reads it."""
    return {
        f"{sample.name}{''.join(f' {value}' for _, value in sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.value or "level" not in sample.name
    }


def test_jobs_are_counted_by_outcome_verdict_and_stage(tmp_path: Path) -> None:
    figures = Figures(tmp_path / "runner-agent.prom")
    figures.answered(1_800_000_000.5)
    figures.looked(FACTS, 2)
    figures.ended(REPORT)
    figures.ended(REPORT)
    figures.turned("running")
    assert samples((tmp_path / "runner-agent.prom").read_text()) == {
        "runner_agent_state idle": 0,
        "runner_agent_state blocked": 0,
        "runner_agent_state running": 1,
        "runner_agent_state waiting": 0,
        "runner_agent_last_contact_timestamp_seconds": 1_800_000_000.5,
        "runner_agent_spooled_reports": 2,
        "runner_agent_spooled_bytes": 7,
        "runner_agent_free_bytes images": 5_000_000_123,
        "runner_agent_free_bytes state": 1,
        "runner_agent_clock_offset_seconds": -0.25,
        "runner_agent_isolation_level cpuset": 1,
        "runner_agent_temperature_celsius": 61.5,
        "runner_agent_canary_ratio alu": 1.25,
        "runner_agent_canary_ratio calls": 1.0,
        "runner_agent_image_cache_images": 2,
        "runner_agent_image_cache_bytes": 9,
        "runner_agent_noise_floor_ratio": 0.01,
        "runner_agent_jobs_total none completed": 2,
        "runner_agent_iterations_total quiet": 6,
        "runner_agent_stage_seconds_total iterate": 3,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["runner-agent.prom"]


def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    Figures(tmp_path / "absent" / "runner-agent.prom").turned("idle")
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_the_figures_are_kept_all_the_same() -> None:
    figures = Figures()
    figures.turned("idle")
    assert 'runner_agent_state{state="idle"} 1.0' in figures.page().splitlines()
