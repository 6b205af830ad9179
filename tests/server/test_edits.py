"""The bodies around a run: what each needs, what null removes, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from server_stub import edits
from server_stub.bodies import Body, problem_of
from server_stub.thresholds import Model, Test

SOME_UUID = "67e55044-10b1-426f-9247-bb680e5fe0c8"
PLACE = {"branch": "main", "testbed": "localhost", "measure": "latency"}
SPEC = {"name": "Intel", "architecture": "x86_64", "cpu": 2, "memory": 1 << 30, "disk": 1 << 34}
PLOT = {
    **dict.fromkeys(("lower_value", "upper_value", "lower_boundary", "upper_boundary"), False),
    **{name: [SOME_UUID] for name in ("branches", "testbeds", "benchmarks", "measures")},
    "x_axis": "date_time",
    "window": 60,
}

BODIES: list[tuple[type[Body], dict[str, object]]] = [
    (edits.NewBranch, {"name": "feature/x", "start_point": {"branch": "main"}}),
    (edits.BranchChange, {}),
    (edits.NewTestbed, {"name": "Bare Metal", "slug": "bm", "spec": "intel"}),
    (edits.TestbedChange, {}),
    (edits.NewBenchmark, {"name": " any "}),
    (edits.BenchmarkChange, {"archived": True}),
    (edits.NewMeasure, {"name": "Latency", "units": "ns"}),
    (edits.MeasureChange, {"units": "ms"}),
    (edits.NewThreshold, {**PLACE, "test": "t_test", "upper_boundary": 0.99}),
    (edits.ThresholdChange, {"test": None}),
    (edits.AlertChange, {"status": "dismissed"}),
    (edits.AlertChange, {}),
    (edits.NewProject, {"name": "P", "url": "https://p.example/x", "visibility": "private"}),
    (edits.ProjectChange, {}),
    (edits.NewPlot, PLOT),
    (edits.PlotChange, {"index": 63}),
    (edits.NewKey, {"name": "ci", "ttl": 60}),
    (edits.KeyChange, {"name": "x"}),
    (edits.NewRunner, {"name": "rack 1"}),
    (edits.RunnerChange, {"archived": False}),
    (edits.RunnerSpec, {"spec": SOME_UUID}),
    (edits.NewSpec, SPEC),
    (edits.SpecChange, {"fallback": True}),
]


@pytest.mark.parametrize(("body", "members"), BODIES)
def test_what_was_sent_is_told_from_what_was_not(body: type[Body], members: dict[str, object]) -> None:
    assert body.model_validate({**members, "unknown": 1}).model_fields_set == set(members)


@pytest.mark.parametrize(("body", "members"), BODIES)
def test_null_counts_as_absent_but_where_it_removes(body: type[Body], members: dict[str, object]) -> None:
    optional = [name for name, field in body.model_fields.items() if not field.is_required() and name not in members]
    read = body.model_validate({**members, **dict.fromkeys(optional)})
    assert read.model_fields_set == set(members) | (body.removable & set(optional))


def test_null_removes_four_things() -> None:
    removed = {body: body.removable for body, _ in BODIES if body.removable}
    assert removed == {
        edits.TestbedChange: {"spec"},
        edits.ProjectChange: {"url"},
        edits.PlotChange: {"title"},
        edits.ThresholdChange: {"test"},
    }


def test_a_threshold_is_given_a_model_or_loses_it() -> None:
    assert edits.ThresholdChange.model_validate({"test": None, "upper_boundary": 3}).model is None
    changed = edits.ThresholdChange.model_validate({"test": "iqr", "upper_boundary": 3})
    assert changed.model == Model(Test.IQR, upper_boundary=3)


@pytest.mark.parametrize(
    ("body", "members", "said"),
    [
        (edits.NewBranch, {}, "name: Field required"),
        (edits.NewBranch, {"name": "a b"}, "name: a branch name must not hold a space"),
        (edits.NewTestbed, {"name": "x", "slug": "X"}, "slug: must be a slug"),
        (edits.TestbedChange, {"spec": 5}, "spec: must be a string"),
        (edits.TestbedChange, {"archived": "true"}, "archived: Input should be a valid boolean"),
        (edits.NewMeasure, {"name": "Latency"}, "units: Field required"),
        (edits.NewThreshold, {**PLACE, "test": "t"}, "body: lower_boundary: either it or upper_boundary must be given"),
        (
            edits.NewThreshold,
            {**PLACE, "test": "iqr", "max_sample_size": 1, "upper_boundary": 3},
            "body: max_sample_size: must be at least 2",
        ),
        (edits.ThresholdChange, {}, "test: Field required"),
        (edits.ThresholdChange, {"test": "iqr"}, "body: lower_boundary: either it or upper_boundary must be given"),
        (edits.AlertChange, {"status": "silenced"}, "status: Input should be 'active' or 'dismissed'"),
        (edits.ProjectChange, {"url": "ftp://x"}, "url: String should match pattern"),
        (edits.ProjectChange, {"visibility": "secret"}, "visibility: Input should be 'public' or 'private'"),
        (edits.NewPlot, {**PLOT, "measures": []}, "measures: List should have at least 1 item"),
        (edits.NewPlot, {**PLOT, "branches": ["main"]}, "branches[0]: must be a UUID"),
        (edits.NewPlot, {**PLOT, "index": 64}, "index: Input should be less than or equal to 63"),
        (edits.NewKey, {"name": "x", "ttl": 0}, "ttl: Input should be greater than or equal to 1"),
        (edits.NewKey, {"name": "x" * 65}, "name: must have 1 to 64 bytes, has 65"),
        (edits.RunnerSpec, {"spec": "Not One"}, "spec: must be a UUID or a slug"),
        (edits.NewSpec, {**SPEC, "cpu": 0}, "cpu: Input should be greater than or equal to 1"),
        (edits.NewSpec, {**SPEC, "memory": 2**63}, "memory: Input should be less than or equal to"),
        (edits.NewSpec, {**SPEC, "memory": 1.0}, "memory: Input should be a valid integer"),
        (edits.NewSpec, {**SPEC, "architecture": "vax"}, "architecture: Input should be 'x86_64' or 'aarch64'"),
        (edits.SpecChange, {"archived": True, "fallback": True}, "body: fallback: an archived spec cannot be"),
    ],
)
def test_a_bad_body_is_refused_with_path_and_rule(body: type[Body], members: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        body.model_validate(members)
    assert problem_of(caught.value).startswith(said)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BODIES), st.data())
def test_any_value_in_any_member_is_read_or_refused_by_name(
    case: tuple[type[Body], dict[str, object]], data: st.DataObject
) -> None:
    body, members = case
    name = data.draw(st.sampled_from(sorted(body.model_fields)))
    value: object = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just([])
    )
    try:
        body.model_validate({**members, name: value})
    except ValidationError as error:
        problem = problem_of(error)
    else:
        return
    assert name in problem or problem.startswith("body: ")
