"""Benchmarks of a project: listed, shown, made, changed and deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import entities, views
from server_stub.access import Scope
from server_stub.actors import Right
from server_stub.edits import BenchmarkChange, NewBenchmark
from server_stub.queries import EntityListing
from server_stub.routes.paths import BenchmarkPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import BenchmarkJson
from server_stub.store.nouns import Noun

router = APIRouter(prefix="/v0/projects/{project}/benchmarks", tags=["benchmarks"])


@router.get("", **answers(list[BenchmarkJson]))
async def list_benchmarks(call: Call, query: Annotated[EntityListing, Query()]) -> Response:
    """Benchmarks of a project."""
    rows, total = await call.read(lambda scope: entities.listed(scope, Noun.BENCHMARK, query, views.benchmarks))
    return json_reply(rows, total=total)


@router.post("", **answers(BenchmarkJson, 201))
async def create_benchmark(call: Call, body: NewBenchmark) -> Response:
    """Make a benchmark. Runs make benchmarks by themselves."""
    return json_reply(await call.write(lambda scope: entities.make_benchmark(scope, body), Right.CREATE), 201)


@router.get("/{benchmark:path}", **answers(BenchmarkJson))
async def get_benchmark(call: Call, benchmark: BenchmarkPath) -> Response:
    """One benchmark."""

    def read(scope: Scope) -> BenchmarkJson:
        return views.benchmarks(scope, [entities.get(scope, Noun.BENCHMARK, benchmark)])[0]

    return json_reply(await call.read(read))


@router.patch("/{benchmark:path}", **answers(BenchmarkJson))
async def change_benchmark(call: Call, benchmark: BenchmarkPath, body: BenchmarkChange) -> Response:
    """Rename, archive or bring back a benchmark."""
    return json_reply(await call.write(lambda scope: entities.change_benchmark(scope, benchmark, body), Right.EDIT))


@router.delete("/{benchmark:path}", **answers(None, 204))
async def delete_benchmark(call: Call, benchmark: BenchmarkPath) -> Response:
    """Delete a benchmark that no results refer to."""
    await call.write(lambda scope: entities.delete(scope, Noun.BENCHMARK, benchmark), Right.DELETE, users_only=True)
    return Response(status_code=204)
