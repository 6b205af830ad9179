"""The bodies of runs and reports: every member, every limit, and what a refusal says."""

import json
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from server_stub.api import ReportBody, RunBody
from server_stub.bodies import problem_in, problem_of
from server_stub.images import parse_image
from server_stub.metrics import Adapter, Average, Fold
from server_stub.names import IdKind, NameId
from server_stub.thresholds import Model, Test

LEAST = {"start_time": "2024-01-01T00:00:00Z", "end_time": "2024-01-01T00:00:01.9Z", "results": []}
SOME_UUID = "67e55044-10b1-426f-9247-bb680e5fe0c8"


def read(**members: object) -> RunBody:
    return RunBody.model_validate_json(json.dumps({**LEAST, **members}))


def refusal(**members: object) -> str:
    with pytest.raises(ValidationError) as caught:
        RunBody.model_validate_json(json.dumps({**LEAST, **members}))
    return problem_of(caught.value)


def test_three_members_make_a_run() -> None:
    run = read()
    assert run.model_fields_set == {"start_time", "end_time", "results"}
    assert (run.start_time, run.end_time) == (
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC),
    )
    assert (run.settings.adapter, run.settings.average, run.settings.fold) == (Adapter.MAGIC, None, None)
    assert [run.project, run.branch, run.hash, run.testbed, run.job, run.context, run.start_point] == [None] * 7


def test_every_member_of_a_run_is_read() -> None:
    run = read(
        project="my-project",
        branch="feature/x",
        hash="a" * 40,
        start_point={
            "branch": "main",
            "hash": "b" * 40,
            "max_versions": 0,
            "clone_thresholds": True,
            "reset": True,
        },
        testbed="Bare Metal",
        spec_reset=True,
        thresholds={"models": {"latency": {"test": "t", "max_sample_size": 64, "upper_boundary": 0.99}}, "reset": True},
        results=["{}", "\x00 any output"],
        settings={"adapter": "json", "average": "median", "fold": "min"},
        context={"bencher.dev/v0/repo/name": "x"},
        idempotency_key=SOME_UUID,
    )
    assert run.project == NameId(IdKind.SLUG, "my-project")
    assert run.branch == NameId(IdKind.NAME, "feature/x")
    assert run.testbed == NameId(IdKind.NAME, "Bare Metal")
    assert run.start_point is not None
    assert dict(run.start_point) == {
        "branch": NameId(IdKind.SLUG, "main"),
        "hash": "b" * 40,
        "max_versions": 0,
        "clone_thresholds": True,
        "reset": True,
    }
    assert run.thresholds is not None
    assert {key: body.model for key, body in run.thresholds.models.items()} == {
        NameId(IdKind.SLUG, "latency"): Model(Test.T_TEST, max_sample_size=64, upper_boundary=0.99)
    }
    assert (run.spec_reset, run.thresholds.reset, run.hash) == (True, True, "a" * 40)
    assert run.results == ["{}", "\x00 any output"]
    assert (run.settings.adapter, run.settings.average, run.settings.fold) == (Adapter.JSON, Average.MEDIAN, Fold.MIN)
    assert (run.context, run.idempotency_key) == ({"bencher.dev/v0/repo/name": "x"}, UUID(SOME_UUID))


def test_every_member_of_a_job_is_read() -> None:
    job = read(
        job={
            "image": "alpine:3",
            "baseline": "alpine:2",
            "registry_auth": {"username": "me", "password": "pw", "token": "tk"},
            "spec": "intel",
            "entrypoint": ["/bin/sh"],
            "cmd": ["-c", "true"],
            "env": {"A": ""},
            "timeout": 2**31 - 1,
            "file_paths": ["/out.json"],
            "build_time": True,
            "file_size": True,
            "iter": 0,
            "allow_failure": True,
            "backdate": "2020-01-01T00:00:00Z",
        }
    ).job
    assert job is not None
    assert job.registry_auth is not None
    assert job.registry_auth.password is not None
    assert job.registry_auth.password.get_secret_value() == "pw"
    assert {name: value for name, value in job if name != "registry_auth"} == {
        "image": parse_image("alpine:3"),
        "baseline": parse_image("alpine:2"),
        "spec": NameId(IdKind.SLUG, "intel"),
        "entrypoint": ["/bin/sh"],
        "cmd": ["-c", "true"],
        "env": {"A": ""},
        "timeout": 2**31 - 1,
        "file_paths": ["/out.json"],
        "build_time": True,
        "file_size": True,
        "iter": 0,
        "allow_failure": True,
        "backdate": datetime(2020, 1, 1, tzinfo=UTC),
    }


def test_credentials_never_print() -> None:
    run = read(job={"image": "a", "registry_auth": {"password": "hunter2", "token": "hunter3"}})
    assert "hunter" not in repr(run) + str(run.model_dump()) + run.job.model_dump_json() if run.job else False
    with pytest.raises(ValidationError) as caught:
        read(job={"image": "a", "registry_auth": {"password": ["hunter2"]}})
    assert "hunter" not in str(caught.value) + problem_of(caught.value)


def test_a_language_is_read_as_magic_and_an_old_name_as_the_new() -> None:
    adapters = ("rust", "dart", "rust_iai_callgrind", "go_bench")
    assert [read(settings={"adapter": name}).settings.adapter for name in adapters] == [
        *(Adapter.MAGIC, Adapter.MAGIC, Adapter.RUST_GUNGRAUN, Adapter.GO_BENCH)
    ]


def test_null_counts_as_absent_and_unknown_members_are_ignored() -> None:
    optional = [name for name, field in RunBody.model_fields.items() if not field.is_required()]
    run = read(**{**dict.fromkeys(optional), "made_up": 1, "settings": {"adapter": None, "x": {}}})
    assert dict(run) == dict(read(settings={}))
    assert read(start_point=dict.fromkeys(("branch", "hash", "max_versions", "clone_thresholds", "reset"))) == read(
        start_point={}
    )


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"results": None}, "results: Field required"),
        ({"results": "x"}, "results: Input should be a valid array"),
        ({"results": ["{}", 5]}, "results[1]: Input should be a valid string"),
        ({"start_time": 5}, "start_time: must be a string"),
        ({"end_time": "now"}, "end_time: must be an RFC 3339 time with an offset, such as 2024-01-01T00:00:00Z"),
        ({"project": "No Slug"}, "project: must be a UUID or a slug"),
        ({"branch": "a..b"}, "branch: a branch name must not hold two dots in a row"),
        ({"hash": "abc"}, "hash: must be exactly 40 hex digits"),
        ({"testbed": " x"}, "testbed: must not start or end with white space"),
        ({"spec_reset": 1}, "spec_reset: Input should be a valid boolean"),
        ({"idempotency_key": "x"}, "idempotency_key: must be a UUID"),
        ({"context": {"a": 1}}, "context.a: must be a string"),
        ({"context": {"a\x00": "1"}}, "context.a\x00: must not hold a NUL character"),
        ({"settings": {"fold": "sum"}}, "settings.fold: Input should be 'min', 'max', 'mean' or 'median'"),
        (
            {"start_point": {"max_versions": -1}},
            "start_point.max_versions: Input should be greater than or equal to 0",
        ),
        ({"start_point": {"max_versions": 5.0}}, "start_point.max_versions: Input should be a valid integer"),
        ({"start_point": []}, "start_point: Input should be an object"),
        ({"thresholds": {"models": {" x": {"test": "t"}}}}, "thresholds.models. x: must not start or end with"),
        ({"thresholds": {"models": {"latency": {}}}}, "thresholds.models.latency.test: Field required"),
        (
            {"thresholds": {"models": {"latency": {"test": "iqr"}}}},
            "thresholds.models.latency: lower_boundary: either it or upper_boundary must be given",
        ),
        (
            {"thresholds": {"models": {"a": {"test": "iqr", "max_sample_size": 5.0, "lower_boundary": 1}}}},
            "thresholds.models.a.max_sample_size: Input should be a valid integer",
        ),
        (
            {"thresholds": {"models": {"a": {"test": "iqr", "min_sample_size": True, "lower_boundary": 1}}}},
            "thresholds.models.a.min_sample_size: Input should be a valid integer",
        ),
        (
            {"thresholds": {"models": {"a": {"test": "iqr", "window": 0, "lower_boundary": 1}}}},
            "thresholds.models.a.window: Input should be greater than or equal to 1",
        ),
        (
            {"thresholds": {"models": {"a": {"test": "iqr", "lower_boundary": "1"}}}},
            "thresholds.models.a.lower_boundary: Input should be a valid number",
        ),
        (
            {"thresholds": {"models": {"a": {"test": "iqr", "lower_boundary": True}}}},
            "thresholds.models.a.lower_boundary: Input should be a valid number",
        ),
        (
            {"thresholds": {"models": {"a": {"test": "iqr", "lower_boundary": float("inf")}}}},
            "thresholds.models.a.lower_boundary: Input should be a finite number",
        ),
        ({"job": {}}, "job.image: Field required"),
        ({"job": {"image": "A"}}, "job.image: an image's repository must have"),
        ({"job": {"image": ""}}, "job.image: an image reference must have 1 to 1024 characters"),
        ({"job": {"image": "a", "cmd": ["x"] * 65}}, "job.cmd: List should have at most 64 items"),
        ({"job": {"image": "a", "entrypoint": ["x"] * 65}}, "job.entrypoint: List should have at most 64 items"),
        ({"job": {"image": "a", "file_paths": ["x"] * 256}}, "job.file_paths: List should have at most 255 items"),
        (
            {"job": {"image": "a", "env": {str(n): "" for n in range(256)}}},
            "job.env: Dictionary should have at most 255 items",
        ),
        ({"job": {"image": "a", "env": {"FOO": 5}}}, "job.env.FOO: must be a string"),
        ({"job": {"image": "a", "env": {"A=B": ""}}}, "job.env: the name of a variable must not be empty nor hold"),
        ({"job": {"image": "a", "cmd": ["a\x00"]}}, "job.cmd[0]: must not hold a NUL character"),
        ({"job": {"image": "a", "timeout": 0}}, "job.timeout: Input should be greater than or equal to 1"),
        ({"job": {"image": "a", "timeout": 2**31}}, "job.timeout: Input should be less than or equal to 2147483647"),
        ({"job": {"image": "a", "iter": 2**32}}, "job.iter: Input should be less than or equal to 4294967295"),
        ({"job": {"image": "a", "spec": "A B"}}, "job.spec: must be a UUID or a slug"),
    ],
)
def test_a_refusal_starts_with_the_path_and_names_the_rule(members: dict[str, object], said: str) -> None:
    assert refusal(**members).startswith(said)


def test_a_boundary_may_be_a_negative_integer() -> None:
    run = read(thresholds={"models": {"a": {"test": "static", "lower_boundary": -5}}})
    assert run.thresholds is not None
    assert [body.lower_boundary for body in run.thresholds.models.values()] == [-5.0]


def test_a_number_beyond_every_double_is_refused() -> None:
    body = json.dumps({**LEAST, "thresholds": {"models": {"a": {"test": "iqr", "lower_boundary": 10**400}}}})
    for validate in (RunBody.model_validate_json, lambda text: RunBody.model_validate(json.loads(text))):
        with pytest.raises(ValidationError) as caught:
            validate(body)
        assert "thresholds.models.a.lower_boundary: Input should be a" in problem_of(caught.value)


def test_several_faults_are_counted_and_a_body_that_is_no_object_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        RunBody.model_validate({})
    assert problem_of(caught.value) == "start_time: Field required (and 2 more)"
    assert problem_in(caught.value.errors(), skip=1) == "body: Field required (and 2 more)"
    with pytest.raises(ValidationError) as caught:
        RunBody.model_validate_json("[]")
    assert problem_of(caught.value).startswith("body: Input should be an object")


def test_a_report_needs_branch_and_testbed() -> None:
    with pytest.raises(ValidationError) as caught:
        ReportBody.model_validate(LEAST)
    assert problem_of(caught.value) == "branch: Field required (and 1 more)"
    report = ReportBody.model_validate({**LEAST, "branch": "main", "testbed": "localhost"})
    assert report.branch == NameId(IdKind.SLUG, "main")


def test_the_schema_says_which_members_may_be_null() -> None:
    schema = RunBody.model_json_schema()
    job = schema["$defs"]["JobBody"]["properties"]
    assert schema["required"] == ["start_time", "end_time", "results"]
    assert job["build_time"]["anyOf"] == [{"type": "boolean"}, {"type": "null"}]
    assert job["image"]["type"] == "string"
    members = (*schema["properties"].items(), *job.items())
    assert [name for name, member in members if member.get("type") != "string" and "anyOf" not in member] == ["results"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(RunBody.model_fields)), JSON), JSON)
def test_any_json_is_read_or_refused_with_a_path(members: dict[str, object], job: object) -> None:
    try:
        run = RunBody.model_validate({**LEAST, **members, "job": job})
    except ValidationError as error:
        problem = problem_of(error)
    else:
        assert RunBody.model_validate(dict(run)) == run
        return
    assert re.split(r"[.:[]", problem)[0] in RunBody.model_fields
