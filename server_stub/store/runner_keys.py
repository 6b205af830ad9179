"""Runner keys: made once, shown once, kept as SHA-256 only. Two are valid while one replaces the other."""

import re
from collections.abc import Mapping, Sequence

from runner_protocol.states import LEASED
from server_stub.actors import KEY_CHARACTERS, RUNNER_KEY_PREFIX
from server_stub.errors import UnauthorizedError
from server_stub.store.fresh import fresh_key, sha256_of
from server_stub.store.jobs import within
from server_stub.store.sessions import BESIDE, SEEN
from server_stub.store.tx import Row, Tx

_KEY = re.compile(rf"{RUNNER_KEY_PREFIX}[0-9A-Za-z]{{{KEY_CHARACTERS}}}")


def make_key() -> str:
    """A new key: 30 letters and digits carry 178 bits of chance."""
    return fresh_key(RUNNER_KEY_PREFIX, KEY_CHARACTERS)


def add_key(tx: Tx, runner_id: int, *, overlap_ms: int = 0) -> str:
    """Give a runner a new key; the ones before it stay valid for `overlap_ms` at most."""
    key, now_ms = make_key(), tx.now_ms()
    tx.run("DELETE FROM runner_key WHERE runner_id = :runner AND expires_ms <= :now", runner=runner_id, now=now_ms)
    tx.run(
        "UPDATE runner_key SET expires_ms = :until"
        " WHERE runner_id = :runner AND (expires_ms IS NULL OR expires_ms > :until)",
        runner=runner_id,
        until=now_ms + overlap_ms,
    )
    tx.insert("runner_key", ("runner_id", "sha256", "created_ms"), [(runner_id, sha256_of(key), now_ms)])
    return key


def drop_keys(tx: Tx, runner_id: int) -> None:
    """Make every key of a runner worthless."""
    tx.run("DELETE FROM runner_key WHERE runner_id = :runner", runner=runner_id)


def authenticate(tx: Tx, runner: str, key: str | None) -> Row:
    """The runner's row, where `key` is a valid key of the runner that the path names by UUID or slug.

    Raises `UnauthorizedError`, with one message for every way in which a key can be wrong.
    """
    return _first(authenticated(tx, [(runner, key)]))


def authenticate_asker(tx: Tx, runner: str, key: str | None) -> Row:
    """The same with all that a look for work begins with, in one statement.

    That is the row of its session (none of it where there is no session), its `spec_ids` as text with commas, and the
    `held_id` of the job that it holds.
    """
    return _first(authenticated_askers(tx, [(runner, key)]))


Named = tuple[str, str | None]
"""The runner that a call's path names, and the call's key."""


def authenticated(tx: Tx, calls: Sequence[Named]) -> list[Row | UnauthorizedError]:
    """`authenticate` for many calls in one statement."""
    return _known(tx, _RUNNER.format(more="", beside=""), calls)


def authenticated_askers(tx: Tx, calls: Sequence[Named]) -> list[Row | UnauthorizedError]:
    """`authenticate_asker` for many calls in one statement."""
    return _known(tx, _RUNNER.format(more=_ASKER, beside=f" {BESIDE}"), calls)


_RUNNER = (
    "SELECT r.*, k.sha256{more} FROM runner_key k JOIN runner r ON r.id = k.runner_id{beside}"
    " WHERE k.sha256 {{any:digests}} AND (k.expires_ms IS NULL OR k.expires_ms > :now) AND r.archived_ms IS NULL"
)
_ASKER = (
    f", {SEEN} AS seen_ms, s.retired, s.agent, s.state,"
    " (SELECT {joined}(CAST(x.spec_id AS TEXT), ',') FROM runner_spec x WHERE x.runner_id = r.id) AS spec_ids,"
    f" (SELECT j.id FROM job j WHERE j.runner_id = r.id AND j.state IN {within(LEASED)}) AS held_id"
)


def _known(tx: Tx, sql: str, calls: Sequence[Named]) -> list[Row | UnauthorizedError]:
    digests = [sha256_of(key) if key is not None and _KEY.fullmatch(key) else None for _, key in calls]
    asked = [digest for digest in digests if digest is not None]
    rows = tx.all(sql, digests=asked, now=tx.now_ms()) if asked else []
    by_digest = {row["sha256"]: row for row in rows}
    return [_named(named, digest, by_digest) for (named, _), digest in zip(calls, digests, strict=True)]


def _named(named: str, digest: str | None, by_digest: Mapping[str, Row]) -> Row | UnauthorizedError:
    if digest is None:
        return UnauthorizedError("a runner key is needed: `Authorization: Bearer bencher_runner_…`")
    row = by_digest.get(digest)
    return row if row is not None and named in (row["uuid"], row["slug"]) else UnauthorizedError("invalid runner key")


def _first(found: list[Row | UnauthorizedError]) -> Row:
    (row,) = found
    if isinstance(row, UnauthorizedError):
        raise row
    return row
