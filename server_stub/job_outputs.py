"""From a finished job's report to result strings, and to the metrics that the runner itself took. Pure.

Of each iteration that counts: the collected files in the order of their paths, else stdout; stderr never counts.
Warm-ups, iterations that were run again, those of the baseline image and those that never ran to an end are left out.
Build time and file sizes are added to what the benchmark prints and do not take its place.
"""

import base64
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from runner_protocol.jobs import Work
from runner_protocol.results import CollectedFile, FileEncoding, IterationRecord, RunReport, Variant, Word, standing
from server_stub.metrics import Metric, Results
from server_stub.names import BENCHMARK_NAME_BYTES_MAX
from server_stub.results import NOTHING, Output

BUILD_TIME = "build-time"
FILE_SIZE = "file-size"
NS_PER_S = 1_000_000_000
BUILD_TIME_DIGITS = 6
"""Microseconds: engines stamp a container's start and end not much finer than that."""


def outputs_of(report: RunReport, work: Work) -> list[Output]:
    """Everything that the job measured, in the order of its iterations."""
    return [output for iteration in _counted(report.iterations) for output in _of_iteration(iteration, work)]


def words_of(report: RunReport, work: Work) -> list[Word]:
    """How quiet the host was for each of them."""
    return [
        iteration.verdict.word if iteration.verdict else Word.UNKNOWN
        for iteration in _counted(report.iterations)
        for _ in _of_iteration(iteration, work)
    ]


def _counted(iterations: list[IterationRecord]) -> Iterator[IterationRecord]:
    for iteration in standing(iterations):
        ran = iteration.exit_code is not None and not iteration.timed_out
        if ran and iteration.variant is Variant.CANDIDATE and not iteration.warm_up:
            yield iteration


def _of_iteration(iteration: IterationRecord, work: Work) -> list[Output]:
    """The metrics from outside ride on the first string, so that they are of the same iteration."""
    texts = _texts(iteration)
    extras = _extras(iteration, work)
    if not extras.benchmarks:
        return [Output(text) for text in texts]
    first = texts[0] if texts else None
    return [Output(first, extras), *(Output(text) for text in texts[1:])]


def _texts(iteration: IterationRecord) -> list[str]:
    files = [file for file in iteration.files if file.content is not None]
    if files:
        return [_content(file) for file in sorted(files, key=lambda file: file.path)]
    return [iteration.stdout.text] if iteration.stdout.text else []


def _content(file: CollectedFile) -> str:
    content = file.content or ""
    if file.encoding is FileEncoding.UTF8:
        return content
    return base64.b64decode(content).decode(errors="replace")


def _extras(iteration: IterationRecord, work: Work) -> Results:
    benchmarks: dict[str, dict[str, Metric]] = {}
    if work.build_time and iteration.wall_ns is not None:
        seconds = round(iteration.wall_ns / NS_PER_S, BUILD_TIME_DIGITS)
        benchmarks[_command(work)] = {BUILD_TIME: Metric(seconds)}
    if work.file_size:
        for name, size_bytes in _sizes(iteration.files):
            benchmarks.setdefault(name, {})[FILE_SIZE] = Metric(float(size_bytes))
    return Results(benchmarks, keys_are_names=False) if benchmarks else NOTHING


def _sizes(files: Iterable[CollectedFile]) -> Iterator[tuple[str, int]]:
    """Two files of one name in different folders are told apart by their paths."""
    paths = {file.path: file.size_bytes for file in files}
    names = [PurePosixPath(path).name for path in paths]
    for path, name in zip(paths, names, strict=True):
        yield _name(name if name and names.count(name) == 1 else path), paths[path]


def _command(work: Work) -> str:
    return _name(" ".join([*(work.entrypoint or ()), *(work.cmd or ())]) or work.image)


def _name(text: str) -> str:
    """Cut to the size of a benchmark's name, between characters."""
    return text.encode()[:BENCHMARK_NAME_BYTES_MAX].decode(errors="ignore")
