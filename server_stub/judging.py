"""Holds the values of one report against their history: which model, which sample, which limits, and whether to alert.

Reads the samples of a whole report at once (`store.samples`) and decides in memory; stores nothing. Iterations of one
report feed each other, as if they had come one by one.
"""

from dataclasses import dataclass

from server_stub.boundaries import boundary, outlier
from server_stub.metrics import Metric
from server_stub.store import thresholds
from server_stub.store.reports import NewMetric
from server_stub.store.samples import UNLIMITED, Sample, Series, newest_values
from server_stub.store.tx import Row, Tx
from server_stub.thresholds import Model


@dataclass(frozen=True, slots=True)
class Judge:
    """One measure's model and the samples it looks at, newest first, by benchmark."""

    model_id: int
    model: Model
    series: Series
    samples: dict[int, Sample]


@dataclass(frozen=True, slots=True)
class Bench:
    """What the values of one report are held against. Iterations feed each other, as if they had come one by one."""

    report: Row
    judges: dict[int, Judge]

    @classmethod
    def set_up(cls, tx: Tx, report: Row, branch_id: int, benchmark_ids: list[int], measure_ids: set[int]) -> "Bench":
        """Read the models of the report's place and the samples that they want."""
        placed = thresholds.of_place(tx, branch_id, report["testbed_id"])
        now_s = tx.now_ms() // 1000
        judges = {}
        for measure_id in sorted(measure_ids & placed.keys()):
            row = placed[measure_id]["model"]
            if row is not None:
                model = thresholds.model_of(row)
                series = _series(report, measure_id, model, now_s)
                samples = newest_values(tx, series, benchmark_ids)
                judges[measure_id] = Judge(row["id"], model, series, samples)
        return cls(report, judges)

    def judge(self, number: int, benchmark_id: int, measure_id: int, metric: Metric, *, ignored: bool) -> NewMetric:
        """Hold one value against its history, then make it the newest part of that."""
        judge = self.judges.get(measure_id)
        if judge is None:
            return NewMetric(number, benchmark_id, measure_id, metric)
        sample = judge.samples[benchmark_id]
        limits = boundary(judge.model, sample.numbers)
        limit = None if ignored else outlier(limits, metric.value)
        if self.report["start_s"] >= judge.series.since_s:
            sample.remember(number, metric.value, judge.series.limit)
        return NewMetric(number, benchmark_id, measure_id, metric, judge.model_id, limits, limit)


def _series(report: Row, measure_id: int, model: Model, now_s: int) -> Series:
    return Series(
        report=report,
        measure_id=measure_id,
        limit=model.max_sample_size or UNLIMITED,
        # Relative to now and not to the report's start, so that a backdated report sees what others see.
        since_s=now_s - model.window if model.window else -UNLIMITED,
    )
