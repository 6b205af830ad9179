"""Thresholds and their models. A threshold stands on a branch, a testbed and a measure; its models are never changed,
only replaced, so that every metric keeps the one it was held against.

Several changes are one statement each way, however many thresholds they touch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from server_stub.errors import ConflictError
from server_stub.store.fresh import fresh_uuids
from server_stub.store.tx import Row, Tx
from server_stub.thresholds import Model, Test


def of_place(tx: Tx, branch_id: int, testbed_id: int) -> dict[int, Row]:
    """The thresholds of a branch on a testbed, by measure id; each with the columns of its model as `model`."""
    sql = "SELECT * FROM threshold WHERE branch_id = :branch AND testbed_id = :testbed"
    return _with_models(tx, tx.all(sql, branch=branch_id, testbed=testbed_id))


def _with_models(tx: Tx, rows: list[Row]) -> dict[int, Row]:
    ids = [row["model_id"] for row in rows if row["model_id"] is not None]
    models = {} if not ids else {row["id"]: row for row in tx.all("SELECT * FROM model WHERE id {any:ids}", ids=ids)}
    return {row["measure_id"]: row | {"model": models.get(row["model_id"])} for row in rows}


def model_of(row: Row) -> Model:
    """A model's row as a record of the head."""
    return Model(
        test=Test(row["test"]),
        min_sample_size=row["min_sample_size"],
        max_sample_size=row["max_sample_size"],
        window=row["window_s"],
        lower_boundary=row["lower_boundary"],
        upper_boundary=row["upper_boundary"],
    )


def put(tx: Tx, place: Mapping[str, int], wanted: Mapping[int, Model], *, reset: bool = False) -> None:
    """Give the thresholds of a place (`project_id`, `branch_id`, `testbed_id`) the models in `wanted`, by measure id.

    A threshold that has exactly that model keeps it. With `reset`, all others of the place lose theirs.
    """
    known = of_place(tx, place["branch_id"], place["testbed_id"])
    changed = {
        measure: model
        for measure, model in wanted.items()
        if measure not in known or known[measure]["model"] is None or model_of(known[measure]["model"]) != model
    }
    ids = {measure: known[measure]["id"] for measure in changed if measure in known}
    ids |= _create(tx, place, [measure for measure in changed if measure not in known])
    set_models(tx, {ids[measure]: model for measure, model in changed.items()})
    if reset:
        remove_models(tx, [row["id"] for measure, row in known.items() if measure not in wanted and row["model"]])


def create(tx: Tx, place: Mapping[str, int], measure_id: int, model: Model) -> int:
    """Make one threshold with its first model; return its id. Raises `ConflictError` where the place has one."""
    if measure_id in of_place(tx, place["branch_id"], place["testbed_id"]):
        raise ConflictError("there is a threshold for this branch, testbed and measure already")
    made = _create(tx, place, [measure_id])[measure_id]
    set_models(tx, {made: model})
    return made


def clone(tx: Tx, project_id: int, source_branch_id: int, branch_id: int) -> None:
    """Make a branch's thresholds on every testbed equal to another branch's: what that lacks loses its model."""
    sql = "SELECT DISTINCT testbed_id FROM threshold WHERE branch_id = :source OR branch_id = :target"
    for row in tx.all(sql, source=source_branch_id, target=branch_id):
        testbed_id = row["testbed_id"]
        source = of_place(tx, source_branch_id, testbed_id)
        wanted = {measure: model_of(one["model"]) for measure, one in source.items() if one["model"]}
        place = {"project_id": project_id, "branch_id": branch_id, "testbed_id": testbed_id}
        put(tx, place, wanted, reset=True)


def set_models(tx: Tx, wanted: Mapping[int, Model]) -> None:
    """Give thresholds, by id, new models; those they had are marked replaced."""
    if not wanted:
        return
    now_ms = tx.now_ms()
    _retire(tx, list(wanted), now_ms)
    rows = [
        (uuid, threshold_id, *_columns(model).values(), now_ms)
        for uuid, (threshold_id, model) in zip(fresh_uuids(now_ms, len(wanted)), wanted.items(), strict=True)
    ]
    some = next(iter(wanted.values()))
    tx.insert("model", ("uuid", "threshold_id", *_columns(some), "created_ms"), rows)
    tx.run(
        "UPDATE threshold SET modified_ms = :now, model_id ="
        " (SELECT id FROM model m WHERE m.threshold_id = threshold.id AND m.replaced_ms IS NULL) WHERE id {any:ids}",
        now=now_ms,
        ids=list(wanted),
    )


def remove_models(tx: Tx, threshold_ids: Sequence[int]) -> None:
    """Leave thresholds without a model: they hold nothing against anything until they get one."""
    if not threshold_ids:
        return
    now_ms = tx.now_ms()
    _retire(tx, threshold_ids, now_ms)
    sql = "UPDATE threshold SET model_id = NULL, modified_ms = :now WHERE id {any:ids}"
    tx.run(sql, now=now_ms, ids=list(threshold_ids))


def _create(tx: Tx, place: Mapping[str, int], measure_ids: Sequence[int]) -> dict[int, int]:
    """Make thresholds without models; return their ids by measure id."""
    now_ms = tx.now_ms()
    rows = [
        (uuid, *place.values(), measure_id, now_ms, now_ms)
        for uuid, measure_id in zip(fresh_uuids(now_ms, len(measure_ids)), measure_ids, strict=True)
    ]
    columns = ("uuid", *place, "measure_id", "created_ms", "modified_ms")
    return {row["measure_id"]: row["id"] for row in tx.insert("threshold", columns, rows, returning="id, measure_id")}


def _retire(tx: Tx, threshold_ids: Sequence[int], now_ms: int) -> None:
    sql = "UPDATE model SET replaced_ms = :now WHERE threshold_id {any:ids} AND replaced_ms IS NULL"
    tx.run(sql, now=now_ms, ids=list(threshold_ids))


def _columns(model: Model) -> dict[str, Any]:
    return {
        "test": model.test,
        "min_sample_size": model.min_sample_size,
        "max_sample_size": model.max_sample_size,
        "window_s": model.window,
        "lower_boundary": model.lower_boundary,
        "upper_boundary": model.upper_boundary,
    }
