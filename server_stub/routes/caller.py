"""What routes read of a request beside its body: the credential, the client's address, and the project of a path.

Dependencies here and in `paths` are `async`, though they wait for nothing: the framework has a thread run any other.
"""

from typing import Annotated

from fastapi import Depends, Path, Request

from server_stub.actors import Credential, read_authorization
from server_stub.errors import BadRequestError
from server_stub.names import NameId, parse_resource_id
from server_stub.state import state_of


async def _credential(request: Request) -> Credential:
    return read_authorization(request.headers.get("authorization"))


async def _address(request: Request) -> str:
    """The client's address: of the connection, or what a trusted proxy says."""
    if state_of(request).settings.proxies_trusted:
        forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
        if forwarded:
            return forwarded
    return request.client.host if request.client else "127.0.0.1"


async def _project(project: Annotated[str, Path(description="UUID or slug of the project.", max_length=64)]) -> NameId:
    # A dependency, since the framework takes no parameter of a path that becomes a record.
    try:
        return parse_resource_id(project)
    except ValueError as error:
        raise BadRequestError(f"project: {error}") from error


Caller = Annotated[Credential, Depends(_credential)]
"""The credential that a request came with."""
Address = Annotated[str, Depends(_address)]
"""Where a request came from."""
ProjectId = Annotated[NameId, Depends(_project)]
"""The `{project}` of a path."""
