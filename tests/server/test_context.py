"""What a context says, and that it can never refuse a run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_stub.context import ContextFacts, read_context
from server_stub.names import IdKind, NameId, parse_resource_name, parse_slug

NOTHING = ContextFacts(project_name="Project", project_slug=None, branch=None, hash=None, testbed=None)


def test_an_empty_context_names_no_slug() -> None:
    assert read_context({}) == NOTHING
    assert read_context({"bencher.dev/v0/branch/ref": "refs/heads/x", "other": "y"}) == NOTHING


def test_a_full_context_names_everything() -> None:
    assert read_context(
        {
            "bencher.dev/v0/repo/name": "My Project",
            "bencher.dev/v0/repo/hash": "0123456789abcdef",
            "bencher.dev/v0/branch/ref": "refs/heads/feature/x",
            "bencher.dev/v0/branch/ref/name": "feature/x",
            "bencher.dev/v0/branch/hash": "ab" * 20,
            "bencher.dev/v0/testbed/os": "Linux",
            "bencher.dev/v0/testbed/fingerprint": "fedcba9876543210",
        }
    ) == ContextFacts(
        project_name="My Project",
        project_slug="my-project-0123456-fedcba9876543",
        branch=NameId(IdKind.NAME, "feature/x"),
        hash="ab" * 20,
        testbed=NameId(IdKind.NAME, "Linux"),
    )


@pytest.mark.parametrize(
    ("context", "facts"),
    [
        ({"branch/ref/name": "a..b", "branch/hash": "abc", "testbed/os": " "}, NOTHING),
        ({"repo/name": "..."}, ContextFacts("...", None, None, None, None)),
        ({"repo/name": "é" * 40}, ContextFacts("é" * 32, "e" * 40, None, None, None)),
        ({"repo/name": "x" * 63 + " y"}, ContextFacts("x" * 63, "x" * 42, None, None, None)),
        ({"repo/name": " ", "repo/hash": "abcdefghij"}, ContextFacts("Project", "abcdefg", None, None, None)),
        ({"repo/name": "a\x00b"}, ContextFacts("Project", "a-b", None, None, None)),
    ],
)
def test_what_cannot_be_used_is_cut_or_dropped(context: dict[str, str], facts: ContextFacts) -> None:
    assert read_context({f"bencher.dev/v0/{key}": value for key, value in context.items()}) == facts


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=20))
def test_a_made_project_always_has_a_valid_name_and_slug(name: str, commit: str, machine: str) -> None:
    facts = read_context(
        {
            "bencher.dev/v0/repo/name": name,
            "bencher.dev/v0/repo/hash": commit,
            "bencher.dev/v0/testbed/fingerprint": machine,
        }
    )
    assert parse_resource_name(facts.project_name) == facts.project_name
    assert facts.project_slug is None or parse_slug(facts.project_slug) == facts.project_slug
