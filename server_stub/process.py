"""From results to what moved: benchmarks and measures → history → boundaries → metrics and alerts.

One story for results that came with a run and for those of a finished job.

Parsing comes before, outside of the transaction (`results`); everything here is one transaction with the rest of its
run. The number of statements follows the measures that have thresholds, not the benchmarks or the history: about
twenty, and one more for each of those measures and each range of history that its samples have to reach into.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import anyio.to_thread

from runner_protocol.jobs import Work
from runner_protocol.results import Fault, FaultClass, RunReport, Stage
from server_stub.errors import BadRequestError, ConflictError, NotFoundError
from server_stub.job_outputs import outputs_of
from server_stub.judging import Bench
from server_stub.metrics import Adapter, Average, Fold
from server_stub.names import NameId
from server_stub.resolve import measures_of
from server_stub.results import Iteration, Reading, benchmarks_in, measures_in, read_outputs
from server_stub.store import jobs, nouns, outputs, projects, reports
from server_stub.store.database import Database
from server_stub.store.nouns import Noun
from server_stub.store.reports import NewMetric
from server_stub.store.tx import Row, Tx


def store_results(tx: Tx, report: Row, branch_id: int, iterations: Sequence[Iteration]) -> None:
    """Store what a report measured, and hold it against its history. The project must be locked.

    Raises `BadRequestError` where two keys mean the same benchmark or measure, `NotFoundError` for an unknown UUID.
    """
    project_id = report["project_id"]
    benchmarks = nouns.find_or_make(tx, Noun.BENCHMARK, project_id, benchmarks_in(iterations))
    measures = measures_of(tx, project_id, measures_in(iterations))
    bench = Bench.set_up(
        tx, report, branch_id, [row["id"] for row in benchmarks.values()], {row["id"] for row in measures.values()}
    )
    metrics: list[NewMetric] = []
    counts = []
    for number, iteration in enumerate(iterations):
        made = _of_iteration(number, iteration, benchmarks, measures, bench)
        if made:
            metrics += made
            counts.append(_counts(made))
    reports.store_metrics(tx, report, metrics, counts)


def _of_iteration(
    number: int, iteration: Iteration, benchmarks: dict[NameId, Row], measures: dict[NameId, Row], bench: Bench
) -> list[NewMetric]:
    _refuse_same([(benchmark.text, benchmarks[benchmark.key.id]["id"]) for benchmark in iteration], "benchmark", number)
    made = []
    for benchmark in iteration:
        _refuse_same([(key.value, measures[key]["id"]) for key, _ in benchmark.metrics], "measure", number)
        benchmark_id = benchmarks[benchmark.key.id]["id"]
        for key, metric in benchmark.metrics:
            made.append(bench.judge(number, benchmark_id, measures[key]["id"], metric, ignored=benchmark.key.ignored))
    return made


def _refuse_same(named: list[tuple[str, int]], what: str, number: int) -> None:
    if len({row_id for _, row_id in named}) == len(named):
        return
    seen: dict[int, str] = {}
    for text, row_id in named:
        if row_id in seen:
            raise BadRequestError(f"results[{number}]: {seen[row_id]!r} and {text!r} are the same {what}")
        seen[row_id] = text


def _counts(made: list[NewMetric]) -> dict[str, int]:
    return {
        "benchmarks": len({metric.benchmark_id for metric in made}),
        "measures": len({metric.measure_id for metric in made}),
    }


@dataclass(frozen=True, slots=True)
class Finished:
    """A job whose report is stored and not parsed yet."""

    job: Row
    report: Row
    work: Work
    settings: dict[str, Any]
    sent: RunReport


async def process_completed_job(database: Database, job_uuid: UUID) -> None:
    """Parse and store what a finished job sent, all of it or nothing: the job is `processed` then, or `failed`.

    Another process may do the same at the same time: one of the two has no effect.
    """
    finished = await database.read(partial(_finished, job_uuid=job_uuid))
    try:
        iterations = await anyio.to_thread.run_sync(_read_job, finished)
        await database.write(partial(_store_job, finished=finished, iterations=iterations))
    except (BadRequestError, NotFoundError, ConflictError) as error:
        fault = Fault(kind=FaultClass.RESULTS_UNREADABLE, stage=Stage.PROCESS, message=error.message)
        await database.write(lambda tx: jobs.settle(tx, job_uuid, fault=fault))


def _finished(tx: Tx, job_uuid: UUID) -> Finished:
    job = outputs.unparsed(tx, job_uuid)
    return Finished(
        job=job,
        report=reports.by_id(tx, job["report_id"]),
        work=Work.model_validate_json(job["work"]),
        settings=json.loads(job["settings"]),
        sent=job.pop("report"),
    )


def _read_job(finished: Finished) -> list[Iteration]:
    settings = finished.settings
    reading = Reading(
        adapter=Adapter(finished.report["adapter"]),
        average=Average(settings["average"]) if settings.get("average") else None,
        fold=Fold(settings["fold"]) if settings.get("fold") else None,
    )
    return read_outputs(outputs_of(finished.sent, finished.work), reading)


def _store_job(tx: Tx, finished: Finished, iterations: list[Iteration]) -> None:
    job = finished.job
    projects.lock(tx, job["project_id"])
    if not jobs.settle(tx, UUID(job["uuid"])):
        return
    now_s = tx.now_ms() // 1000
    start_s = (job["started_ms"] or job["claimed_ms"] or job["created_ms"]) // 1000
    backdate = finished.settings.get("backdate")
    start, end = (start_s, now_s) if backdate is None else (backdate, backdate + now_s - start_s)
    report = reports.retime(tx, finished.report, start, end)
    store_results(tx, report, report["branch_id"], iterations)
