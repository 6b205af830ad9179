"""Who may write where: projects made on the way, claimed by a run, and kept by keys."""

from typing import Any

import httpx
import pytest
from server_runs import everything, refused, run, run_body, sign_in

from server_stub.names import IdKind, NameId
from server_stub.store import accounts, projects
from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

IMAGE = {"image": "registry.example:5000/demo:v1"}


async def project_key(database: Database, slug: str) -> dict[str, str]:
    """Headers that prove a project by a key."""

    def work(tx: Any) -> str:
        project = projects.find(tx, NameId(IdKind.SLUG, slug))
        assert project is not None
        return accounts.create_project_key(tx, project, "ci")[1]

    return {"authorization": f"Bearer {await database.write(work)}"}


async def test_anybody_may_write_to_a_project_that_nobody_claimed(api: httpx.AsyncClient) -> None:
    first = await run(api)
    second = await run(api)
    assert first["project"] == second["project"]
    assert (first["user"], first["project"]["claimed"]) == (None, None)
    assert first["project"]["uuid"] == first["project"]["organization"]
    assert first["project"]["visibility"] == "public"


async def test_a_users_run_claims_a_project_and_then_only_members_write(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 3, with and without a job."""
    await run(api)
    ada = await sign_in(database, api)
    claimed = await run(api)
    assert claimed["user"] == {"uuid": ada["uuid"], "name": "Ada", "slug": "ada"}
    assert claimed["project"]["claimed"] is not None
    del api.headers["authorization"]
    before = await everything(database)
    message = "project demo: it is claimed, a run needs a credential"
    assert await refused(api, 401, "not even results") == message
    assert await refused(api, 401, project="demo", job=IMAGE) == message
    await sign_in(database, api, "Bob")
    assert await refused(api, 403) == "project demo: you may not create reports"
    await sign_in(database, api, "Root", admin=True)
    await run(api)
    assert (await everything(database))["report"] == before["report"] + 1


async def test_a_users_new_project_is_his_own(api: httpx.AsyncClient, database: Database) -> None:
    ada = await sign_in(database, api)
    first = await run(api, project="one")
    second = await run(api, project="two")
    assert [report["project"]["name"] for report in (first, second)] == ["Demo", "Demo (1)"]
    assert first["project"]["organization"] == second["project"]["organization"] == ada["uuid"]
    assert first["project"]["claimed"] is not None


async def test_a_slug_of_a_claimed_organization_is_not_for_anybody(api: httpx.AsyncClient, database: Database) -> None:
    await run(api)
    await sign_in(database, api)
    await run(api)
    await database.write(lambda tx: tx.run("UPDATE project SET slug = 'renamed'"))
    del api.headers["authorization"]
    assert (await refused(api, 401)).startswith("project demo: its organization is claimed")


async def test_an_image_names_the_project_before_the_context_does(api: httpx.AsyncClient, database: Database) -> None:
    """Row 7."""
    await run(api, project="demo")
    other = {"bencher.dev/v0/repo/name": "Other"}
    message = await refused(api, 400, job=IMAGE, context=other)
    assert message.startswith("job.spec: must be given")
    answer = await api.post("/v0/run", json=run_body(context=None, job={"image": "registry.example/new-one"}))
    assert answer.json()["message"] == "context: must be given to name the new project 'new-one'"


async def test_a_project_key_writes_to_its_own_project_only(api: httpx.AsyncClient, database: Database) -> None:
    """Row 6: named by its slug or by an image; what names nothing that exists does not matter."""
    await run(api, project="other")
    await run(api)
    api.headers.update(await project_key(database, "demo"))
    reports = [await run(api), await run(api, project="demo"), await run(api, context=None)]
    assert {report["project"]["slug"] for report in reports} == {"demo"}
    assert [report["user"] for report in reports] == [None] * 3
    assert await refused(api, 401, project="other") == "project: the project key is of another project"
    assert (
        await refused(api, 401, job={"image": "x.example/other:v1"}) == "project: the project key is of another project"
    )
    assert await refused(api, 404, project="absent") == "project: there is no project 'absent'"
    assert (await refused(api, 400, job={"image": "x.example/absent:v1"})).startswith("job.spec")


@pytest.mark.parametrize(
    "credential",
    [
        "bencher_run_short",
        "bencher_user_" + "x" * 29,
        "plain",
        "a.b",
        f"bencher_run_{'x' * 30}",
        f"bencher_user_{'x' * 30}",
    ],
)
async def test_a_bad_key_is_refused_as_unauthorized(api: httpx.AsyncClient, credential: str) -> None:
    answer = await api.post("/v0/run", json=run_body(), headers={"authorization": f"Bearer {credential}"})
    assert answer.status_code == 401
    assert credential not in answer.text


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer  ", "nonsense"])
async def test_another_scheme_counts_as_no_header(api: httpx.AsyncClient, header: str) -> None:
    answer = await api.post("/v0/run", json=run_body(), headers={"authorization": header})
    assert (answer.status_code, answer.json()["user"]) == (201, None)


async def test_revoked_and_expired_keys_are_refused(api: httpx.AsyncClient, database: Database) -> None:
    await run(api)
    for column in ("revoked_ms = 1", "expires_ms = 1"):
        api.headers.update(await project_key(database, "demo"))
        await run(api)
        await database.write(lambda tx, column=column: tx.run(f"UPDATE project_key SET {column}"))  # type: ignore[misc]
        assert await refused(api, 401) == (await refused(api, 401, project="demo"))


async def test_only_hashes_of_credentials_are_stored(api: httpx.AsyncClient, database: Database) -> None:
    await run(api)
    key = (await project_key(database, "demo"))["authorization"].removeprefix("Bearer ")
    await sign_in(database, api)
    token = api.headers["authorization"].removeprefix("Bearer ")
    stored = await database.read(lambda tx: [*tx.all("SELECT * FROM project_key"), *tx.all("SELECT * FROM user_token")])
    assert key not in str(stored)
    assert token not in str(stored)
