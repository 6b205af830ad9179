"""What testbeds have beside other nouns: a spec, the class of machine that their jobs run on."""

from server_stub.store.tx import Row, Tx


def set_spec(tx: Tx, testbed: Row, spec_id: int | None) -> Row:
    """Give a testbed a spec, or none; return its row with that."""
    if testbed["spec_id"] == spec_id:
        return testbed
    now_ms = tx.now_ms()
    sql = "UPDATE testbed SET spec_id = :spec, modified_ms = :now WHERE id = :id"
    tx.run(sql, spec=spec_id, now=now_ms, id=testbed["id"])
    return testbed | {"spec_id": spec_id, "modified_ms": now_ms}


def fallback_spec(tx: Tx) -> Row | None:
    """The spec for jobs that name none, on testbeds that have none."""
    return tx.one("SELECT * FROM spec WHERE fallback_ms IS NOT NULL AND archived_ms IS NULL")
