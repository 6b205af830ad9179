"""Runs with a job: where and how it is queued, and what its report becomes once it is finished."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest
from queue_world import Runner, asking, new_runner, new_spec
from server_runs import CONTEXT, PROJECT, everything, get, latency, refused, run, sign_in

from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import Heartbeat, Progress, ReportEnvelope
from runner_protocol.results import (
    CapturedText,
    CollectedFile,
    IterationRecord,
    Outcome,
    RunReport,
    Stage,
    Variant,
    Verdict,
    Word,
)
from server_stub.app import create_app
from server_stub.settings import Settings
from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

IMAGE = "registry.example:5000/some/bench:v1"
ENDED = ("processed", "failed", "canceled")


@pytest.fixture
async def fallback(database: Database) -> int:
    """A spec for jobs that name none."""
    return await database.write(lambda tx: new_spec(tx, "Fallback Spec", fallback=True))


async def queue(api: httpx.AsyncClient, *, job: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """Send a run with a job that must be taken in; return its report."""
    return await run(api, job={"image": IMAGE} | (job or {}), **members)


async def stored(database: Database, column: str, table: str = "job") -> list[Any]:
    """One column of all jobs, the first one first."""
    key = "id" if table == "job" else "job_id"
    found = await database.read(lambda tx: tx.all(f"SELECT {column} AS value FROM {table} ORDER BY {key}"))
    return [row["value"] for row in found]


async def test_a_job_answers_at_once_with_an_empty_report(api: httpx.AsyncClient, fallback: int) -> None:
    """Rows 8, 9, 18."""
    named = await queue(api, testbed="Rack 1", hash="a" * 40)
    unnamed = await queue(api, context={**CONTEXT, "bencher.dev/v0/testbed/os": "Linux"})
    assert [report["testbed"]["name"] for report in (named, unnamed)] == ["Rack 1", "Fallback Spec"]
    for report in (named, unnamed):
        assert (report["results"], report["alerts"]) == ([], [])
        assert report["counts"] == {"results": [], "alerts": {"total": 0, "active": 0}}
        assert report["testbed"]["spec"]["name"] == "Fallback Spec"
        job = await get(api, f"{PROJECT}/jobs/{report['job']}")
        assert (job["status"], job["spec"]) == ("pending", report["testbed"]["spec"])
        assert "config" not in job


async def test_the_spec_is_the_jobs_then_the_testbeds_then_the_fallback(
    api: httpx.AsyncClient, database: Database, fallback: int
) -> None:
    """Rows 9, 10, 12."""
    await database.write(lambda tx: new_spec(tx, "big"))
    reports = [
        await queue(api, job={"spec": "big"}),
        await queue(api, testbed="big"),
        await queue(api, testbed="other"),
        await queue(api, testbed="other", job={"spec": "big"}),
        await queue(api, testbed="other"),
    ]
    shown = [(report["testbed"]["name"], report["testbed"]["spec"]["name"]) for report in reports]
    assert shown == [
        ("big", "big"),
        ("big", "big"),
        ("other", "Fallback Spec"),
        ("other", "big"),
        ("other", "big"),
    ]
    await database.write(lambda tx: tx.run("UPDATE spec SET archived_ms = 1 WHERE slug = 'big'"))
    assert await refused(api, 404, job={"image": IMAGE, "spec": "big"}) == "job.spec: the spec 'big' is archived"
    assert (await refused(api, 404, job={"image": IMAGE, "spec": "absent"})).startswith("there is no spec 'absent'")


async def test_a_job_without_any_spec_is_refused_and_leaves_nothing(api: httpx.AsyncClient, database: Database) -> None:
    """Row 11."""
    nothing = await everything(database)
    for testbed in (None, "ci"):
        message = await refused(api, 400, job={"image": IMAGE}, testbed=testbed)
        assert message.startswith("job.spec: must be given")
    assert await everything(database) == nothing


async def test_without_a_job_no_spec_is_recorded(api: httpx.AsyncClient, fallback: int) -> None:
    """Row 15, and `spec_reset`."""
    await queue(api, testbed="ci")
    report = await run(api, latency(1), testbed="ci")
    assert ("job" in report, report["testbed"]["spec"]) == (False, None)
    assert (await get(api, f"{PROJECT}/testbeds/ci"))["spec"]["name"] == "Fallback Spec"
    await run(api, testbed="ci", spec_reset=True)
    assert (await get(api, f"{PROJECT}/testbeds/ci"))["spec"] is None


@pytest.mark.parametrize("image", ["", "UPPER/case:v1", "a b", "x@sha256:1234", "x:" + "t" * 129])
async def test_an_image_that_is_none_is_refused(api: httpx.AsyncClient, fallback: int, image: str) -> None:
    """Row 13: any registry is taken, so that only the reference itself can be wrong."""
    assert (await refused(api, 400, job={"image": image})).startswith("job.image: an image")


@pytest.mark.parametrize(
    ("image", "runs"),
    [
        ("alpine:v1", "docker.io/library/alpine:v1"),
        (f"some/bench@sha256:{'a' * 64}", f"docker.io/some/bench@sha256:{'a' * 64}"),
        ("localhost:5000/bench", "localhost:5000/bench:latest"),
    ],
)
async def test_any_registry_and_digests_are_taken(
    api: httpx.AsyncClient, database: Database, fallback: int, image: str, runs: str
) -> None:
    """Row 14; the digest that ran is told by the runner."""
    await queue(api, project="demo", job={"image": image})
    [work] = await stored(database, "work", "job_request")
    assert f'"image":"{runs}"' in work


@pytest.mark.parametrize(("member", "count"), [("cmd", 65), ("entrypoint", 65), ("file_paths", 256), ("env", 256)])
async def test_collections_have_bounds(api: httpx.AsyncClient, fallback: int, member: str, count: int) -> None:
    """Row 19."""
    many: Any = {f"K{n}": "v" for n in range(count)} if member == "env" else ["x"] * count
    assert (await refused(api, 400, job={"image": IMAGE, member: many})).startswith(f"job.{member}: ")


async def test_the_command_reaches_the_runner_as_it_was_sent(
    api: httpx.AsyncClient, database: Database, fallback: int
) -> None:
    """Row 17, with the credentials for the pull, which nobody else is shown."""
    runner = await database.write(lambda tx: new_runner(tx, "rack", fallback))
    asked = {
        "entrypoint": ["/bin/sh"],
        "cmd": ["-c", "echo 1"],
        "env": {"A": "b=c"},
        "iter": 3,
        "timeout": 7,
        "file_paths": ["/out.json"],
        "registry_auth": {"username": "u", "password": "hidden-word"},
    }
    report = await queue(api, job=asked)
    claimed = await claim(api, runner)
    work = claimed.work
    assert (work.entrypoint, work.cmd, work.env) == (["/bin/sh"], ["-c", "echo 1"], {"A": "b=c"})
    assert (work.iterations, work.file_paths, claimed.budgets.iteration_s_max) == (3, ["/out.json"], 7)
    assert claimed.registry_auth is not None
    assert claimed.registry_auth.password is not None
    assert claimed.registry_auth.password.get_secret_value() == "hidden-word"
    job = await api.get(f"{PROJECT}/jobs/{report['job']}")
    assert "hidden-word" not in job.text


@pytest.fixture
async def tiered(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that tells tiers apart."""
    app = create_app(database, Settings(tiers=True))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    async with app.router.lifespan_context(app), client:
        yield client


async def test_tiers_cut_timeouts_silently(tiered: httpx.AsyncClient, database: Database, fallback: int) -> None:
    """Row 16, and the claim: it lifts what waits, and is itself still unclaimed."""
    await queue(tiered, job={"timeout": 120})
    await queue(tiered)
    await sign_in(database, tiered)
    await queue(tiered)
    for timeout in (120, 1200, None):
        await queue(tiered, job={"timeout": timeout})
    assert await stored(database, "timeout_s") == [60, 60, 60, 120, 300, 300]
    assert await stored(database, "priority") == [100, 100, 0, 100, 100, 100]


async def test_without_tiers_a_timeout_is_what_was_asked(
    api: httpx.AsyncClient, database: Database, fallback: int
) -> None:
    for timeout in (120, 2**31 - 1, None):
        await queue(api, job={"timeout": timeout})
    assert await stored(database, "timeout_s") == [120, 2**31 - 1, Settings().timeout_s]
    assert await stored(database, "priority") == [200] * 3


async def claim(api: httpx.AsyncClient, runner: Runner) -> ClaimedJob:
    """Take the next job and confirm it."""
    path = f"/v0/runners/{runner.slug}/jobs"
    answer = await api.post(path, content=asking().model_dump_json(), headers=runner.headers)
    assert answer.status_code == 200, answer.text
    claimed = ClaimedJob.model_validate_json(answer.content)
    beat = Heartbeat(attempt=claimed.attempt, progress=Progress(stage=Stage.ITERATE))
    await api.post(f"{path}/{claimed.job}/heartbeat", content=beat.model_dump_json(), headers=runner.headers)
    return claimed


def printed(number: int, text: str, **members: Any) -> IterationRecord:
    """An iteration that ended well."""
    return IterationRecord(number=number, exit_code=0, stdout=CapturedText(text=text), **members)


async def finish(api: httpx.AsyncClient, runner: Runner, *iterations: IterationRecord) -> str:
    """Run the next job as an agent would; return its state once the server has made of it what it can."""
    claimed = await claim(api, runner)
    report = RunReport(job=claimed.job, attempt=claimed.attempt, outcome=Outcome.COMPLETED, iterations=list(iterations))
    path = f"/v0/runners/{runner.slug}/jobs/{claimed.job}/report"
    envelope = ReportEnvelope(attempt=claimed.attempt, report=report)
    answer = await api.post(path, content=envelope.model_dump_json(), headers=runner.headers)
    assert answer.status_code == 200, answer.text
    with anyio.fail_after(60):
        while (state := (await get(api, f"{PROJECT}/jobs/{claimed.job}"))["status"]) not in ENDED:  # noqa: ASYNC110  A client can only ask again.
            await anyio.sleep(0.02)
    return str(state)


@pytest.fixture
async def runner(database: Database, fallback: int) -> Runner:
    """A runner that takes all jobs."""
    return await database.write(lambda tx: new_runner(tx, "rack", fallback))


async def final(api: httpx.AsyncClient, report: dict[str, Any]) -> dict[str, Any]:
    """A report as it is now."""
    found: dict[str, Any] = await get(api, f"{PROJECT}/reports/{report['uuid']}")
    return found


def values(report: dict[str, Any]) -> list[dict[str, float]]:
    """Of each iteration, the values by benchmark and measure."""
    return [
        {
            f"{one['benchmark']['name']} {of['measure']['slug']}": of["metric"]["value"]
            for one in of_all
            for of in one["measures"]
        }
        for of_all in report["results"]
    ]


async def test_all_iterations_are_stored_and_judged(api: httpx.AsyncClient, runner: Runner) -> None:
    """Row 78."""
    await run(api, latency(1))
    threshold = {"models": {"latency": {"test": "static", "upper_boundary": 5}}}
    queued = await queue(api, thresholds=threshold, testbed="localhost", end_time="2020-01-01T00:00:00Z")
    assert await finish(api, runner, printed(0, latency(3)), printed(1, latency(9))) == "processed"
    report = await final(api, queued)
    assert values(report) == [{"parse latency": 3.0}, {"parse latency": 9.0}]
    assert [(alert["iteration"], alert["limit"]) for alert in report["alerts"]] == [(1, "upper")]
    assert report["end_time"] > "2024"
    assert report["job"] == queued["job"]


async def test_what_does_not_count_is_not_stored(api: httpx.AsyncClient, runner: Runner) -> None:
    """Warm-ups, iterations that were run again, those of the baseline image, and those that were cut short."""
    queued = await queue(api, job={"baseline": IMAGE})
    iterations = (
        printed(0, latency(10), warm_up=True),
        printed(1, latency(20), verdict=Verdict(word=Word.DISTURBED)),
        printed(2, latency(30), variant=Variant.BASELINE),
        printed(3, latency(40), repeats=1, verdict=Verdict(word=Word.QUIET)),
        printed(4, latency(50), timed_out=True),
        IterationRecord(number=5, stdout=CapturedText(text=latency(60))),
        IterationRecord(number=6, exit_code=0, stderr=CapturedText(text=latency(70))),
    )
    assert await finish(api, runner, *iterations) == "processed"
    assert values(await final(api, queued)) == [{"parse latency": 40.0}]


async def test_build_time_and_file_sizes_are_added_to_the_benchmarks_own(
    api: httpx.AsyncClient, runner: Runner
) -> None:
    """Where we differ: in the reference they take the place of what the benchmark prints."""
    job = {"cmd": ["make", "-j4"], "build_time": True, "file_size": True, "file_paths": ["/out/app", "/b/lib"]}
    both = await queue(api, job=job)
    files = [CollectedFile(path="/out/app", size_bytes=123), CollectedFile(path="/b/lib", size_bytes=7)]
    assert await finish(api, runner, printed(0, latency(3), wall_ns=1_500_000_000, files=files)) == "processed"
    silent = await queue(api, job=job)
    assert await finish(api, runner, printed(0, "built\n", wall_ns=2_000_000, files=files)) == "processed"
    sizes = {"app file-size": 123.0, "lib file-size": 7.0}
    assert values(await final(api, both)) == [{"parse latency": 3.0, "make -j4 build-time": 1.5, **sizes}]
    assert values(await final(api, silent)) == [{"make -j4 build-time": 0.002, **sizes}]


async def test_files_are_read_in_the_order_of_their_paths_instead_of_stdout(
    api: httpx.AsyncClient, runner: Runner
) -> None:
    queued = await queue(api, job={"file_paths": ["/b", "/a"]})
    files = [CollectedFile(path=path, size_bytes=1, content=latency(value)) for path, value in (("/b", 2), ("/a", 1))]
    assert await finish(api, runner, printed(0, "nothing", files=files)) == "processed"
    assert values(await final(api, queued)) == [{"parse latency": 1.0}, {"parse latency": 2.0}]


async def test_a_job_that_prints_nothing_is_processed_with_an_empty_report(
    api: httpx.AsyncClient, runner: Runner
) -> None:
    queued = await queue(api)
    assert await finish(api, runner, printed(0, "")) == "processed"
    assert values(await final(api, queued)) == []


async def test_unreadable_results_fail_the_job_with_the_reason_and_store_nothing(
    api: httpx.AsyncClient, runner: Runner
) -> None:
    queued = await queue(api)
    assert await finish(api, runner, printed(0, latency(1)), printed(1, "oops")) == "failed"
    assert values(await final(api, queued)) == []
    fault = (await get(api, f"{PROJECT}/jobs/{queued['job']}"))["fault"]
    assert (fault["kind"], fault["stage"]) == ("results_unreadable", "process")
    assert fault["message"].startswith("results[1]: magic: nothing matched")


async def test_iterations_fold_and_a_backdated_job_lies_in_the_past(api: httpx.AsyncClient, runner: Runner) -> None:
    queued = await queue(api, job={"backdate": "2020-02-03T04:05:06Z"}, settings={"fold": "max"})
    assert await finish(api, runner, printed(0, latency(3)), printed(1, latency(9))) == "processed"
    report = await final(api, queued)
    assert values(report) == [{"parse latency": 9.0}]
    assert report["start_time"] == "2020-02-03T04:05:06Z"
    assert report["end_time"] < f"{datetime.now(UTC).year}"


async def test_the_sample_of_a_job_is_of_its_spec(api: httpx.AsyncClient, database: Database, runner: Runner) -> None:
    """Row 58's twin at ingestion: a report without a spec sees reports of any."""
    threshold = {"models": {"latency": {"test": "percentage", "upper_boundary": 1}}}
    await run(api, latency(1000), testbed="ci")
    await queue(api, testbed="ci")
    assert await finish(api, runner, printed(0, latency(10))) == "processed"
    second = await queue(api, testbed="ci", thresholds=threshold)
    assert await finish(api, runner, printed(0, latency(10))) == "processed"
    plain = await run(api, latency(10), testbed="ci")
    baselines = [
        report["results"][0][0]["measures"][0]["boundary"]["baseline"] for report in (await final(api, second), plain)
    ]
    assert baselines == [10.0, 340.0]
