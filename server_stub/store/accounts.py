"""Users, what they prove themselves by, and the keys of projects. Of every secret only its SHA-256 is kept."""

import hmac
import secrets
from typing import Any

from server_stub.actors import KEY_CHARACTERS, PROJECT_KEY_PREFIX, USER_KEY_PREFIX
from server_stub.errors import ConflictError, NotFoundError
from server_stub.store.fresh import free_slug, fresh_key, fresh_uuid, sha256_of
from server_stub.store.tx import Row, Tx
from server_stub.tokens import sign

TTL_S_DEFAULT = 2**32 - 1
"""About 136 years."""
SECRET_BYTES = 32


def create_user(tx: Tx, name: str, email: str, *, slug: str | None = None, admin: bool = False) -> Row:
    """Make a user. Raises `ConflictError` where the address or the slug is taken."""
    if tx.value("SELECT 1 FROM user_account WHERE email = :email", email=email) is not None:
        raise ConflictError(f"email: there is a user with the address {email!r} already")
    now_ms = tx.now_ms()
    row = {
        "uuid": fresh_uuid(now_ms),
        "name": name,
        "slug": slug or free_slug(tx, "user_account", name),
        "email": email,
        "admin": admin,
        "locked": False,
        "created_ms": now_ms,
    }
    return tx.insert("user_account", tuple(row), [tuple(row.values())], returning="*")[0]


def find_user(tx: Tx, named: str) -> Row:
    """A user by UUID, slug or e-mail address. Raises `NotFoundError`."""
    sql = "SELECT * FROM user_account WHERE uuid = :named OR slug = :named OR email = :named"
    row = tx.one(sql, named=named)
    if row is None:
        raise NotFoundError(f"there is no user {named!r}")
    return row


def create_token(tx: Tx, user: Row, name: str, ttl_s: int | None = None) -> tuple[Row, str]:
    """An API token of a user; the token itself is never shown again."""
    now_ms = tx.now_ms()
    uuid, expires_s = fresh_uuid(now_ms), now_ms // 1000 + (ttl_s or TTL_S_DEFAULT)
    token = sign(server_secret(tx), user["email"], uuid, now_ms // 1000, expires_s)
    return _keep(tx, "user_token", uuid, {"user_id": user["id"]}, name, token, expires_s), token


def create_user_key(tx: Tx, user: Row, name: str, ttl_s: int | None = None) -> tuple[Row, str]:
    """A key of a user (`bencher_user_…`), with the same rights as an API token."""
    return _draw(tx, "user_token", {"user_id": user["id"]}, USER_KEY_PREFIX, name, ttl_s)


def create_project_key(tx: Tx, project: Row, name: str, ttl_s: int | None = None) -> tuple[Row, str]:
    """A key of a project (`bencher_run_…`)."""
    return _draw(tx, "project_key", {"project_id": project["id"]}, PROJECT_KEY_PREFIX, name, ttl_s)


def user_token(tx: Tx, secret: str) -> Row | None:
    """The token or key that `secret` is, with its user's columns as `user_…`; also a revoked or expired one."""
    sql = "SELECT t.*, u.locked FROM user_token t JOIN user_account u ON u.id = t.user_id WHERE t.sha256 = :sha256"
    return _same(tx.one(sql, sha256=sha256_of(secret)), secret)


def project_key(tx: Tx, secret: str) -> Row | None:
    """The project key that `secret` is, unless its project is deleted; also a revoked or expired one."""
    sql = (
        "SELECT k.* FROM project_key k JOIN project p ON p.id = k.project_id"
        " WHERE k.sha256 = :sha256 AND p.deleted_ms IS NULL"
    )
    return _same(tx.one(sql, sha256=sha256_of(secret)), secret)


def alive(tx: Tx, row: Row | None) -> bool:
    """Whether a token or key is there, not revoked and not expired."""
    return row is not None and row["revoked_ms"] is None and tx.now_ms() < row["expires_ms"]


def user_of(tx: Tx, user_id: int) -> Row:
    """A user by id."""
    row = tx.one("SELECT * FROM user_account WHERE id = :id", id=user_id)
    assert row is not None, "a token cannot outlive its user"
    return row


def user_by_email(tx: Tx, email: str) -> Row | None:
    """A user by address."""
    return tx.one("SELECT * FROM user_account WHERE email = :email", email=email)


def revoke(tx: Tx, table: str, row: Row) -> None:
    """Make a token or key worthless from now on."""
    tx.run(f"UPDATE {table} SET revoked_ms = :now WHERE id = :id AND revoked_ms IS NULL", now=tx.now_ms(), id=row["id"])


def server_secret(tx: Tx) -> bytes:
    """What API tokens are signed with; made by whoever asks first."""
    sql = "SELECT secret FROM server_secret WHERE name = 'api_token'"
    known = tx.value(sql)
    if known is None:
        tx.run(
            "INSERT INTO server_secret (name, secret) VALUES ('api_token', :secret) ON CONFLICT (name) DO NOTHING",
            secret=secrets.token_bytes(SECRET_BYTES),
        )
        known = tx.value(sql)
    return bytes(known)


def find_secret(tx: Tx) -> bytes | None:
    """The same, where it was made already: a request that only reads must not write."""
    known = tx.value("SELECT secret FROM server_secret WHERE name = 'api_token'")
    return None if known is None else bytes(known)


def _draw(tx: Tx, table: str, owner: dict[str, Any], prefix: str, name: str, ttl_s: int | None) -> tuple[Row, str]:
    now_ms = tx.now_ms()
    key = fresh_key(prefix, KEY_CHARACTERS)
    expires_s = now_ms // 1000 + (ttl_s or TTL_S_DEFAULT)
    return _keep(tx, table, fresh_uuid(now_ms), owner, name, key, expires_s), key


def _keep(tx: Tx, table: str, uuid: str, owner: dict[str, Any], name: str, secret: str, expires_s: int) -> Row:
    row = {
        "uuid": uuid,
        **owner,
        "name": name,
        "sha256": sha256_of(secret),
        "created_ms": tx.now_ms(),
        "expires_ms": expires_s * 1000,
    }
    return tx.insert(table, tuple(row), [tuple(row.values())], returning="*")[0]


def _same(row: Row | None, secret: str) -> Row | None:
    """Found by an index over hashes; compared once more in constant time, whatever the index does."""
    return row if row is not None and hmac.compare_digest(row["sha256"], sha256_of(secret)) else None
