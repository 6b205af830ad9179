"""The pure parts behind the engine door, as tables and properties: no engine takes part."""

import json
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench import SPEC, settings, spec

from runner_agent.bench import Placement
from runner_agent.containers import create, disk, faults, files, outcome, reference
from runner_agent.containers.cache import Entry, victims
from runner_agent.containers.faults import EngineRefusedError, EngineSilentError
from runner_agent.containers.outcome import Cut, Ending
from runner_agent.containers.progress import PullMeter
from runner_agent.containers.reference import Reference
from runner_agent.containers.streams import RECENT_BYTES_MAX, STDERR, STDOUT, Capped, Capture, Frames
from runner_agent.engine import EngineFacts, Image, IterationOrder
from runner_agent.errors import HostFault, JobFault
from runner_protocol.jobs import Limits
from runner_protocol.results import CapturedText, CollectedFile, FaultClass, FileEncoding, Stage

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "a" * 64
CATATONIT = "ERROR (catatonit:2): failed to exec pid1"


def framed(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@given(
    st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=20),
    st.lists(st.integers(min_value=1, max_value=30), min_size=1),
)
def test_frames_are_put_together_however_the_line_cut_them(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    sent, got = b"".join(framed(*frame) for frame in frames), {STDOUT: b"", STDERR: b""}
    parts, turn = Frames(), 0
    while sent:
        piece, sent = sent[: cuts[turn % len(cuts)]], sent[cuts[turn % len(cuts)] :]
        turn += 1
        for kind, payload in parts.feed(piece):
            got[kind] += payload
    assert got == {kind: b"".join(payload for k, payload in frames if k == kind) for kind in (STDOUT, STDERR)}


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(min_value=1, max_value=60))
def test_a_capped_stream_keeps_its_two_ends_and_counts_what_fell_out(pieces: list[bytes], bytes_max: int) -> None:
    capped, whole = Capped(bytes_max), b"".join(pieces)
    for piece in pieces:
        capped.add(piece)
    head, tail = bytes_max - bytes_max // 2, bytes_max // 2
    dropped = max(0, len(whole) - bytes_max)
    if not dropped:
        assert capped.text() == CapturedText(text=whole.decode(errors="replace"))
        return
    ends = [end.decode(errors="replace") for end in (whole[:head], whole[len(whole) - tail :])]
    assert capped.text() == CapturedText(text=f"\n[… {dropped} bytes cut …]\n".join(ends), dropped_bytes=dropped)


def test_the_last_lines_are_those_of_both_streams_from_the_first_whole_one() -> None:
    capture = Capture(1000)
    capture.feed(framed(STDOUT, b"long" * RECENT_BYTES_MAX + b"\nout\n") + framed(STDERR, b"err\n"))
    assert capture.recent == "out\nerr\n"


@pytest.mark.parametrize(
    ("asked", "path", "pattern"),
    [
        ("result.json", "/work/result.json", ()),
        ("/abs/file", "/abs/file", ()),
        ("../../../etc/passwd", "/etc/passwd", ()),
        ("/", "/", ()),
        ("*.json", "/work", ("*.json",)),
        ("out/**/x[12].json", "/work/out", ("**", "x[12].json")),
        ("/*/x", "/", ("*", "x")),
    ],
)
def test_a_wanted_file_is_read_against_the_working_directory(asked: str, path: str, pattern: tuple[str, ...]) -> None:
    assert files.want(asked, "/work") == files.Want(asked, path, pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.json", "a.json", True),
        ("*.json", "d/a.json", False),
        ("**/*.json", "a.json", True),
        ("**/*.json", "d/e/a.json", True),
        ("**", "d/e", True),
        ("d/**/e", "d/e", True),
        ("d/?", "d/ab", False),
        ("d/[ab]", "d/b", True),
    ],
)
def test_patterns_match_within_names_and_two_stars_across_them(pattern: str, path: str, matches: bool) -> None:
    assert files.segments_match(tuple(pattern.split("/")), path.split("/")) is matches


def test_a_hostile_pattern_costs_no_more_than_its_length_times_the_paths() -> None:
    assert files.segments_match(("**", "a") * 200, ["a"] * 399 + ["b"]) is False


@pytest.mark.parametrize(
    ("size", "content", "expected"),
    [
        (2, b"ok", CollectedFile(path="f", size_bytes=2, content="ok")),
        (9, None, CollectedFile(path="f", size_bytes=9)),
        (9, "ä€".encode()[:4], CollectedFile(path="f", size_bytes=9, content="ä", dropped_bytes=7)),
        (2, b"\xff\x00", CollectedFile(path="f", size_bytes=2, encoding=FileEncoding.BASE64, content="/wA=")),
    ],
)
def test_a_files_content_is_text_where_it_can_be(size: int, content: bytes | None, expected: CollectedFile) -> None:
    assert files.collected("f", size, content) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ubuntu", Reference("docker.io", "library/ubuntu")),
        ("ubuntu:24.04", Reference("docker.io", "library/ubuntu", "24.04")),
        ("team/bench", Reference("docker.io", "team/bench")),
        ("localhost/bench", Reference("localhost", "bench")),
        ("localhost:5000/a/b:t", Reference("localhost:5000", "a/b", "t")),
        (f"ghcr.io/a/b/c:t@{DIGEST}", Reference("ghcr.io", "a/b/c", "t", DIGEST)),
        ("[::1]:5000/a", Reference("[::1]:5000", "a")),
        ("index.docker.io/library/x", Reference("docker.io", "library/x")),
        ("UPPER/case", None),
        ("two words", None),
        ("", None),
        ("a:b:c", None),
        (f"a@{DIGEST}0", None),
        ("../etc", None),
        ("a/../b", None),
        ("a" * 600, None),
        ("name?x=1", None),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, expected: Reference | None) -> None:
    assert reference.parse(text) == expected


def test_a_reference_is_pinned_and_sent_through_a_mirror() -> None:
    found = Reference("docker.io", "library/ubuntu", "24.04")
    assert str(found.at(DIGEST)) == f"docker.io/library/ubuntu@{DIGEST}"
    assert str(found.through("mirror.test:5000/hub")) == "mirror.test:5000/hub/library/ubuntu:24.04"


@pytest.mark.parametrize(
    ("stage", "words", "kind"),
    [
        (Stage.PULL, "manifest unknown: manifest unknown", FaultClass.IMAGE_NOT_FOUND),
        (Stage.PULL, "pull access denied, repository does not exist or may require login", FaultClass.IMAGE_NOT_FOUND),
        (Stage.PULL, "Get https://r/v2/: unauthorized: authentication required", FaultClass.IMAGE_REFUSED),
        (Stage.PULL, "toomanyrequests: You have reached your pull rate limit", FaultClass.REGISTRY_UNAVAILABLE),
        (Stage.PULL, "received unexpected HTTP status: 503 Service Unavailable", FaultClass.REGISTRY_UNAVAILABLE),
        (Stage.PULL, "dial tcp 127.0.0.1:1: connect: connection refused", FaultClass.REGISTRY_UNAVAILABLE),
        (Stage.PULL, "filesystem layer verification failed for digest sha256:1", FaultClass.IMAGE_INVALID),
        (Stage.PULL, "no matching manifest for linux/amd64 in the manifest list", FaultClass.WRONG_PLATFORM),
        (Stage.PULL, "no image found in image index for architecture amd64", FaultClass.WRONG_PLATFORM),
        (Stage.PULL, "happened during read: Digest did not match, expected sha256:1", FaultClass.IMAGE_INVALID),
        (Stage.PULL, "Manifest does not match provided manifest digest sha256:1", FaultClass.IMAGE_INVALID),
        (Stage.PULL, "storing blob: happened during read: unexpected EOF", FaultClass.REGISTRY_UNAVAILABLE),
        (Stage.PULL, "storing blob: unexpected EOF", FaultClass.IMAGE_INVALID),
        (Stage.PULL, "write /var/x: no space left on device", FaultClass.HOST_DISK_FULL),
        (Stage.PULL, "words that nobody has seen", FaultClass.REGISTRY_UNAVAILABLE),
        (Stage.ITERATE, "No command specified", FaultClass.NO_COMMAND),
        (Stage.ITERATE, "container create: no command or entrypoint provided, and no CMD", FaultClass.NO_COMMAND),
        (Stage.ITERATE, "Minimum memory limit allowed is 6MB", FaultClass.SPEC_REFUSED),
        (Stage.ITERATE, "unable to find user nobody: no matching entries in passwd file", FaultClass.IMAGE_INVALID),
        (Stage.ITERATE, 'exec: "x": executable file not found in $PATH', FaultClass.COMMAND_NOT_FOUND),
        (Stage.ITERATE, "No such container: abc", FaultClass.CONTAINER_LOST),
        (Stage.ITERATE, "words that nobody has seen", FaultClass.ENGINE_FAULT),
    ],
)
def test_the_engines_words_become_a_fault_by_the_table(stage: Stage, words: str, kind: FaultClass) -> None:
    assert faults.classify(EngineRefusedError(500, words), stage) is kind


def test_silence_is_the_engines_fault_and_infrastructure_is_raised_as_the_hosts() -> None:
    silent = faults.fault_of(EngineSilentError("gone"), Stage.PULL, what="the image could not be pulled")
    assert (silent.kind, silent.message) == (FaultClass.ENGINE_UNAVAILABLE, "the image could not be pulled: gone")
    assert isinstance(faults.raised(silent), HostFault)
    refused = faults.fault_of(EngineRefusedError(404, "manifest unknown"), Stage.PULL, what="x")
    assert isinstance(faults.raised(refused), JobFault)


def test_an_ending_is_read_from_the_engines_state() -> None:
    state = {
        "ExitCode": 139,
        "OOMKilled": False,
        "StartedAt": "2026-01-02T03:04:05.100000001Z",
        "FinishedAt": "2026-01-02T03:04:06.35Z",
    }
    started = datetime(2026, 1, 2, 3, 4, 5, 100000, tzinfo=UTC)
    assert outcome.ending_of(state) == Ending(139, False, started, 1_249_999_999)
    assert outcome.ending_of(state).signal == "SIGSEGV"


@pytest.mark.parametrize(
    ("started", "finished"),
    [
        ("0001-01-01T00:00:00Z", "2026-01-02T03:04:06Z"),
        ("2026-01-02T03:04:06Z", "2026-01-02T03:04:05Z"),
        ("", "2026-01-02T03:04:05Z"),
        ("soon", "2026-01-02T03:04:05Z"),
    ],
)
def test_a_wall_time_that_cannot_be_told_is_none_and_never_zero(started: str, finished: str) -> None:
    assert outcome.ending_of({"ExitCode": 0, "StartedAt": started, "FinishedAt": finished}).wall_ns is None


def test_only_a_command_that_was_killed_and_not_for_memory_is_asked_about_again() -> None:
    states = [(137, False), (137, True), (139, False), (1, False), (0, False)]
    asked = [state for state in states if outcome.killed_without_reason({"ExitCode": state[0], "OOMKilled": state[1]})]
    assert asked == [(137, False)]


@pytest.mark.parametrize(
    ("exit_code", "oom", "cut", "stderr", "kind"),
    [
        (0, False, None, "", None),
        (0, True, None, "", None),
        (1, False, None, "", FaultClass.EXIT_CODE),
        (137, False, None, "", FaultClass.SIGNAL),
        (137, True, None, "", FaultClass.OUT_OF_MEMORY),
        (137, True, Cut.TIMEOUT, "", FaultClass.TIMEOUT),
        (0, False, Cut.DISK, "", FaultClass.DISK_LIMIT),
        (127, False, None, "sh: x: not found", FaultClass.EXIT_CODE),
        (127, False, None, "[FATAL tini (7)] exec x failed: No such file or directory", FaultClass.COMMAND_NOT_FOUND),
        (126, False, None, "[FATAL tini (7)] exec x failed: Exec format error", FaultClass.COMMAND_NOT_EXECUTABLE),
        (1, False, None, f"{CATATONIT}: No such file or directory\n", FaultClass.COMMAND_NOT_FOUND),
        (1, False, None, f"{CATATONIT}: Permission denied\n", FaultClass.COMMAND_NOT_EXECUTABLE),
        (1, False, None, f"before\n{CATATONIT}: Permission denied\n", FaultClass.EXIT_CODE),
        (2, False, None, f"{CATATONIT}: Permission denied\n", FaultClass.EXIT_CODE),
    ],
)
def test_what_we_did_to_a_container_comes_before_what_it_did(
    exit_code: int, oom: bool, cut: Cut | None, stderr: str, kind: FaultClass | None
) -> None:
    ending = Ending(exit_code, oom, None, None)
    fault = outcome.fault_of(ending, cut=cut, within_s=1, disk_bytes=1, program="x", stderr_end=stderr)
    assert (fault.kind if fault else None) is kind


@pytest.mark.parametrize(
    ("changes", "program"),
    [
        ({}, "entry"),
        ({"cmd": ("given",)}, "entry"),
        ({"entrypoint": ("mine",)}, "mine"),
        ({"entrypoint": (), "cmd": ("given",)}, "given"),
        ({"entrypoint": ()}, ""),
        ({"image": Image("own", "sha256:own", DIGEST, cmd=("own",))}, "own"),
    ],
)
def test_a_program_is_the_jobs_or_the_images_first_word(changes: dict[str, Any], program: str) -> None:
    image = Image("both", "sha256:both", DIGEST, entrypoint=("entry",), cmd=("own",))
    assert replace(order(), **{"image": image, **changes}).program == program


def test_a_container_without_any_command_is_told_as_such() -> None:
    ending = Ending(1, False, None, None)
    stderr = f"{CATATONIT}: No such file or directory\n"
    fault = outcome.fault_of(ending, cut=None, within_s=1, disk_bytes=1, program="", stderr_end=stderr)
    assert fault is not None
    assert (fault.kind, fault.message) == (
        FaultClass.NO_COMMAND,
        "the image has no command, and the job gives none",
    )


def test_pull_progress_is_the_sum_over_layers_and_never_goes_past_one() -> None:
    meter = PullMeter()
    assert (meter.fraction, meter.line) == (None, "asking the registry")
    for event in (
        {"status": "Pulling from x", "id": "latest"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1 << 20, "total": 4 << 20}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 0, "total": 4 << 20}},
        {"status": "Download complete", "id": "b"},
        {"status": "Extracting", "id": "b", "progressDetail": {"current": 1, "total": 9}},
    ):
        meter.feed(event)
    assert (meter.fraction, meter.line) == (0.625, "5.0 of 8.0 MiB in 2 layers")
    meter.feed({"error": "it broke"})
    assert meter.error == "it broke"


@given(
    st.dictionaries(st.uuids().map(str), st.tuples(st.integers(0, 100), st.floats(0, 100)), max_size=8),
    st.integers(0, 300),
)
def test_the_cache_gives_up_the_oldest_until_the_rest_fits_and_keeps_two(
    images: dict[str, tuple[int, float]], bytes_max: int
) -> None:
    entries = {image: Entry(("n",), size, used) for image, (size, used) in images.items()}
    gone = victims(entries, bytes_max=bytes_max)
    kept = {image: entry for image, entry in entries.items() if image not in gone}
    assert len(kept) >= min(2, len(entries))
    assert len(kept) <= 2 or sum(entry.size_bytes for entry in kept.values()) <= bytes_max
    if gone and kept:
        assert max(entries[image].used_s for image in gone) <= min(entry.used_s for entry in kept.values())


def test_a_container_whose_files_are_removed_while_they_are_looked_at_is_not_held_to_have_written(
    tmp_path: Path,
) -> None:
    removed, before = [str(tmp_path / "diff")], disk.Free(bytes=0, files=0, files_all=0)
    gauge = disk.NearGauge(removed, pid=1, limit_bytes=0, before=before, free_bytes_min=0)
    assert gauge.look() == disk.Look(disk.Found.WITHIN, disk.PAUSE_S_MAX)


def order(**changes: Any) -> IterationOrder:
    image = Image(reference="r", id="sha256:1", digest=DIGEST)
    fixed: dict[str, Any] = {"job": "j/1", "attempt": 2, "number": 3, "image": image, "spec": SPEC, "within_s": 1}
    return IterationOrder(**{**fixed, "limits": Limits(), **changes})


def body(placement: Placement | None = None, **changes: Any) -> dict[str, Any]:
    made = create.body(order(**changes), placement or Placement(), TERMS, network="none", cpus=4, quota=False)
    json.dumps(made)
    return made


TERMS = settings(identity="me", sandboxes={"gvisor": "runsc"})


def test_every_confinement_stands_in_the_body_of_every_container() -> None:
    host = body()["HostConfig"]
    assert host == {
        "CapDrop": ["ALL"],
        "Privileged": False,
        "Init": True,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Memory": SPEC.memory,
        "MemorySwap": SPEC.memory,
        "PidsLimit": TERMS.pids_max,
        "OomScoreAdj": 500,
        "ShmSize": TERMS.shm_bytes,
        "Ulimits": [
            {"Name": "nofile", "Soft": TERMS.nofile_max, "Hard": TERMS.nofile_max},
            {"Name": "core", "Soft": 1, "Hard": 1},
        ],
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "SecurityOpt": ["no-new-privileges:true"],
        "CpusetCpus": "3-3",
        "NetworkMode": "none",
        "Dns": ["127.0.0.1"],
        "DnsSearch": ["."],
    }


def test_a_quota_is_asked_for_where_the_file_system_could_have_one() -> None:
    made = create.body(order(), Placement(), TERMS, network="none", cpus=4, quota=True)
    assert made["HostConfig"] == body()["HostConfig"] | {"StorageOpt": {"size": str(SPEC.disk)}}


def test_a_placement_is_taken_as_it_is_and_a_sandbox_by_its_runtime() -> None:
    placement = Placement(cgroup_parent="bench.slice", security_options=("seccomp={}",))
    host = body(placement, spec=spec(sandbox="gvisor"))["HostConfig"]
    assert (host["CgroupParent"], host["Runtime"]) == ("bench.slice", "runsc")
    assert host["SecurityOpt"] == ["no-new-privileges:true", "seccomp={}"]
    assert "CpusetCpus" not in host


def test_labels_and_a_name_that_is_the_same_for_the_same_iteration() -> None:
    made = body()
    assert made["Labels"] == {
        "dev.runner-agent.identity": "me",
        "dev.runner-agent.job": "j/1",
        "dev.runner-agent.attempt": "2",
        "dev.runner-agent.iteration": "3",
    }
    assert create.name("me", order()) == "runner-me-j-1-2-3"


def test_a_sandbox_whose_runtime_the_engine_lacks_is_refused() -> None:
    facts = EngineFacts(
        name="Docker",
        version="1",
        api_version="1.41",
        cgroup_driver="cgroupfs",
        cgroup_version=2,
        storage_driver="overlay2",
        root_dir="/",
        runtimes=frozenset({"runc"}),
        default_runtime="runc",
        security=frozenset(),
        architecture="x86_64",
    )
    wanted = spec(sandbox="gvisor", uuid=uuid.uuid4())
    fault = create.refusal(wanted, facts, TERMS, cpus=4, memory=1 << 40)
    assert fault is not None
    assert (fault.kind, fault.message) == (
        FaultClass.SPEC_REFUSED,
        "spec.sandbox 'gvisor': the engine has no runtime 'runsc'",
    )
    assert create.refusal(spec(), facts, TERMS, cpus=4, memory=1 << 40) is None


def test_every_test_that_the_security_page_names_exists() -> None:
    page = (ROOT / "docs/security.md").read_text()
    tests = re.findall(r"def (test_\w+)", "".join(path.read_text() for path in ROOT.glob("tests/*/test_*.py")))
    named = re.findall(r"`(test_\w+)(_…)?`", page)
    assert named
    assert [name for name, _ in named if not any(test.startswith(name) for test in tests)] == []
    rows = {row for found in re.findall(r"hostile: ([^|;]+)", page) for row in re.findall(r"\*([^*]+)\*", found)}
    table = (ROOT / "tests/agent/test_hostile_images.py").read_text()
    assert [row for row in rows if row not in table] == []
