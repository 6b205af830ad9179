"""What is known of a running job so far: written while it runs, read for its heartbeats and its report.

Pure but for one thing: its attributes are replaced while another thread reads them. Each is replaced whole, so that a
reader sees the old or the new, never a mixture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner_agent.pairs import compare
from runner_agent.trust import summarise
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import TAIL_CHARACTERS_MAX, Progress
from runner_protocol.results import (
    CapturedText,
    CollectedFile,
    Fault,
    HostRecord,
    IsolationRecord,
    IterationRecord,
    Outcome,
    RunReport,
    Stage,
    Trust,
)


class Ledger:
    """The growing record of one attempt."""

    def __init__(self, job: ClaimedJob, clock: Callable[[], float]) -> None:
        """`clock` reads monotonic seconds: the stages are timed by it."""
        self.job = job
        self.stage = Stage.CLAIM
        self.runs = 0
        """Iterations that are planned, warm-ups and all."""
        self.iterations: tuple[IterationRecord, ...] = ()
        self.digest: str | None = None
        self.baseline_digest: str | None = None
        self.host: HostRecord | None = None
        self.isolation: IsolationRecord | None = None
        self._clock = clock
        self._stage_s: dict[Stage, float] = {}
        self._fraction: float | None = None
        self._tail = ""

    @contextmanager
    def during(self, stage: Stage) -> Iterator[None]:
        """Time a stage; after a failure the stage stays where it was, to say where the job failed."""
        self.stage, self._fraction = stage, None
        begun = self._clock()
        try:
            yield
        finally:
            self._stage_s[stage] = self._stage_s.get(stage, 0.0) + self._clock() - begun

    def told(self, fraction: float | None, line: str) -> None:
        """Progress of the stage, with a line for a person."""
        self._fraction = None if fraction is None else min(1.0, max(0.0, fraction))
        self.tail(line)

    def tail(self, text: str) -> None:
        """The last lines of output."""
        self._tail = text[-TAIL_CHARACTERS_MAX:]

    def add(self, record: IterationRecord) -> None:
        """An iteration has ended."""
        self.iterations = (*self.iterations, record)

    def progress(self) -> Progress:
        """For a heartbeat."""
        return Progress(
            stage=self.stage,
            iteration=len(self.iterations),
            iterations=max(self.runs, len(self.iterations)),
            fraction=self._fraction,
            tail=self._tail,
        )

    def report(self, outcome: Outcome, fault: Fault | None = None) -> RunReport:
        """Close the book, within the bytes that the claim allows."""
        report = RunReport(
            job=self.job.job,
            attempt=self.job.attempt,
            outcome=outcome,
            fault=fault,
            digest=self.digest,
            baseline_digest=self.baseline_digest,
            iterations=list(self.iterations),
            host=self.host,
            isolation=self.isolation,
            trust=self._trust(),
            stage_s=self._stage_s,
        )
        return fitted(report, self.job.limits.report_bytes_max)

    def _trust(self) -> Trust | None:
        """How far the numbers can be trusted, and how the two images of a paired job compare."""
        if not self.iterations:
            return None
        trust = summarise(self.iterations)
        if self.job.work.baseline is None:
            return trust
        return trust.model_copy(update={"comparison": compare(self.iterations)})


def fitted(report: RunReport, bytes_max: int) -> RunReport:
    """Cut every text evenly until the whole report's JSON is within `bytes_max`; what was cut says how much.

    The plan's shares bound the raw bytes. JSON writes a control character in six: only a report full of them is cut
    here.
    """
    characters = max((_longest(record) for record in report.iterations), default=0)
    while characters and len(report.as_json()) > bytes_max:
        characters //= 2
        cut = [_cut_record(record, characters) for record in report.iterations]
        report = report.model_copy(update={"iterations": cut})
    return report


def _longest(record: IterationRecord) -> int:
    files = (len(file.content or "") for file in record.files)
    return max(len(record.stdout.text), len(record.stderr.text), *files)


def _cut_record(record: IterationRecord, characters: int) -> IterationRecord:
    return record.model_copy(
        update={
            "stdout": _cut_text(record.stdout, characters),
            "stderr": _cut_text(record.stderr, characters),
            "files": [_cut_file(file, characters) for file in record.files],
        }
    )


def _cut_text(captured: CapturedText, characters: int) -> CapturedText:
    lost = captured.text[characters:]
    if not lost:
        return captured
    return CapturedText(text=captured.text[:characters], dropped_bytes=captured.dropped_bytes + len(lost.encode()))


def _cut_file(file: CollectedFile, characters: int) -> CollectedFile:
    """Half a file is no file: its content goes as a whole."""
    if file.content is None or len(file.content) <= characters:
        return file
    return file.model_copy(update={"content": None, "dropped_bytes": file.size_bytes})
