"""How every request body is read: what is strict, what null means, and how a refusal is put into words.

Holds no body of its own (see `api` and `edits`) and knows no HTTP. Members that we do not know are ignored. A string
is a string and an integer an integer: `true` is not 1 and `5.0` is no count. Numbers are finite.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

U32_MAX: Final = 2**32 - 1
I32_MAX: Final = 2**31 - 1
I64_MAX: Final = 2**63 - 1

Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, le=U32_MAX)]
PositiveCount = Annotated[int, Field(strict=True, ge=1, le=U32_MAX)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number. An integer literal is one too, also a negative one, which the reference's decoder refuses."""

_ANNOTATIONS = frozenset({"title", "description", "default", "examples"})
"""What a JSON schema says about a member beside its type."""


class Body(BaseModel):
    """A JSON object that a client sent. Null counts as absent, but for the members in `removable`."""

    # What a client sent may be a secret, so that it never shows in an error.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    removable: ClassVar[frozenset[str]] = frozenset()
    """Members whose null means "remove". Such a member is in `model_fields_set` when it was sent."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        return {key: value for key, value in body.items() if value is not None or key in cls.removable}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the schema, too, that an optional member may be null."""
        schema = handler.resolve_ref_schema(handler(core))
        required = schema.get("required", ())
        for name, member in schema.get("properties", {}).items():
            if name not in required:
                schema["properties"][name] = _nullable(member)
        return schema


def _nullable(member: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in member.get("anyOf", ()):
        return member
    inside, outside = dict[str, Any](), dict[str, Any]()
    for key, value in member.items():
        (outside if key in _ANNOTATIONS else inside)[key] = value
    return {"anyOf": [inside, {"type": "null"}], **outside}


def problem_of(error: ValidationError) -> str:
    """Return one sentence for the client: the JSON path of the first fault, the rule, and how many faults follow."""
    return problem_in(error.errors(include_url=False, include_input=False))


def problem_in(faults: Sequence[Mapping[str, Any]], *, skip: int = 0) -> str:
    """Do the same for a list of pydantic's error details, leaving the first `skip` steps of each path out."""
    first, more = faults[0], len(faults) - 1
    rule = first["msg"].removeprefix("Value error, ")
    rest = f" (and {more} more)" if more else ""
    return f"{_path(first['loc'][skip:])}: {rule}{rest}"


def _path(location: Sequence[int | str]) -> str:
    """Join `("results", 0)` to `results[0]`. Pydantic marks a fault of a mapping's key by a last step `[key]`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":
            path += f".{step}" if path else step
    return path or "body"
