"""How a report and a job's progress look on a terminal. Returns what rich prints; prints nothing itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

import runner_protocol.messages as wire
from runner_agent.doctor import Finding, Severity
from runner_protocol.results import CapturedText, IterationRecord, Outcome, RunReport, Stage, Word

LINES_MAX = 20
"""Of each stream, in the summary; `--json` has all of it."""

MARKS = {Severity.FINE: ("fine", "green"), Severity.NOISY: ("noisy", "yellow"), Severity.UNFIT: ("unfit", "bold red")}

STYLES = {Word.QUIET: "green", Word.DISTURBED: "yellow", Word.UNKNOWN: "dim"}


@contextmanager
def live(console: Console) -> Iterator[Callable[[wire.Progress], None]]:
    """A progress bar for the length of the block; yields what moves it. Off where nobody watches."""
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[tail]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("start", total=1.0, tail="")
        yield lambda progress: _move(bar, task, progress)


@contextmanager
def steps(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A bar for something long that is told in words and a share; off where nobody watches."""
    columns = (TextColumn("{task.description:<14}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("start", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


def _move(bar: Progress, task: TaskID, progress: wire.Progress) -> None:
    done: float | None
    lines = progress.tail.strip().splitlines()
    if progress.stage is Stage.ITERATE and progress.iterations:
        done = progress.iteration / progress.iterations
        what = f"{progress.iteration}/{progress.iterations}"
    else:
        done, what = progress.fraction, progress.stage.value
    total = None if done is None else 1.0
    bar.update(task, description=what, completed=done or 0.0, total=total, tail=lines[-1][:60] if lines else "")


def report(report: RunReport) -> RenderableType:
    """The whole report, for a person."""
    parts: list[RenderableType] = [_headline(report)]
    if report.iterations:
        parts.append(_table(report.iterations))
        last = report.iterations[-1]
        parts += _output("stdout", last.stdout) + _output("stderr", last.stderr)
    return Group(*parts)


def _headline(report: RunReport) -> Text:
    text = Text(report.outcome.value, style="bold green" if report.outcome is Outcome.COMPLETED else "bold red")
    if report.fault:
        text.append(f"  {report.fault.kind.value} at {report.fault.stage.value}: {report.fault.message}", style="red")
    if report.digest:
        text.append(f"\n{report.digest}", style="dim")
    if report.trust:
        text.append("\nthe numbers are ").append(report.trust.word.value, style=STYLES[report.trust.word])
        text.append("".join(f"\n  {reason.message}" for reason in report.trust.reasons))
    if report.trust and (found := report.trust.comparison):
        text.append(
            f"\ncandidate / baseline {found.ratio:.4f} ({found.ratio_lower:.4f} … {found.ratio_upper:.4f}),"
            f" {found.pairs} pairs, p = {found.p_value:.2g}"
        )
    if report.isolation:
        note = f": {report.isolation.note}" if report.isolation.note else ""
        text.append(f"\nisolation {report.isolation.level.value}{note}", style="dim")
    return text


def _table(records: list[IterationRecord]) -> Table:
    table = Table("#", "image", "exit", "wall", "cpu", "verdict", "why", box=None, header_style="dim")
    for record in records:
        table.add_row(*_row(record))
    return table


def _row(record: IterationRecord) -> tuple[RenderableType, ...]:
    word = record.verdict.word if record.verdict else Word.UNKNOWN
    reasons = ", ".join(reason.code for reason in record.verdict.reasons) if record.verdict else ""
    role = f"{record.variant.value}{' (warm-up)' if record.warm_up else ''}"
    if record.repeats is not None:
        role += f" (again for {record.repeats})"
    why = record.fault.message if record.fault else reasons
    ended = record.signal or ("-" if record.exit_code is None else str(record.exit_code))
    return (
        str(record.number),
        role,
        ended,
        seconds(record.wall_ns),
        seconds(record.cpu_ns),
        Text(word, STYLES[word]),
        why,
    )


def seconds(nanoseconds: int | None) -> str:
    """With three figures that mean something; a dash for what is not known."""
    if nanoseconds is None:
        return "-"
    return f"{nanoseconds / 1e9:.3f} s" if nanoseconds >= 1e9 else f"{nanoseconds / 1e6:.3f} ms"


def _output(title: str, captured: CapturedText) -> list[RenderableType]:
    lines = captured.text.splitlines()
    if not lines:
        return []
    left_out = f" · last {LINES_MAX} of {len(lines)} lines" if len(lines) > LINES_MAX else ""
    dropped = f" · {captured.dropped_bytes} bytes cut" if captured.dropped_bytes else ""
    return [
        Panel(
            Text("\n".join(lines[-LINES_MAX:])),
            title=f"{title} of the last iteration{left_out}{dropped}",
            title_align="left",
        )
    ]


def findings(found: Sequence[Finding]) -> RenderableType:
    """What `doctor` found, each with its cost and what mends it."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    for finding in found:
        table.add_row(Text(*MARKS[finding.severity]), Text(finding.what))
        for note in filter(None, (finding.cost, finding.mend)):
            table.add_row("", Text(note, style="dim"))
    return table
