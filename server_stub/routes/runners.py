"""Runners, for administrators: who takes jobs, of which specs, with which key."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from server_stub.access import admin_of
from server_stub.edits import NewRunner, RunnerChange, RunnerSpec
from server_stub.entity_json import spec_json
from server_stub.errors import NotFoundError
from server_stub.job_json import runner_json, runner_state_json
from server_stub.queries import Listing, MachineListing
from server_stub.removing import let_go
from server_stub.routes.caller import Caller
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import SpecJson
from server_stub.shapes_of_jobs import RunnerJson, RunnerKeyJson
from server_stub.state import state_of
from server_stub.store import job_reads, runners, specs
from server_stub.store.tx import Row, Tx

router = APIRouter(tags=["runners"])

RunnerId = Annotated[str, Path(description="UUID or slug of the runner.", max_length=64)]
SpecId = Annotated[str, Path(description="UUID or slug of the spec.", max_length=64)]
Reason = Annotated[str | None, Query(description="Why, for those who look.", max_length=1024)]


@router.get("/v0/runners", **answers(list[RunnerJson]))
async def list_runners(request: Request, caller: Caller, query: Annotated[MachineListing, Query()]) -> Response:
    """All runners: what each does now, and what it said of its host."""

    def read(tx: Tx) -> tuple[list[dict[str, Any]], int]:
        admin_of(tx, caller)
        rows, total = job_reads.runners_page(tx, query)
        return [_shown(tx, row, request) for row in rows], total

    found, total = await state_of(request).database.read(read)
    return json_reply(found, total=total)


@router.post("/v0/runners", **answers(RunnerKeyJson, 201))
async def create_runner(request: Request, caller: Caller, body: Annotated[NewRunner, Body()]) -> Response:
    """Make a runner. Its key is in the answer and nowhere else."""

    def write(tx: Tx) -> dict[str, str]:
        admin_of(tx, caller)
        uuid, key = runners.create(tx, body.name, body.slug)
        return {"uuid": str(uuid), "key": key}

    return json_reply(await state_of(request).database.write(write), 201)


@router.get("/v0/runners/{runner}", **answers(RunnerJson))
async def get_runner(request: Request, caller: Caller, runner: RunnerId) -> Response:
    """One runner."""

    def read(tx: Tx) -> dict[str, Any]:
        admin_of(tx, caller)
        return _shown(tx, job_reads.runner(tx, runners.find(tx, runner)["id"]), request)

    return json_reply(await state_of(request).database.read(read))


@router.patch("/v0/runners/{runner}", **answers(RunnerJson))
async def change_runner(
    request: Request, caller: Caller, runner: RunnerId, body: Annotated[RunnerChange, Body()]
) -> Response:
    """Rename, archive or bring back a runner. An archived one is handed nothing, and its keys are refused."""

    def write(tx: Tx) -> dict[str, Any]:
        admin_of(tx, caller)
        row = runners.find(tx, runner)
        runners.change(tx, row, body)
        if body.archived:
            let_go(tx, row)
        return _shown(tx, job_reads.runner(tx, row["id"]), request)

    return json_reply(await state_of(request).database.write(write))


@router.post("/v0/runners/{runner}/key", **answers(RunnerKeyJson, 201))
async def rotate_key(request: Request, caller: Caller, runner: RunnerId) -> Response:
    """Make a new key. The old one stays valid for the server's `key_overlap_s`, so that nothing stops."""
    state = state_of(request)

    def write(tx: Tx) -> dict[str, str]:
        admin_of(tx, caller)
        row = runners.find(tx, runner)
        return {"uuid": row["uuid"], "key": runners.rotate_key(tx, row, round(state.settings.key_overlap_s * 1000))}

    return json_reply(await state.database.write(write), 201)


@router.post("/v0/runners/{runner}/drain", **answers(RunnerJson))
async def drain_runner(request: Request, caller: Caller, runner: RunnerId, reason: Reason = None) -> Response:
    """Let a runner finish what it holds and hand it nothing more."""
    return await _steer(request, caller, runner, partial(runners.drain, reason=reason))


@router.post("/v0/runners/{runner}/resume", **answers(RunnerJson))
async def resume_runner(request: Request, caller: Caller, runner: RunnerId) -> Response:
    """Hand a drained runner work again."""
    return await _steer(request, caller, runner, runners.resume)


@router.get("/v0/runners/{runner}/specs", **answers(list[SpecJson]))
async def list_specs_of_runner(
    request: Request, caller: Caller, runner: RunnerId, query: Annotated[Listing, Query()]
) -> Response:
    """The specs that a runner takes jobs of."""
    wanted = query.part()

    def read(tx: Tx) -> tuple[list[SpecJson], int]:
        admin_of(tx, caller)
        ids = runners.spec_ids(tx, runners.find(tx, runner)["id"])
        chosen = ids[wanted.offset : wanted.offset + wanted.limit]
        return [spec_json(specs.by_id(tx, spec_id)) for spec_id in chosen], len(ids)

    found, total = await state_of(request).database.read(read)
    return json_reply(found, total=total)


@router.post("/v0/runners/{runner}/specs", **answers(SpecJson, 201))
async def add_spec(request: Request, caller: Caller, runner: RunnerId, body: Annotated[RunnerSpec, Body()]) -> Response:
    """Let a runner take jobs of a spec."""

    def write(tx: Tx) -> SpecJson:
        admin_of(tx, caller)
        spec = specs.find(tx, body.spec.value)
        runners.add_spec(tx, runners.find(tx, runner), spec["id"])
        return spec_json(spec)

    return json_reply(await state_of(request).database.write(write), 201)


@router.get("/v0/runners/{runner}/specs/{spec}", **answers(SpecJson))
async def get_spec_of_runner(request: Request, caller: Caller, runner: RunnerId, spec: SpecId) -> Response:
    """One spec, where the runner holds it."""

    def read(tx: Tx) -> SpecJson:
        admin_of(tx, caller)
        row = specs.find(tx, spec)
        if row["id"] not in runners.spec_ids(tx, runners.find(tx, runner)["id"]):
            raise NotFoundError(f"runner {runner!r} does not hold the spec {spec!r}")
        return spec_json(row)

    return json_reply(await state_of(request).database.read(read))


@router.delete("/v0/runners/{runner}/specs/{spec}", **answers(None, 204))
async def drop_spec(request: Request, caller: Caller, runner: RunnerId, spec: SpecId) -> Response:
    """Let a runner take no more jobs of a spec. What it runs it finishes."""

    def write(tx: Tx) -> None:
        admin_of(tx, caller)
        runners.drop_spec(tx, runners.find(tx, runner), specs.find(tx, spec)["id"])

    await state_of(request).database.write(write)
    return Response(status_code=204)


async def _steer(request: Request, caller: Caller, runner: str, act: Any) -> Response:
    def write(tx: Tx) -> dict[str, Any]:
        admin_of(tx, caller)
        row = runners.find(tx, runner)
        act(tx, row)
        return _shown(tx, job_reads.runner(tx, row["id"]), request)

    return json_reply(await state_of(request).database.write(write))


def _shown(tx: Tx, row: Row, request: Request) -> dict[str, Any]:
    lost_ms = round(state_of(request).settings.lost_s * 1000)
    state = job_reads.state_of(row, tx.now_ms(), lost_ms)
    return runner_json(row, runners.spec_uuids(tx, row["id"])) | runner_state_json(row, state)
