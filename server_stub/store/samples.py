"""The history that a new metric is held against: the newest values of each series, however long the history is.

A series is a benchmark and a measure on a testbed, in the history of a head. One statement reads one measure of all
benchmarks from one range of that history; for each benchmark it walks the index `metric_series`, which holds all that
is asked for, from its newest entry and stops at `limit`. So its cost follows the size of the samples, not the number of
reports. A sample comes as one row: a row for each value would cost ten times as much. The second and later ranges,
taken over from a start point, are older, and only asked about benchmarks whose sample is not full yet.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import neg
from typing import NamedTuple

from server_stub.store.heads import lineage
from server_stub.store.tx import Row, Tx

UNLIMITED = 2**62
NEWER, OLDER = 2.0**62, -1.0
"""Ranks of values that are newer, or older, than every iteration of the report that a sample is for."""

_NEWEST = (
    f"SELECT m.value, CASE WHEN m.version_id < :version THEN {OLDER} WHEN m.version_id > :version THEN {NEWER}"
    f" WHEN m.start_s < :start THEN {OLDER} WHEN m.start_s > :start THEN {NEWER} ELSE m.iteration END AS rank"
    " FROM metric m WHERE m.benchmark_id = w.benchmark_id AND m.measure_id = :measure AND m.testbed_id = :testbed"
    " AND m.head_id = :origin AND m.version_id BETWEEN :first AND :last AND m.start_s >= :since"
    " AND (CAST(:spec AS BIGINT) IS NULL OR m.spec_id = :spec)"
    " ORDER BY m.version_id DESC, m.start_s DESC, m.iteration DESC, m.id DESC LIMIT :limit"
)
_SQL = {
    "postgresql": (
        "SELECT w.benchmark_id, s.* FROM (SELECT unnest(CAST(:benchmarks AS BIGINT[])) AS benchmark_id) w"
        " CROSS JOIN LATERAL (SELECT array_agg(n.value) AS numbers, array_agg(CAST(n.rank AS FLOAT8)) AS ranks"
        f" FROM ({_NEWEST}) n) s"
    ),
    "sqlite": (
        f"SELECT w.benchmark_id, (SELECT doubles(n.value, n.rank) FROM ({_NEWEST}) n) AS pairs"
        " FROM (SELECT value AS benchmark_id FROM json_each(:benchmarks)) w"
    ),
}


class Sample(NamedTuple):
    """Values of one series, newest first, each with how new it is: see `Series.rank`."""

    numbers: list[float]
    ranks: list[float]

    def remember(self, iteration: int, number: float, limit: int) -> None:
        """Take a value of the report itself in, as the newest of what is not newer than its iteration."""
        place = bisect_left(self.ranks, -float(iteration), key=neg)
        self.numbers.insert(place, number)
        self.ranks.insert(place, iteration)
        del self.numbers[limit:], self.ranks[limit:]


@dataclass(frozen=True, slots=True)
class Series:
    """Which values are wanted of each benchmark for a report: `limit` at most, started at `since_s` or later.

    They are of the report's testbed and, where it has a spec, of that class of machine only. The rank of a value is its
    iteration where it is of the same version and start time as the report; else it is `NEWER` or `OLDER`.
    """

    report: Row
    measure_id: int
    limit: int
    since_s: int


def newest_values(tx: Tx, series: Series, benchmark_ids: Sequence[int]) -> dict[int, Sample]:
    """The sample of each benchmark by id, newest first: by version, start time and iteration."""
    found = {benchmark_id: Sample([], []) for benchmark_id in benchmark_ids}
    for part in lineage(tx, series.report["head_id"]):
        hungry = [benchmark_id for benchmark_id, sample in found.items() if len(sample.numbers) < series.limit]
        if not hungry:
            break
        for row in _read(tx, part, series, hungry):
            numbers, ranks = _unpacked(row)
            sample = found[row["benchmark_id"]]
            sample.numbers.extend(numbers[: series.limit - len(sample.numbers)])
            sample.ranks.extend(ranks[: series.limit - len(sample.ranks)])
    return found


def _unpacked(row: Row) -> tuple[list[float], list[float]]:
    if "pairs" in row:
        pairs = array("d", row["pairs"] or b"").tolist()
        return pairs[::2], pairs[1::2]
    return row["numbers"] or [], row["ranks"] or []


def _read(tx: Tx, part: Row, series: Series, benchmark_ids: Sequence[int]) -> list[Row]:
    report = series.report
    return tx.all(
        _SQL[tx.dialect],
        benchmarks=benchmark_ids,
        measure=series.measure_id,
        testbed=report["testbed_id"],
        version=report["version_id"],
        start=report["start_s"],
        spec=report["spec_id"],
        origin=part["origin_head_id"],
        first=part["first_version_id"],
        last=part["last_version_id"],
        since=series.since_s,
        limit=series.limit,
    )
