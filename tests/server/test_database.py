"""The database door: transactions, group commit, word between processes, migrations."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path

import pytest
from postgresql_server import PostgresServer

from server_stub.errors import BadRequestError, ConflictError, UnavailableError
from server_stub.store.database import Database
from server_stub.store.migrate import migrate, migrations
from server_stub.store.sqlite import _with_rows
from server_stub.store.tx import PARAMETERS_MAX, Tx, spell

pytestmark = pytest.mark.anyio


@pytest.fixture
def table(database: Database) -> Database:
    """A database with one small table of our own."""
    database.wait(lambda tx: tx.run("CREATE TABLE pet (id {serial}, name {text_c} UNIQUE NOT NULL, weight {float})"))
    return database


def _add(tx: Tx, name: str) -> None:
    tx.insert("pet", ("name",), [(name,)])


def _add_all(tx: Tx, wanted: list[str]) -> list[str | Exception]:
    tx.insert("pet", ("name",), [(name,) for name in wanted])
    return list(wanted)


def _answer_of(work: Callable[[Tx], object]) -> Callable[[Tx, list[None]], list[object]]:
    """A kind of call that only one waits with."""
    return lambda tx, calls: [work(tx) for _ in calls]


async def test_a_transaction_that_raises_leaves_nothing(table: Database) -> None:
    def work(tx: Tx) -> None:
        tx.insert("pet", ("name",), [("Ada",)])
        raise BadRequestError("no")

    with pytest.raises(BadRequestError, match="no"):
        await table.write(work)
    assert await table.read(lambda tx: tx.all("SELECT name FROM pet")) == []


async def names(table: Database) -> list[str]:
    """Of all pets that are stored."""
    return [row["name"] for row in await table.read(lambda tx: tx.all("SELECT name FROM pet ORDER BY name"))]


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
async def test_one_refused_member_of_a_group_does_not_take_the_others_along(table: Database, together: bool) -> None:
    wanted = ["Ada", "Bob", "Ada", "Cid", "Bob", "Dot"]
    adding = (
        table.write_together(_add_all, None, n) if together else table.write(partial(_add, name=n)) for n in wanted
    )
    answers = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 2
    assert await names(table) == ["Ada", "Bob", "Cid", "Dot"]


@asynccontextmanager
async def busy(table: Database) -> AsyncIterator[None]:
    """Whoever writes together has to wait until the end of the block, and stands in line before it goes on."""
    held, release = threading.Event(), threading.Event()

    def hold(_tx: Tx, calls: list[None]) -> list[Exception | None]:
        held.set()
        release.wait(60)
        return [None for _ in calls]

    holder = asyncio.create_task(table.write_together(hold, None, None))
    await asyncio.to_thread(held.wait, 60)
    yield
    await asyncio.sleep(0)  # Tasks that were made meanwhile get to where they wait.
    release.set()
    await holder


async def test_calls_of_one_kind_are_answered_together_but_never_two_of_a_caller(table: Database) -> None:
    batches: list[list[str]] = []

    def add(tx: Tx, wanted: list[str]) -> list[str | Exception]:
        batches.append(wanted)
        _add_all(tx, wanted)
        return [name.upper() for name in wanted]

    wanted = [f"{caller}{number}" for number in range(2) for caller in "abc"]
    async with busy(table):
        calls = [asyncio.create_task(table.write_together(add, name[0], name)) for name in wanted]
    assert await asyncio.gather(*calls) == [name.upper() for name in wanted]
    assert batches == [wanted[:3], wanted[3:]]
    assert await names(table) == sorted(wanted)


async def test_a_call_that_is_refused_among_others_meets_its_own_exception(table: Database) -> None:
    def add(tx: Tx, wanted: list[str]) -> list[str | Exception]:
        _add_all(tx, [name for name in wanted if name != "Eve"])
        return [BadRequestError(f"no {name}") if name == "Eve" else name for name in wanted]

    async with busy(table):
        calls = [asyncio.create_task(table.write_together(add, name, name)) for name in ("Ada", "Eve", "Bob")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["Ada", "no Eve", "Bob"]
    assert isinstance(answers[1], BadRequestError)


async def test_what_a_member_of_a_group_raises_is_its_own_and_undoes_what_it_changed(table: Database) -> None:
    def regretted(tx: Tx) -> None:
        _add(tx, "Eve")
        raise BadRequestError("no")

    def refused(tx: Tx) -> None:
        assert tx.all("SELECT name FROM pet WHERE name = 'Eve'") == []
        raise BadRequestError("never")

    members: list[Callable[[Tx], object]] = [
        partial(_add, name="Ada"),
        regretted,
        refused,
        partial(_add, name="Bob"),
        lambda tx: tx.value("SELECT 7"),
    ]
    async with busy(table):
        calls = [asyncio.create_task(table.write_together(_answer_of(work), None, None)) for work in members]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["None", "no", "never", "None", "7"]
    assert await names(table) == ["Ada", "Bob"]


async def test_members_of_a_group_share_one_commit(table: Database) -> None:
    await asyncio.gather(*(table.write_together(_add_all, None, f"pet {number}") for number in range(60)))
    assert len(await names(table)) == 60
    if table.dialect == "postgresql":  # It tells which transaction wrote a row.
        groups = await table.read(lambda tx: tx.value("SELECT COUNT(DISTINCT CAST(xmin AS TEXT)) FROM pet"))
        assert groups < 30


@pytest.fixture
def shared_table(postgresql: PostgresServer) -> Iterator[Database]:
    """The same on PostgreSQL, where others write too."""
    with postgresql.fresh_database() as url:
        database = Database.open(url, migrated=False)
        database.wait(lambda tx: tx.run("CREATE TABLE pet (name {text_c} UNIQUE NOT NULL, weight {float})"))
        yield database
        database.close()


@pytest.mark.postgres
async def test_a_member_that_waits_for_a_lock_does_not_hold_the_others_up(shared_table: Database) -> None:
    table = shared_table
    await table.write(partial(_add, name="Ada"))
    held, release = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        tx.run("UPDATE pet SET weight = 1")
        held.set()
        release.wait(60)

    holder = asyncio.create_task(table.write(hold))
    await asyncio.to_thread(held.wait, 60)
    heavier = "UPDATE pet SET weight = weight + 1 WHERE name = 'Ada'"
    blocked = asyncio.create_task(table.write_together(_answer_of(lambda tx: tx.run(heavier)), None, None))
    await table.write_together(_add_all, None, "Bob")
    assert not blocked.done()
    release.set()
    await holder
    assert await blocked == 1
    weighed = await table.read(lambda tx: tx.all("SELECT name, weight FROM pet ORDER BY name"))
    assert weighed == [{"name": "Ada", "weight": 2.0}, {"name": "Bob", "weight": None}]


async def test_many_rows_go_in_few_statements_and_come_back_with_their_ids(table: Database) -> None:
    rows = [(f"pet {number}", float(number)) for number in range(PARAMETERS_MAX // 2 + 1)]
    before = table.statements
    made = await table.write(lambda tx: tx.insert("pet", ("name", "weight"), rows, returning="id, name"))
    assert table.statements - before == 2
    assert len({row["id"] for row in made}) == len(rows)


async def test_rows_are_a_parameter(table: Database) -> None:
    await table.write(lambda tx: tx.insert("pet", ("name",), [("Ada",), ("Bob",), ("Cid",)]))
    told = [{"name": "Ada", "weight": 7}, {"name": "Cid", "weight": None}, {"name": "it's", "weight": 2**53}]
    changed = await table.write(
        lambda tx: tx.all(
            "UPDATE pet SET weight = w.weight FROM {rows:w(name text, weight bigint)} WHERE pet.name = w.name"
            " RETURNING pet.name, pet.weight",
            w=told,
        )
    )
    assert sorted(changed, key=itemgetter("name")) == [{"name": "Ada", "weight": 7.0}, {"name": "Cid", "weight": None}]
    found = await table.read(lambda tx: tx.all("SELECT * FROM {rows:w(name text, weight bigint)}", w=told))
    assert found == told
    assert await table.read(lambda tx: tx.all("SELECT * FROM {rows:w(name text, weight bigint)}", w=[])) == []


async def test_more_rows_than_fit_go_in_parts(table: Database) -> None:
    count = PARAMETERS_MAX // 2 + 1
    await table.write(lambda tx: tx.insert("pet", ("name",), [(f"pet {number}",) for number in range(count)]))
    told = [{"name": f"pet {number}", "weight": number} for number in range(count)]
    weigh = "UPDATE pet SET weight = w.weight FROM {rows:w(name text, weight bigint)} WHERE pet.name = w.name"
    assert await table.write(lambda tx: tx.run(weigh, w=told)) == count
    seen = await table.write(lambda tx: tx.all(weigh + " RETURNING pet.name, pet.weight", w=told))
    assert sorted(seen, key=itemgetter("weight")) == told


def test_a_statement_is_the_same_for_the_next_power_of_two_rows() -> None:
    """SQLite compiles it once then."""
    columns = ("id", "name")
    texts: dict[str, list[int]] = {}
    for count in range(10):
        rows = [{"id": number, "name": "x"} for number in range(count)]
        sql = "SELECT :x, r.name FROM {rows:r(id bigint, name text)} WHERE r.id < :below"
        text, bound = _with_rows(sql, {"x": "first", "below": 9}, columns, rows)
        assert len(bound) == text.count("?")
        assert (bound[0], bound[-1], bound[1 : 1 + 2 * count]) == ("first", 9, [v for r in rows for v in r.values()])
        texts.setdefault(text, []).append(count)
    assert list(texts.values()) == [[0, 1], [2], [3, 4], [5, 6, 7, 8], [9]]


async def test_a_list_is_a_parameter(table: Database) -> None:
    await table.write(lambda tx: tx.insert("pet", ("name",), [("Ada",), ("Bob",), ("Cid",)]))
    found = await table.read(
        lambda tx: tx.all("SELECT name FROM pet WHERE name {any:names} ORDER BY name", names={"Bob", "Cid", "Zoe"})
    )
    assert [row["name"] for row in found] == ["Bob", "Cid"]
    ids = await table.read(lambda tx: tx.value("SELECT COUNT(*) FROM pet WHERE id {any:ids}", ids=[1, 2, 99]))
    assert ids == 2


async def test_a_notice_is_heard_after_the_commit_and_not_after_a_roll_back(table: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    table.subscribe("job_queued", heard.put_nowait)
    if table.dialect == "postgresql":  # Its listener says once that it may have missed something.
        assert await asyncio.wait_for(heard.get(), 10) == ""

    def refused(tx: Tx) -> None:
        tx.notify("job_queued", "never")
        raise BadRequestError("no")

    with pytest.raises(BadRequestError):
        await table.write(refused)
    await table.write(lambda tx: tx.notify("job_queued", "spec-1"))
    assert await asyncio.wait_for(heard.get(), 10) == "spec-1"
    assert heard.empty()


async def test_the_lease_clock_goes_forward(database: Database) -> None:
    first = await database.read(lambda tx: tx.now_ms())
    second = await database.read(lambda tx: tx.now_ms())
    assert 1_700_000_000_000 < first <= second


async def test_migrating_twice_does_nothing_the_second_time(database: Database) -> None:
    assert await database.write(migrate) == []
    recorded = await database.read(lambda tx: tx.value("SELECT COUNT(*) FROM schema_migration"))
    assert recorded == len(migrations())


async def test_an_edited_migration_is_refused_by_name(database: Database) -> None:
    await database.write(lambda tx: tx.run("UPDATE schema_migration SET sha256 = 'other' WHERE number = 1"))
    with pytest.raises(BadRequestError, match="0001_initial was edited"):
        await database.write(migrate)


def test_a_url_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(BadRequestError, match="mysql://…"):
        Database.open("mysql://x")


def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Database.open(f"sqlite:///{tmp_path}")


def test_a_statement_is_spelled_for_its_dialect() -> None:
    sql = "SELECT x::text, '10%' FROM t WHERE a = :a_1 AND b {any:bs}"
    assert (
        spell(sql, "sqlite")
        == "SELECT x::text, '10%' FROM t WHERE a = :a_1 AND b IN (SELECT value FROM json_each(:bs))"
    )
    assert spell(sql, "postgresql") == "SELECT x::text, '10%%' FROM t WHERE a = %(a_1)s AND b = ANY(%(bs)s)"
