"""Who may do what: credentials of every kind, and what is answered to those that do not fit."""

from typing import Any

import httpx
import pytest
from server_runs import PROJECT, add_user, get, latency, run, run_body, token_of

from server_stub.actors import Role
from server_stub.store import accounts, organizations, projects
from server_stub.store.database import Database
from server_stub.store.tx import Row, Tx

pytestmark = pytest.mark.anyio

Headers = dict[str, str]
ANYBODY: Headers = {}
BRANCHES = f"{PROJECT}/branches"


async def claimed(api: httpx.AsyncClient, database: Database) -> tuple[Row, Headers]:
    """The project `demo` in the hands of Ada; she and her headers."""
    ada = await add_user(database, "Ada")
    headers = await token_of(database, ada)
    answer = await api.post("/v0/run", json=run_body(latency(1)), headers=headers)
    assert answer.status_code == 201
    return ada, headers


async def private(api: httpx.AsyncClient, headers: Headers) -> None:
    """Make the project private."""
    answer = await api.patch(PROJECT, json={"visibility": "private"}, headers=headers)
    assert (answer.status_code, answer.json()["visibility"]) == (200, "private")


async def key_of(api: httpx.AsyncClient, headers: Headers) -> tuple[Headers, str]:
    """A project key of `demo`: headers that carry it, and its UUID."""
    made = (await api.post(f"{PROJECT}/keys", json={"name": "ci"}, headers=headers)).json()
    return bearer(made["key"]), made["uuid"]


def bearer(credential: str) -> Headers:
    return {"authorization": f"Bearer {credential}"}


async def status(api: httpx.AsyncClient, method: str, path: str, headers: Headers, **body: Any) -> int:
    answer = await api.request(method, path, headers=headers, json=body or None)
    return answer.status_code


async def test_the_scheme_is_read_in_any_case_and_the_credential_trimmed(
    api: httpx.AsyncClient, database: Database
) -> None:
    _, headers = await claimed(api, database)
    token = headers["authorization"].removeprefix("Bearer ")
    assert await status(api, "GET", f"{PROJECT}/keys", {"authorization": f"bEARER   {token}  "}) == 200


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        ("nonsense", 401),
        ("bencher_run_short", 401),
        ("bencher_run_" + "a" * 30, 401),
        ("bencher_user_" + "a" * 29 + "-", 401),
        ("bencher_user_" + "a" * 30, 401),
        ("bencher_runner_" + "a" * 30, 401),
        ("a.b", 401),
        ("a.b.c=", 401),
        ("a.b.c", 400),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGFAZXhhbXBsZS5jb20ifQ.AA", 400),
    ],
)
async def test_a_credential_that_nobody_has_is_refused_by_its_shape(
    api: httpx.AsyncClient, credential: str, expected: int
) -> None:
    assert await status(api, "POST", "/v0/run", bearer(credential), **run_body(latency(1))) == expected
    assert await status(api, "GET", "/v0/projects", bearer(credential)) == expected


async def test_where_only_users_may_act_anything_else_is_400(api: httpx.AsyncClient, database: Database) -> None:
    _, headers = await claimed(api, database)
    key, _ = await key_of(api, headers)
    for other in (ANYBODY, key, bearer("nonsense"), {"authorization": "Basic dTpw"}):
        assert await status(api, "GET", f"{PROJECT}/keys", other) == 400
        assert await status(api, "DELETE", f"{BRANCHES}/main", other) == 400
        assert await status(api, "PATCH", PROJECT, other, name="New") == 400


async def test_a_token_that_is_revoked_expired_or_changed_is_refused(
    api: httpx.AsyncClient, database: Database
) -> None:
    ada, headers = await claimed(api, database)
    made = (await api.post("/v0/users/ada/tokens", json={"name": "spare"}, headers=headers)).json()
    spare, tokens = bearer(made["token"]), "/v0/users/ada/tokens"
    assert await status(api, "GET", tokens, spare) == 200
    assert await status(api, "DELETE", f"{tokens}/{made['uuid']}", spare) == 204
    assert await status(api, "GET", tokens, spare) == 401
    assert await status(api, "GET", tokens, bearer(made["token"][:-2] + "AA")) == 400
    expired = await database.write(lambda tx: accounts.create_token(tx, ada, "short", -1)[1])
    assert await status(api, "GET", tokens, bearer(expired)) == 400


async def test_a_locked_user_is_refused_by_what_he_proves_himself_with(
    api: httpx.AsyncClient, database: Database
) -> None:
    ada, token = await claimed(api, database)
    key = bearer(await database.write(lambda tx: accounts.create_user_key(tx, ada, "key")[1]))
    assert await status(api, "GET", "/v0/users/ada", key) == 200
    await database.write(lambda tx: tx.run("UPDATE user_account SET locked = :yes", yes=True))
    assert await status(api, "GET", "/v0/users/ada", token) == 403
    assert await status(api, "GET", "/v0/users/ada", key) == 401


async def test_a_token_of_a_user_who_is_gone_finds_nobody(api: httpx.AsyncClient, database: Database) -> None:
    bob = await add_user(database, "Bob")
    headers = await token_of(database, bob)
    await database.write(lambda tx: tx.run("DELETE FROM user_account WHERE id = :id", id=bob["id"]))
    assert await status(api, "GET", "/v0/projects", headers) == 404


# Who may see and change a project: rows 62 and 63 of the reference's table.


async def test_a_public_project_is_seen_by_all_and_changed_by_its_people(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 62."""
    _, ada = await claimed(api, database)
    bob = await token_of(database, await add_user(database, "Bob"))
    admin = await token_of(database, await add_user(database, "Root", admin=True))
    seen = [await status(api, "GET", BRANCHES, who) for who in (ANYBODY, bob, ada, admin)]
    made = [
        await status(api, "POST", BRANCHES, who, name=f"b{number}")
        for number, who in enumerate((ANYBODY, bob, ada, admin))
    ]
    assert (seen, made) == ([200, 200, 200, 200], [401, 403, 201, 201])


async def test_a_private_project_is_not_there_for_others(api: httpx.AsyncClient, database: Database) -> None:
    """Row 62."""
    _, ada = await claimed(api, database)
    await private(api, ada)
    bob = await token_of(database, await add_user(database, "Bob"))
    seen = [await status(api, "GET", BRANCHES, who) for who in (ANYBODY, bob, ada)]
    made = [await status(api, "POST", BRANCHES, who, name="b") for who in (ANYBODY, bob, ada)]
    listed = [await get_projects(api, who) for who in (ANYBODY, bob, ada)]
    assert (seen, made, listed) == ([404, 404, 200], [404, 404, 201], [[], [], ["demo"]])


async def get_projects(api: httpx.AsyncClient, headers: Headers) -> list[str]:
    return [one["slug"] for one in (await api.get("/v0/projects", headers=headers)).json()]


@pytest.mark.parametrize(
    ("role", "expected"),
    [("viewer", [200, 403, 403, 403]), ("developer", [200, 201, 204, 403]), ("maintainer", [200, 201, 204, 200])],
)
async def test_a_role_decides_what_a_member_may_do(
    api: httpx.AsyncClient, database: Database, role: str, expected: list[int]
) -> None:
    _, ada = await claimed(api, database)
    await private(api, ada)
    user = await add_user(database, "Bob")

    def join(tx: Tx) -> None:
        project = tx.value("SELECT id FROM project")
        projects.join(tx, project, user["id"], Role(role))

    await database.write(join)
    bob = await token_of(database, user)
    await api.post(BRANCHES, json={"name": "spare"}, headers=ada)
    assert [
        await status(api, "GET", BRANCHES, bob),
        await status(api, "POST", BRANCHES, bob, name="new"),
        await status(api, "DELETE", f"{BRANCHES}/spare", bob),
        await status(api, "GET", f"{PROJECT}/keys", bob),
    ] == expected
    allowed = [await status_of_permission(api, bob, one) for one in ("view", "create", "delete", "manage")]
    assert allowed == [code < 300 for code in expected]


async def status_of_permission(api: httpx.AsyncClient, headers: Headers, permission: str) -> bool:
    answer = await api.get(f"{PROJECT}/allowed/{permission}", headers=headers)
    allowed: bool = answer.json()["allowed"]
    return allowed


# Project keys: rows 63 to 65.


async def test_a_key_works_in_its_project_and_nowhere_else(api: httpx.AsyncClient, database: Database) -> None:
    """Rows 63, 65."""
    _, ada = await claimed(api, database)
    key, _ = await key_of(api, ada)
    await run(api, latency(1), context={"bencher.dev/v0/repo/name": "Other"}, project="other")
    await run(api, latency(1), context={"bencher.dev/v0/repo/name": "Third"}, project="third")
    await database.write(lambda tx: tx.run("UPDATE project SET visibility = 'private' WHERE slug = 'third'"))
    assert await status(api, "GET", BRANCHES, key) == 200
    assert await status(api, "GET", "/v0/projects/other/branches", key) == 403
    assert await status(api, "GET", "/v0/projects/third/branches", key) == 404
    assert await get_projects(api, key) == ["demo"]


async def test_a_revoked_or_expired_key_is_refused(api: httpx.AsyncClient, database: Database) -> None:
    """Row 64."""
    _, ada = await claimed(api, database)
    key, uuid = await key_of(api, ada)
    short = (await api.post(f"{PROJECT}/keys", json={"name": "short", "ttl": 1}, headers=ada)).json()["key"]
    assert await status(api, "DELETE", f"{PROJECT}/keys/{uuid}", ada) == 204
    await database.write(lambda tx: tx.run("UPDATE project_key SET expires_ms = 1 WHERE name = 'short'"))
    assert await status(api, "GET", PROJECT, key) == 401
    assert await status(api, "GET", PROJECT, bearer(short)) == 401


async def test_a_key_of_a_deleted_project_is_worthless(api: httpx.AsyncClient, database: Database) -> None:
    _, ada = await claimed(api, database)
    key, _ = await key_of(api, ada)
    assert await status(api, "DELETE", PROJECT, ada) == 204
    assert await status(api, "GET", "/v0/projects", key) == 401


async def test_a_key_archives_sets_thresholds_and_dismisses_but_does_not_rename(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 65."""
    _, ada = await claimed(api, database)
    key, _ = await key_of(api, ada)
    models = {"latency": {"test": "static", "upper_boundary": 5.0}}
    report = await api.post("/v0/run", json=run_body(latency(9), thresholds={"models": models}), headers=ada)
    alert = report.json()["alerts"][0]
    threshold = f"{PROJECT}/thresholds/{alert['threshold']['uuid']}"
    assert await status(api, "GET", f"{PROJECT}/keys", key) == 400
    assert await status(api, "PATCH", f"{BRANCHES}/main", key, name="other") == 403
    assert await status(api, "PATCH", f"{PROJECT}/testbeds/localhost", key, slug="other") == 403
    assert await status(api, "PATCH", f"{BRANCHES}/main", key, archived=True) == 200
    assert await status(api, "PUT", threshold, key, test="static", upper_boundary=7.0) == 200
    assert await status(api, "PATCH", f"{PROJECT}/alerts/{alert['uuid']}", key, status="dismissed") == 200


async def test_keys_are_listed_without_their_texts_and_revoked_ones_apart(
    api: httpx.AsyncClient, database: Database
) -> None:
    _, ada = await claimed(api, database)
    keys = f"{PROJECT}/keys"
    made = [(await api.post(keys, json={"name": name}, headers=ada)).json() for name in ("b", "a", "c")]
    renamed = await api.patch(f"{keys}/{made[2]['uuid']}", json={"name": "0"}, headers=ada)
    await api.delete(f"{keys}/{made[0]['uuid']}", headers=ada)
    living = (await api.get(keys, headers=ada)).json()
    revoked = (await api.get(keys, params={"revoked": True}, headers=ada)).json()
    assert renamed.json() == living[0]
    assert [one["name"] for one in living] == ["0", "a"]
    assert [one["name"] for one in revoked] == ["b"]
    assert sorted(living[0]) == ["creation", "expiration", "name", "project", "uuid"]
    assert sorted(revoked[0]) == ["creation", "expiration", "name", "project", "revoked", "uuid"]
    assert made[0]["expiration"] > "2160"
    assert (await api.get(f"{keys}/{made[1]['uuid']}", headers=ada)).json() == living[1]


# Users and organizations.


async def test_a_user_sees_himself_and_an_administrator_sees_everyone(
    api: httpx.AsyncClient, database: Database
) -> None:
    ada = await token_of(database, await add_user(database, "Ada"))
    root = await token_of(database, await add_user(database, "Root", admin=True))
    shown = (await api.get("/v0/users/ada", headers=ada)).json()
    assert {name: shown[name] for name in ("name", "slug", "email", "admin", "locked")} == {
        "name": "Ada",
        "slug": "ada",
        "email": "ada@example.com",
        "admin": False,
        "locked": False,
    }
    assert await status(api, "GET", "/v0/users/root", ada) == 403
    assert await status(api, "GET", "/v0/users/ada", root) == 200
    assert await status(api, "GET", "/v0/users/nobody", root) == 404
    assert await status(api, "GET", "/v0/users/ada", ANYBODY) == 400


async def test_an_unclaimed_organization_is_claimed_once(api: httpx.AsyncClient, database: Database) -> None:
    report = await run(api, latency(1))
    ada = await token_of(database, await add_user(database, "Ada"))
    bob = await token_of(database, await add_user(database, "Bob"))
    path = f"/v0/organizations/{report['project']['organization']}"
    assert report["project"]["claimed"] is None
    assert await status(api, "GET", path, ada) == 404
    assert await status(api, "POST", f"{path}/claim", ada) == 200
    assert await status(api, "POST", f"{path}/claim", bob) == 409
    assert (await api.get(path, headers=ada)).json()["claimed"] == (await get(api, PROJECT))["claimed"]
    assert await status(api, "POST", "/v0/run", ANYBODY, **run_body(latency(1))) == 401


async def test_the_leader_of_an_organization_makes_projects_in_it(api: httpx.AsyncClient, database: Database) -> None:
    ada = await token_of(database, await add_user(database, "Ada"))
    user = await add_user(database, "Bob")
    bob = await token_of(database, user)
    made = await api.post("/v0/organizations", json={"name": "Bench Inc"}, headers=ada)
    assert (made.status_code, made.json()["slug"]) == (201, "bench-inc")
    assert await status(api, "POST", "/v0/organizations", bob, name="Other", slug="bench-inc") == 409
    path = "/v0/organizations/bench-inc/projects"
    project = await api.post(path, json={"name": "Fast", "visibility": "private"}, headers=ada)
    assert (project.status_code, project.json()["slug"]) == (201, "fast")
    assert await status(api, "POST", path, bob, name="Slow") == 404

    def join(tx: Tx) -> None:
        organization = organizations.by_slug(tx, "bench-inc")
        assert organization is not None
        organizations.join(tx, organization["id"], user["id"], Role.VIEWER)

    await database.write(join)
    assert await status(api, "POST", path, bob, name="Slow") == 403
    assert await status(api, "GET", "/v0/projects/fast", bob) == 200
    listed = (await api.get("/v0/organizations", headers=bob)).json()
    assert [one["slug"] for one in listed] == ["bench-inc"]
