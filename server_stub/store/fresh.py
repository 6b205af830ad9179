"""What is drawn by chance when a row is made: identifiers, slugs and secrets."""

import hashlib
import secrets
import string

from server_stub.names import unique_slug, uuid7
from server_stub.store.tx import Tx

_LETTERS = string.ascii_letters + string.digits


def fresh_uuid(now_ms: int) -> str:
    """A UUID that sorts by the time it was made."""
    return str(uuid7(now_ms, secrets.token_bytes(10)))


def fresh_uuids(now_ms: int, count: int) -> list[str]:
    """Many of them, from one draw."""
    chance = secrets.token_bytes(10 * count)
    return [str(uuid7(now_ms, chance[at : at + 10])) for at in range(0, len(chance), 10)]


def fresh_key(prefix: str, characters: int) -> str:
    """A secret that a person copies once."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(characters))


def sha256_of(secret: str) -> str:
    """What is kept of a secret, in lower-case hex. The secrets are drawn by chance, so that no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


class _Taken:
    """The slugs that a table holds, asked one by one: `scope` is a condition on its rows."""

    def __init__(self, tx: Tx, table: str, scope: str, parameters: dict[str, int]) -> None:
        self._tx = tx
        self._sql = f"SELECT 1 FROM {table} WHERE {scope} AND slug = :slug"
        self._parameters = parameters

    def __contains__(self, slug: object) -> bool:
        return self._tx.value(self._sql, slug=slug, **self._parameters) is not None


def free_slug(tx: Tx, table: str, name: str, scope: str = "TRUE", **parameters: int) -> str:
    """A slug for `name` that no row of `table` within `scope` has."""
    return unique_slug(name, _Taken(tx, table, scope, parameters), tx.now_ms() // 1000, secrets.randbelow)
