"""The history that a new metric is held against: the newest values of each series, however long the history is.

A series is a benchmark and a measure on a testbed, in the history of a head. One statement reads one measure of all
benchmarks from one range of that history; for each benchmark it walks the index `metric_series` from its newest entry
and stops at `limit`. So its cost follows the size of the samples, not the number of reports. The second and later
ranges, taken over from a start point, are only asked about benchmarks whose sample is not full yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from server_stub.store.heads import lineage
from server_stub.store.tx import Row, Tx

UNLIMITED = 2**62

_NEWEST = (
    "FROM metric m WHERE m.benchmark_id = w.benchmark_id AND m.measure_id = :measure AND m.testbed_id = :testbed"
    " AND m.head_id = :origin AND m.version_id BETWEEN :first AND :last AND m.start_s >= :since"
    " AND (CAST(:spec AS BIGINT) IS NULL OR m.spec_id = :spec)"
    " ORDER BY m.version_id DESC, m.start_s DESC, m.iteration DESC, m.id DESC LIMIT :limit"
)
_SQL = {
    "postgresql": (
        "SELECT s.* FROM (SELECT unnest(CAST(:benchmarks AS BIGINT[])) AS benchmark_id) w CROSS JOIN LATERAL"
        f" (SELECT m.benchmark_id, m.version_id, m.start_s, m.iteration, m.id, m.value {_NEWEST}) s"
    ),
    # SQLite has no LATERAL. A list that is made anew for each benchmark says the same; its rows come in any order.
    "sqlite": (
        "SELECT v.benchmark_id, v.version_id, v.start_s, v.iteration, v.id, v.value"
        " FROM (SELECT value AS benchmark_id FROM json_each(:benchmarks)) w"
        f" CROSS JOIN metric v ON v.id IN (SELECT m.id {_NEWEST})"
    ),
}


class Entry(NamedTuple):
    """One value of a series. Of two entries the newer one is the greater one, as far as their values do not matter."""

    version_id: int
    start_s: int
    iteration: int
    metric_id: int
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """Which values are wanted of each benchmark: `limit` at most, of reports that started at `since_s` or later.

    With `spec_id`, only those measured on that class of machine.
    """

    measure_id: int
    testbed_id: int
    spec_id: int | None
    limit: int
    since_s: int


def newest_values(tx: Tx, head_id: int, series: Series, benchmark_ids: Sequence[int]) -> dict[int, list[Entry]]:
    """The sample of each benchmark, newest first, by id: by version, start time and iteration."""
    found: dict[int, list[Entry]] = {benchmark_id: [] for benchmark_id in benchmark_ids}
    for part in lineage(tx, head_id):
        hungry = [benchmark_id for benchmark_id, entries in found.items() if len(entries) < series.limit]
        if not hungry:
            break
        for row in _read(tx, part, series, hungry):
            benchmark_id, *entry = row.values()
            found[benchmark_id].append(Entry(*entry))
    return {benchmark_id: sorted(entries, reverse=True)[: series.limit] for benchmark_id, entries in found.items()}


def _read(tx: Tx, part: Row, series: Series, benchmark_ids: Sequence[int]) -> list[Row]:
    return tx.all(
        _SQL[tx.dialect],
        benchmarks=benchmark_ids,
        measure=series.measure_id,
        testbed=series.testbed_id,
        origin=part["origin_head_id"],
        first=part["first_version_id"],
        last=part["last_version_id"],
        since=series.since_s,
        spec=series.spec_id,
        limit=series.limit,
    )
