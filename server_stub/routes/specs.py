"""Specs, for administrators: the classes of machine that jobs ask for."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from server_stub.access import admin_of
from server_stub.edits import NewSpec, SpecChange
from server_stub.entity_json import spec_json
from server_stub.queries import MachineListing
from server_stub.routes.caller import Caller
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import SpecJson
from server_stub.state import state_of
from server_stub.store import specs
from server_stub.store.tx import Tx

router = APIRouter(tags=["specs"])

SpecId = Annotated[str, Path(description="UUID or slug of the spec.", max_length=64)]


@router.get("/v0/specs", **answers(list[SpecJson]))
async def list_specs(request: Request, caller: Caller, query: Annotated[MachineListing, Query()]) -> Response:
    """All specs; archived ones only where asked for, and then only those."""

    def read(tx: Tx) -> tuple[list[SpecJson], int]:
        admin_of(tx, caller)
        rows, total = specs.page(tx, query)
        return [spec_json(row) for row in rows], total

    found, total = await state_of(request).database.read(read)
    return json_reply(found, total=total)


@router.post("/v0/specs", **answers(SpecJson, 201))
async def create_spec(request: Request, caller: Caller, body: Annotated[NewSpec, Body()]) -> Response:
    """Make a spec. As the fallback it takes that place from any other."""

    def write(tx: Tx) -> SpecJson:
        admin_of(tx, caller)
        return spec_json(specs.create(tx, body))

    return json_reply(await state_of(request).database.write(write), 201)


@router.get("/v0/specs/{spec}", **answers(SpecJson))
async def get_spec(request: Request, caller: Caller, spec: SpecId) -> Response:
    """One spec."""

    def read(tx: Tx) -> SpecJson:
        admin_of(tx, caller)
        return spec_json(specs.find(tx, spec))

    return json_reply(await state_of(request).database.read(read))


@router.patch("/v0/specs/{spec}", **answers(SpecJson))
async def change_spec(request: Request, caller: Caller, spec: SpecId, body: Annotated[SpecChange, Body()]) -> Response:
    """Rename a spec, make it the fallback, archive it or bring it back. Testbeds let go of an archived one."""

    def write(tx: Tx) -> SpecJson:
        admin_of(tx, caller)
        return spec_json(specs.update(tx, specs.find(tx, spec), body.model_dump()))

    return json_reply(await state_of(request).database.write(write))


@router.delete("/v0/specs/{spec}", **answers(None, 204))
async def delete_spec(request: Request, caller: Caller, spec: SpecId) -> Response:
    """Delete a spec that nothing refers to."""

    def write(tx: Tx) -> None:
        admin_of(tx, caller)
        specs.delete(tx, specs.find(tx, spec))

    await state_of(request).database.write(write)
    return Response(status_code=204)
