"""The scalar types: what each accepts, what it refuses and why."""

import random
import subprocess
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_stub.names import (
    BenchmarkKey,
    IdKind,
    NameId,
    benchmark_key,
    parse_benchmark_id,
    parse_benchmark_name,
    parse_branch_id,
    parse_branch_name,
    parse_date_time,
    parse_git_hash,
    parse_resource_id,
    parse_resource_name,
    parse_slug,
    parse_text,
    parse_uuid,
    slug_of,
    slugify,
    unique_slug,
    uuid7,
)
from server_stub.times import from_seconds

SOME_UUID = UUID("67e55044-10b1-426f-9247-bb680e5fe0c8")


@pytest.mark.parametrize(
    "text",
    [
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "67E55044-10B1-426F-9247-BB680E5FE0C8",
        "67e5504410b1426f9247bb680e5fe0c8",
        "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
        "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
    ],
)
def test_a_uuid_is_read_in_every_form(text: str) -> None:
    assert parse_uuid(text) == SOME_UUID


@pytest.mark.parametrize(
    "value",
    ["", "67e55044", "67e55044-10b1426f-9247-bb680e5fe0c8", "{67e5504410b1426f9247bb680e5fe0c8}", "g" * 32, 5, None],
)
def test_anything_else_is_not_a_uuid(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a (UUID|string)"):
        parse_uuid(value)


@pytest.mark.parametrize("text", ["a", "0", "my-project-2", "x" * 64])
def test_a_slug_is_kept(text: str) -> None:
    assert parse_slug(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "a--b", "A", "a_b", "é", "a b", "x" * 65, "a\n"])
def test_a_slug_that_is_not_its_own_slug_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a slug"):
        parse_slug(text)


def test_sizes_of_names_are_bytes() -> None:
    assert parse_resource_name("é" * 32) == "é" * 32
    with pytest.raises(ValueError, match="must have 1 to 64 bytes, has 65"):
        parse_resource_name("é" * 32 + "x")
    with pytest.raises(ValueError, match="must have 1 to 1024 bytes, has 1025"):
        parse_benchmark_name("x" * 1025)
    with pytest.raises(ValueError, match="must have 1 to 256 bytes, has 0"):
        parse_branch_name("")


def test_white_space_is_kept_in_benchmarks_and_refused_around_resources() -> None:
    assert parse_benchmark_name(" a\tb\n") == " a\tb\n"
    for text in (" a", "a\n", "\u3000a"):
        with pytest.raises(ValueError, match="must not start or end with white space"):
            parse_resource_name(text)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_text_that_no_store_keeps_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must not hold"):
        parse_text(text)


REFS = [
    *("main", "feature/x", "Release-1.0", "é", "a.b", "a@b", "@a", "a/@", "x-", "a.lockx", "#1", "a}", "{", "%"),
    *("a b", "a..b", ".a", "a/.b", "a.", "a/", "/a", "a//b", "a.lock", "a.lock/b", "a@{b", "@", "a~", "a^", "a:"),
    *("a?", "a*", "a[", "a\\b", "a\tb", "a\n", "a\x7f", "a./b"),
]


@pytest.mark.parametrize("text", REFS)
def test_a_branch_name_is_what_git_takes(text: str) -> None:
    git = subprocess.run(["git", "check-ref-format", "--allow-onelevel", text], check=False)
    assert _accepts_branch(text) == (git.returncode == 0)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab./@{~^:?*[\\ lock\x01\x7fé", min_size=1, max_size=8))
def test_git_agrees_on_any_branch_name(text: str) -> None:
    git = subprocess.run(["git", "check-ref-format", "--allow-onelevel", text], check=False)
    assert _accepts_branch(text) == (git.returncode == 0)


def test_a_ref_may_start_with_a_hyphen() -> None:
    assert _accepts_branch("-x")  # Only git's command line takes it for an option.


def _accepts_branch(text: str) -> bool:
    try:
        return parse_branch_name(text) == text
    except ValueError:
        return False


def test_a_hash_has_forty_hex_digits_in_either_case() -> None:
    assert parse_git_hash("aB" * 20) == "aB" * 20
    for text in ("a" * 39, "a" * 41, "g" * 40, "a" * 40 + "\n"):
        with pytest.raises(ValueError, match="exactly 40 hex digits"):
            parse_git_hash(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01T02:00:00.999999999+02:00", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2023-12-31t23:30:00-00:30", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1969-12-31T23:59:59.5Z", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_in_whole_seconds(text: str, moment: datetime) -> None:
    assert parse_date_time(text) == moment
    assert parse_date_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        *("2024-01-01", "2024-01-01T00:00:00", "20240101T000000Z", "2024-13-01T00:00:00Z", "2024-02-30T00:00:00Z"),
        *("2024-01-01T25:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
        *("٢٠٢٤-01-01T00:00:00Z", "now", 1704067200, None),
    ],
)
def test_a_time_without_offset_or_existence_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a"):
        parse_date_time(value)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (str(SOME_UUID), NameId(IdKind.UUID, str(SOME_UUID))),
        (SOME_UUID.hex.upper(), NameId(IdKind.UUID, str(SOME_UUID))),
        ("main", NameId(IdKind.SLUG, "main")),
        ("Main", NameId(IdKind.NAME, "Main")),
        ("x" * 65, NameId(IdKind.NAME, "x" * 65)),
        ("feature/x", NameId(IdKind.NAME, "feature/x")),
    ],
)
def test_an_identifier_is_a_uuid_then_a_slug_then_a_name(text: str, known: NameId) -> None:
    assert parse_branch_id(text) == known


def test_a_resource_is_never_found_by_name() -> None:
    assert parse_resource_id("my-project") == NameId(IdKind.SLUG, "my-project")
    with pytest.raises(ValueError, match="must be a UUID or a slug"):
        parse_resource_id("My Project")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("foo", BenchmarkKey(NameId(IdKind.SLUG, "foo"), ignored=False)),
        ("foo_bencher_ignore", BenchmarkKey(NameId(IdKind.NAME, "foo"), ignored=True)),
        ("FooBencherIgnore", BenchmarkKey(NameId(IdKind.NAME, "Foo"), ignored=True)),
        ("foo-bencher-ignore", BenchmarkKey(NameId(IdKind.NAME, "foo"), ignored=True)),
        ("fooBencherIgnore_bencher_ignore", BenchmarkKey(NameId(IdKind.NAME, "fooBencherIgnore"), ignored=True)),
        ("foo_bencher_ignored", BenchmarkKey(NameId(IdKind.NAME, "foo_bencher_ignored"), ignored=False)),
        (str(SOME_UUID), BenchmarkKey(NameId(IdKind.UUID, str(SOME_UUID)), ignored=False)),
    ],
)
def test_an_ignore_suffix_is_stripped_once(key: str, expected: BenchmarkKey) -> None:
    assert benchmark_key(key, key_is_name=False) == expected


def test_a_harness_prints_names_even_where_they_look_like_slugs() -> None:
    assert benchmark_key("foo", key_is_name=True) == BenchmarkKey(NameId(IdKind.NAME, "foo"), ignored=False)


def test_a_key_of_nothing_but_the_suffix_is_refused() -> None:
    with pytest.raises(ValueError, match="must have 1 to 1024 bytes, has 0"):
        benchmark_key("_bencher_ignore", key_is_name=False)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("My Test String!!!1!1", "my-test-string-1-1"),
        ("it's", "it-s"),
        ("1,000", "1-000"),
        ("Ünïcödé", "unicode"),
        ("你好世界", "ni-hao-shi-jie"),
        ("Straße µs", "strasse-us"),
        ("--a__b--", "a-b"),
        ("...", ""),
        ("", ""),
    ],
)
def test_a_slug_is_made_from_any_text(text: str, slug: str) -> None:
    assert slugify(text) == slug


def test_a_long_slug_is_cut_without_a_hyphen_at_its_end() -> None:
    assert slug_of("x" * 63 + " y") == "x" * 63


def test_a_taken_slug_gets_the_seconds_and_chance() -> None:
    chance = random.Random(1).randrange
    assert unique_slug("My Bench", set(), 1_700_000_000, chance) == "my-bench"
    second = unique_slug("My Bench", {"my-bench"}, 1_700_000_000, chance)
    assert (second[:15], len(second)) == ("my-bench-s44we8", 17)
    third = unique_slug("My Bench", {"my-bench", second}, 1_700_000_000, lambda _: 0)
    assert third == "my-bench-s44we800"
    assert unique_slug("My Bench", {"my-bench", third}, 1_700_000_000, lambda _: 0) == "my-bench-00000000"


def test_a_name_without_letters_gets_a_slug_by_chance() -> None:
    assert unique_slug("...", set(), 0, lambda _: 10) == "aaaaaaaa"


def test_a_search_for_a_free_slug_ends() -> None:
    with pytest.raises(ValueError, match="no free slug for 'a' in 100 tries"):
        unique_slug("a", {"a", "a-00000000"}, 0, lambda _: 0)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=90), st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_every_made_slug_is_a_slug(text: str, now_s: int, chance: random.Random) -> None:
    first = unique_slug(text, set(), now_s, chance.randrange)
    second = unique_slug(text, {first, slug_of(text)}, now_s, chance.randrange)
    assert [parse_slug(first), parse_slug(second)] == [first, second]
    assert first != second


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_an_identifier_reads_back_as_itself(text: str) -> None:
    try:
        known = parse_benchmark_id(text)
    except ValueError:
        assert "\x00" in text
    else:
        assert parse_benchmark_id(known.value) == known


def test_made_uuids_are_of_version_7_and_sort_by_time() -> None:
    early, late = uuid7(1_700_000_000_000, b"\xff" * 10), uuid7(1_700_000_000_001, bytes(10))
    assert early < late
    assert [(made.version, made.variant) for made in (early, late)] == [(7, "specified in RFC 4122")] * 2
    assert early.int >> 80 == 1_700_000_000_000


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1704067200, "2024-01-01T00:00:00Z"), (-62135596800, "0001-01-01T00:00:00Z")]
)
def test_a_moment_is_shown_with_four_digits_of_its_year(seconds: int, shown: str) -> None:
    assert from_seconds(seconds) == shown
