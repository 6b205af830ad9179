"""What this agent has done, for Prometheus: a file in the text format, which node_exporter's textfile collector reads.

The agent needs no library for it. The file is written when the agent turns to something else, never while a benchmark
runs, whole or not at all; a disk that refuses it costs the file only. `listener.py` gives the same page over HTTP.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from runner_agent.preflight import GateFacts
from runner_protocol.results import IsolationLevel, IterationRecord, RunReport

log = structlog.get_logger()

_ABOUT = {
    "state": ("gauge", "What the agent does: 1 for the one word that is true."),
    "last_contact_timestamp_seconds": ("gauge", "When the server last answered, in seconds since 1970."),
    "spooled_reports": ("gauge", "Reports on disk that the server has not acknowledged."),
    "spooled_bytes": ("gauge", "Their size."),
    "free_bytes": ("gauge", "Free disk: where images are, and where reports wait."),
    "clock_offset_seconds": ("gauge", "How far this host's clock is ahead of the server's."),
    "isolation_level": ("gauge", "How well the benchmark's CPUs were kept in the last job: 1 for the level reached."),
    "temperature_celsius": ("gauge", "The hottest sensor of the last job's iterations."),
    "canary_ratio": ("gauge", "The slowest canary of the last job's iterations, as a multiple of what is usual here."),
    "image_cache_images": ("gauge", "Images on the engine that this runner has pulled."),
    "image_cache_bytes": ("gauge", "Their size."),
    "noise_floor_ratio": ("gauge", "Coefficient of variation of the host's own calibration."),
    "jobs_total": ("counter", "Jobs by outcome and fault, since the agent started."),
    "iterations_total": ("counter", "Iterations by verdict, since the agent started."),
    "stage_seconds_total": ("counter", "Time spent in each stage of jobs, since the agent started."),
}
_CANARY = re.compile("canary_(.+)_ratio")
STATES = ("idle", "blocked", "running", "waiting")


class Figures:
    """The figures of one life of the agent. Without a path they are kept and written nowhere."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[str, dict[tuple[str, ...], float]] = {}

    def turned(self, state: str) -> None:
        """The agent does something else now; this is when the file is written."""
        self._values["state"] = {(f'state="{one}"',): float(one == state) for one in STATES}
        self._write()

    def answered(self, now_s: float) -> None:
        """The server has answered, whatever it said. From any thread."""
        self._values["last_contact_timestamp_seconds"] = {(): round(now_s, 3)}

    def spooled(self, reports: int) -> None:
        """So many reports wait now. While one of them cannot be delivered, there is no look before a claim."""
        self._values["spooled_reports"] = {(): reports}

    def looked(self, facts: GateFacts, spooled: int) -> None:
        """What the look before a claim has found."""
        free = {"images": facts.image_free_bytes, "state": facts.state_free_bytes}
        self._values["free_bytes"] = {(f'of="{what}"',): size for what, size in free.items() if size is not None}
        self.spooled(spooled)
        self._values["spooled_bytes"] = {(): facts.spool_bytes}
        if facts.clock_offset_s is not None:
            self._values["clock_offset_seconds"] = {(): round(facts.clock_offset_s, 3)}
        if facts.cached_images is not None and facts.cached_bytes is not None:
            self._values["image_cache_images"] = {(): facts.cached_images}
            self._values["image_cache_bytes"] = {(): facts.cached_bytes}

    def ended(self, report: RunReport) -> None:
        """A job has ended."""
        fault = report.fault.kind if report.fault else "none"
        self._count("jobs_total", f'outcome="{report.outcome}"', f'fault="{fault}"')
        for iteration in report.iterations:
            self._count("iterations_total", _verdict(iteration))
        self._felt(report.iterations)
        for stage, seconds in report.stage_s.items():
            self._count("stage_seconds_total", f'stage="{stage}"', by=seconds)
        if report.isolation:
            reached = report.isolation.level
            self._values["isolation_level"] = {(f'level="{one}"',): float(one == reached) for one in IsolationLevel}
        if report.host and report.host.noise_floor is not None:
            self._values["noise_floor_ratio"] = {(): report.host.noise_floor}

    def _felt(self, iterations: Iterable[IterationRecord]) -> None:
        """What the last job's iterations met at worst; where the host has no sensor, or no canary sang, nothing."""
        worst: dict[str, float] = {}
        for name, value in (item for each in iterations if each.verdict for item in each.verdict.signals.items()):
            if value is not None:
                worst[name] = max(value, worst.get(name, value))
        songs = {found[1]: ratio for name, ratio in worst.items() if (found := _CANARY.fullmatch(name))}
        if songs:
            self._values["canary_ratio"] = {(f'canary="{name}"',): ratio for name, ratio in songs.items()}
        if "temperature_c" in worst:
            self._values["temperature_celsius"] = {(): worst["temperature_c"]}

    def page(self) -> str:
        """The text that Prometheus reads."""
        lines: list[str] = []
        for name, (kind, about) in _ABOUT.items():
            if name in self._values:
                lines += (f"# HELP runner_agent_{name} {about}", f"# TYPE runner_agent_{name} {kind}")
                lines += _samples(f"runner_agent_{name}", self._values[name])
        return "".join(line + "\n" for line in lines)

    def _count(self, name: str, *labels: str, by: float = 1) -> None:
        counts = self._values.setdefault(name, {})
        counts[labels] = counts.get(labels, 0) + by

    def _write(self) -> None:
        if self._path is None:
            return
        beside = self._path.with_name(f".{self._path.name}.tmp")  # The collector reads names that end in .prom only.
        try:
            beside.write_text(self.page())
            beside.chmod(0o644)  # The collector is another user.
            beside.replace(self._path)
        except OSError as error:
            log.warning("figures_not_written", why=str(error))


def _samples(name: str, values: Mapping[tuple[str, ...], float]) -> Iterable[str]:
    for labels, value in values.items():
        yield f"{name}{'{' + ','.join(labels) + '}' if labels else ''} {float(value)!r}"


def _verdict(iteration: IterationRecord) -> str:
    return f'verdict="{iteration.verdict.word if iteration.verdict else "none"}"'
