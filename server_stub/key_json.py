"""How keys, tokens, users and organizations are shown: never with what a secret was stored as. Pure."""

from typing import Any

from server_stub.shapes import (
    AccountJson,
    NewProjectKeyJson,
    NewTokenJson,
    OrganizationJson,
    ProjectKeyJson,
    TokenJson,
)
from server_stub.times import from_ms, from_seconds

Row = dict[str, Any]


def project_key_json(row: Row, project: str) -> ProjectKeyJson:
    """A project key's row. `revoked` is only there once it was."""
    shown: ProjectKeyJson = {
        "uuid": row["uuid"],
        "project": project,
        "name": row["name"],
        "creation": _time(row["created_ms"]),
        "expiration": _time(row["expires_ms"]),
    }
    if row["revoked_ms"] is not None:
        shown["revoked"] = _time(row["revoked_ms"])
    return shown


def new_project_key_json(row: Row, project: str, key: str) -> NewProjectKeyJson:
    """A project key that was just made, with its text."""
    return {**project_key_json(row, project), "key": key}


def token_json(row: Row, user: str) -> TokenJson:
    """An API token's row. `revoked` is only there once it was."""
    shown: TokenJson = {
        "uuid": row["uuid"],
        "user": user,
        "name": row["name"],
        "creation": _time(row["created_ms"]),
        "expiration": _time(row["expires_ms"]),
    }
    if row["revoked_ms"] is not None:
        shown["revoked"] = _time(row["revoked_ms"])
    return shown


def new_token_json(row: Row, user: str, token: str) -> NewTokenJson:
    """An API token that was just made, with its text."""
    return {**token_json(row, user), "token": token}


def account_json(row: Row) -> AccountJson:
    """A user's row, for himself and administrators."""
    return {
        "uuid": row["uuid"],
        "name": row["name"],
        "slug": row["slug"],
        "email": row["email"],
        "admin": bool(row["admin"]),
        "locked": bool(row["locked"]),
        "created": _time(row["created_ms"]),
    }


def organization_json(row: Row) -> OrganizationJson:
    """An organization's row, with `claimed_ms`."""
    return {
        "uuid": row["uuid"],
        "name": row["name"],
        "slug": row["slug"],
        "created": _time(row["created_ms"]),
        "claimed": from_ms(row["claimed_ms"]),
    }


def _time(milliseconds: int) -> str:
    return from_seconds(milliseconds // 1000)
