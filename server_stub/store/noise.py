"""How quiet hosts were over time: their noise floors, noted whenever one changes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from server_stub.store.tx import Tx

KEPT_MS = 90 * 86_400_000
SHOWN = 40
"""Values of one runner that are read back."""


def note(tx: Tx, floors: Mapping[int, float]) -> None:
    """Keep what runners say of their hosts, by the runner's id, where it is not what they said last."""
    ids = sorted(floors)
    last = {runner_id: values[-1] for runner_id, values in recent(tx, ids, most=1).items()}
    now_ms = tx.now_ms()
    rows = [(runner_id, now_ms, floors[runner_id]) for runner_id in ids if last.get(runner_id) != floors[runner_id]]
    if rows:
        sql = "DELETE FROM noise_floor WHERE runner_id {any:ids} AND at_ms < :since"
        tx.run(sql, ids=[row[0] for row in rows], since=now_ms - KEPT_MS)
        tx.insert("noise_floor", ("runner_id", "at_ms", "value"), rows)


def recent(tx: Tx, runner_ids: Sequence[int], most: int = SHOWN) -> dict[int, list[float]]:
    """The newest values of some runners, the oldest of them first."""
    found: dict[int, list[float]] = defaultdict(list)
    rows = tx.all(
        "SELECT runner_id, value FROM (SELECT n.*, ROW_NUMBER() OVER (PARTITION BY runner_id ORDER BY id DESC) AS place"
        " FROM noise_floor n WHERE runner_id {any:ids}) x WHERE place <= :most ORDER BY runner_id, id",
        ids=list(runner_ids),
        most=most,
    )
    for row in rows:
        found[row["runner_id"]].append(row["value"])
    return dict(found)
