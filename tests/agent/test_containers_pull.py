"""Pulls from real registries: who may, what comes, and what bad days do to it."""

import base64
import contextlib
import ipaddress
import json
import random
import shutil
import stat
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import images
import pytest
import registry as registries
from pydantic import SecretStr
from registry import Registry
from registry_gate import TOKEN, Fault, Gate, gated
from workbench import Workbench, settings, spec

from runner_agent.bench import Placement
from runner_agent.containers import create
from runner_agent.containers.box import fresh
from runner_agent.containers.engine import _name
from runner_agent.engine import PODMAN
from runner_agent.errors import HostFault, JobFault
from runner_protocol.jobs import RegistryAuth
from runner_protocol.results import FaultClass

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

# An engine keeps layers of an earlier session, if that one was killed; no image here may be like one of those.
SESSION = uuid.uuid4().hex
BASIC = RegistryAuth(username=registries.USER, password=SecretStr(registries.PASSWORD))


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a password."""
    with registries.serving(tmp_path_factory.mktemp("private"), password=True) as serving:
        yield serving


@pytest.fixture
def gate(registry: Registry) -> Iterator[Gate]:
    with gated(registry) as gate:
        yield gate


@pytest.fixture
def token_gate(registry: Registry) -> Iterator[Gate]:
    with gated(registry, tokens=True) as gate:
        yield gate


def unique(name: str, size: int = 100) -> images.OciImage:
    """An image that no other test has pulled: a layer of its own, of about this size, that does not compress."""
    return images.image(images.layer({"noise": random.Random(f"{name} {SESSION}").randbytes(size)}), Cmd=["true"])


async def fault_of(bench: Workbench, reference: str | None = None, **changes: Any) -> FaultClass:
    try:
        await bench.pull(reference, **changes)
    except (JobFault, HostFault) as error:
        return error.fault.kind
    return pytest.fail("it was pulled")


async def test_by_tag_or_digest_the_digest_of_what_will_run_comes_back(registry: Registry) -> None:
    image = unique("by tag")
    by_tag = registry.push("pull/pinned", image, tag="v1")
    bench = Workbench(by_tag)
    found = await bench.pull()
    assert (found.reference, found.digest, found.cmd) == (by_tag, image.digest, ("true",))
    by_digest = f"{registry.host}/pull/pinned@{image.digest}"
    assert (await bench.pull(by_digest)).id == found.id


async def test_an_engine_that_answers_no_question_of_digests_resolves_as_it_fetches(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner_agent.containers.engine._name", lambda _version: PODMAN)
    image, later = unique("podman"), unique("podman, later")
    by_tag = registry.push("pull/podman", image, tag="v1")
    bench = Workbench(by_tag)
    found = await bench.pull()
    assert (found.reference, found.digest, found.cmd) == (by_tag, image.digest, ("true",))
    assert (await bench.pull(f"{registry.host}/pull/podman@{image.digest}")).id == found.id
    registry.push("pull/podman", later, tag="v1")
    assert (await bench.pull()).digest == later.digest
    assert await fault_of(bench, f"{registry.host}/pull/podman:nowhere") is FaultClass.IMAGE_NOT_FOUND


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ({"Platform": {"Name": "Docker Engine - Community"}}, "Docker Engine - Community"),
        ({"Platform": {"Name": ""}, "Components": [{"Name": "Engine"}]}, "Docker"),
        ({"Platform": {"Name": "linux/amd64/debian-12"}, "Components": [{"Name": "Podman Engine"}]}, PODMAN),
    ],
)
def test_an_engines_name_is_not_its_hosts_platform(version: dict[str, Any], name: str) -> None:
    assert _name(version) == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("{host}/pull/nowhere:1", FaultClass.IMAGE_NOT_FOUND),
        ("{host}/tests/bench:nowhere", FaultClass.IMAGE_NOT_FOUND),
        ("{host}/tests/bench@sha256:" + "0" * 64, FaultClass.IMAGE_NOT_FOUND),
        ("{host}/UPPER:1", FaultClass.IMAGE_INVALID),
        ("no reference at all", FaultClass.IMAGE_INVALID),
        ("127.0.0.1:1/nobody/listens", FaultClass.REGISTRY_UNAVAILABLE),
    ],
)
async def test_what_is_not_there_is_said_at_once_or_at_the_end_of_the_budget(
    bench_image: str, registry: Registry, name: str, kind: FaultClass
) -> None:
    assert await fault_of(Workbench(bench_image), name.format(host=registry.host), within_s=3) is kind


async def test_an_image_for_other_platforms_is_refused_by_name(registry: Registry) -> None:
    here, there = unique("here"), images.OciImage(images.image().layers, {}, "riscv64")
    bench = Workbench(registry.push_index("pull/both", "1", there, here))
    assert (await bench.pull()).cmd == ("true",)
    elsewhere = registry.push_index("pull/elsewhere", "1", there)
    with pytest.raises(JobFault) as refused:
        await bench.pull(elsewhere)
    assert refused.value.fault.kind is FaultClass.WRONG_PLATFORM
    assert f"{elsewhere} has linux/riscv64" in refused.value.fault.message
    assert await fault_of(bench, registry.push("pull/single", there)) is FaultClass.WRONG_PLATFORM


async def test_a_layer_that_is_no_layer_makes_the_image_invalid(registry: Registry) -> None:
    broken = images.OciImage((b"no tar, no gzip",), {"Cmd": ["true"]})
    assert await fault_of(Workbench(registry.push("pull/broken", broken))) is FaultClass.IMAGE_INVALID
    torn = images.OciImage((images.system()[:100_000],), {"Cmd": ["true"]})
    assert await fault_of(Workbench(registry.push("pull/torn", torn))) is FaultClass.IMAGE_INVALID


async def test_a_password_is_the_jobs_own_or_the_hosts(private: Registry, tmp_path: Path) -> None:
    reference = private.push("pull/private", unique("private"))
    anonymous = Workbench(reference, settings(docker_config=tmp_path / "none.json"))
    assert await fault_of(anonymous) is FaultClass.IMAGE_REFUSED
    wrong = RegistryAuth(username="bench", password=SecretStr("wrong"))
    assert await fault_of(anonymous, reference, auth=wrong) is FaultClass.IMAGE_REFUSED
    assert (await anonymous.pull(auth=BASIC)).cmd == ("true",)
    # It is on this host now. Who may not pull it may still not run it.
    assert await fault_of(anonymous) is FaultClass.IMAGE_REFUSED

    config = tmp_path / "config.json"
    packed = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()
    config.write_text(json.dumps({"auths": {private.host: {"auth": packed}}}))
    assert (await Workbench(reference, settings(docker_config=config)).pull()).cmd == ("true",)


@pytest.fixture
def tls_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with its own certificate on the engine's bridge, where the liberties of loopback end."""
    with contextlib.closing(docker.APIClient()) as client:
        subnet = client.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"]
    address = str(ipaddress.ip_network(subnet)[1])
    certificate = tmp_path / "registry"
    subject = ["-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{address}"]
    files = ["-keyout", f"{certificate}.key", "-out", f"{certificate}.crt"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    with registries.serving(tmp_path, address=address, certificate=certificate) as serving:
        yield serving


@pytest.fixture
def trusted(tls_registry: Registry) -> Iterator[Callable[[], object]]:
    """Makes the engine trust that registry's certificate, until the test ends."""
    folder = Path("/etc/docker/certs.d") / tls_registry.host
    folder.mkdir(parents=True)
    yield lambda: shutil.copy(f"{tls_registry.certificate}.crt", folder / "ca.crt")
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


async def test_a_private_certificate_is_trusted_where_the_hosts_owner_says_so(
    tls_registry: Registry, trusted: Callable[[], object]
) -> None:
    bench = Workbench(tls_registry.push("pull/tls", unique("tls")))
    with pytest.raises(JobFault) as refused:
        await bench.pull()
    assert refused.value.fault.kind is FaultClass.IMAGE_REFUSED
    assert "x509" in refused.value.fault.message
    trusted()
    assert (await bench.pull()).cmd == ("true",)


async def test_plain_http_is_for_loopback_alone(tls_registry: Registry, tmp_path: Path) -> None:
    address, _, _ = tls_registry.host.partition(":")
    (tmp_path / "plain").mkdir()
    with registries.serving(tmp_path / "plain", address=address) as plain:
        bench = Workbench(plain.push("pull/plain", unique("plain")))
        assert await fault_of(bench) is FaultClass.IMAGE_REFUSED


async def test_a_credential_helper_of_the_host_is_asked(
    private: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = private.push("pull/helped", unique("helped"))
    helper = tmp_path / "docker-credential-tests"
    answer = json.dumps({"ServerURL": private.host, "Username": registries.USER, "Secret": registries.PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {private.host: "tests"}}))
    assert (await Workbench(reference, settings(docker_config=config)).pull()).cmd == ("true",)
    config.write_text(json.dumps({"credHelpers": {private.host: "absent"}}))
    assert await fault_of(Workbench(reference, settings(docker_config=config)), reference) is FaultClass.HOST_FAULT


async def test_a_token_is_fetched_with_the_password_or_used_as_it_stands(registry: Registry, token_gate: Gate) -> None:
    registry.push("pull/tokens", unique("tokens"))
    reference = f"{token_gate.host}/pull/tokens:latest"
    bench = Workbench(reference)
    assert await fault_of(bench, reference) is FaultClass.IMAGE_REFUSED
    assert (await bench.pull(auth=BASIC)).cmd == ("true",)
    asked_for_tokens = len(token_gate.paths("/token?"))
    assert (await bench.pull(auth=RegistryAuth(token=SecretStr(TOKEN)))).cmd == ("true",)
    assert len(token_gate.paths("/token?")) == asked_for_tokens
    stale = RegistryAuth(token=SecretStr("stale"))
    assert await fault_of(bench, reference, auth=stale) is FaultClass.IMAGE_REFUSED


@pytest.mark.parametrize("status", [429, 503])
async def test_a_registry_that_is_busy_is_asked_again(registry: Registry, gate: Gate, status: int) -> None:
    registry.push("pull/busy", unique(f"busy {status}"))
    gate.faults.append(Fault(lambda path: "manifests" in path, times=3, status=status))
    said: list[str] = []
    bench = Workbench(f"{gate.host}/pull/busy:latest")
    found = await bench.pull(progress=lambda _, line: said.append(line))
    assert found.cmd == ("true",)
    assert any("trying again" in line for line in said), said


async def test_a_registry_that_stays_busy_is_the_infrastructures_fault(registry: Registry, gate: Gate) -> None:
    registry.push("pull/down", unique("down"))
    gate.faults.append(Fault(lambda path: "manifests" in path, times=1000, status=503))
    with pytest.raises(HostFault) as raised:
        await Workbench(f"{gate.host}/pull/down:latest").pull(within_s=4)
    assert raised.value.fault.kind is FaultClass.REGISTRY_UNAVAILABLE
    assert "503" in raised.value.fault.message


async def test_a_line_that_drops_in_a_layer_is_taken_up_in_its_middle(registry: Registry, gate: Gate) -> None:
    image = unique("dropped", size=3 << 20)
    registry.push("pull/dropped", image)
    layer = images.digest(image.layers[-1])
    gate.faults.append(Fault(lambda path: layer in path, cut_after_bytes=len(image.layers[-1]) // 2))
    assert (await Workbench(f"{gate.host}/pull/dropped:latest").pull()).cmd == ("true",)
    ranges = [asked.range for asked in gate.paths(layer)]
    assert len(ranges) == 2
    assert ranges[1] is not None, "the second request begins at the beginning"


async def test_a_registry_that_stalls_is_left_and_asked_again(registry: Registry, gate: Gate) -> None:
    image = unique("stalled")
    registry.push("pull/stalled", image)
    gate.faults.append(Fault(lambda path: images.digest(image.layers[-1]) in path, stall_s=8))
    bench = Workbench(f"{gate.host}/pull/stalled:latest", settings(stall_s_max=2))
    assert (await bench.pull()).cmd == ("true",)


async def test_a_wrong_digest_makes_the_image_invalid(registry: Registry, gate: Gate) -> None:
    image, other = unique("right"), unique("wrong")
    registry.push("pull/wrong", image)
    gate.faults.append(Fault(lambda path: "manifests/sha256" in path, times=1000, body=other.manifest))
    reference = f"{gate.host}/pull/wrong@{image.digest}"
    assert await fault_of(Workbench(reference), reference, within_s=10) is FaultClass.IMAGE_INVALID
    gate.faults.clear()
    layer = images.digest(image.layers[-1])
    gate.faults.append(Fault(lambda path: layer in path, times=1000, body=other.layers[-1]))
    assert await fault_of(Workbench(reference), reference, within_s=30) is FaultClass.IMAGE_INVALID


async def test_a_mirror_is_asked_first_and_the_origin_where_it_fails(registry: Registry, gate: Gate) -> None:
    reference = registry.push("pull/mirrored", unique("mirrored"))
    bench = Workbench(reference, settings(mirror=gate.host))
    assert (await bench.pull()).reference == reference
    assert gate.paths("pull/mirrored/blobs")
    own = registry.push("pull/unmirrored", unique("unmirrored"))
    gate.faults.append(Fault(lambda path: "unmirrored" in path, times=1000, status=500))
    assert (await bench.pull(own)).reference == own


async def test_progress_is_told_with_bytes(registry: Registry) -> None:
    reference = registry.push("pull/progress", unique("progress", size=30 << 20))
    told: list[tuple[float | None, str]] = []
    await Workbench(reference).pull(progress=lambda fraction, line: told.append((fraction, line)))
    assert told[0] == (None, "asking the registry")
    assert all(fraction is None or 0 <= fraction <= 1 for fraction, _ in told)


async def test_the_least_recently_used_image_of_ours_goes_and_no_other(registry: Registry, tmp_path: Path) -> None:
    names = [registry.push(f"pull/lru{n}", unique(f"lru {n}", size=1 << 20)) for n in range(4)]
    strangers = Workbench(names[0])
    foreign = await strangers.pull(names[0])
    bench = Workbench(names[1], settings(state_dir=tmp_path))
    first, second, third = [await bench.pull(name) for name in (names[1], names[2], names[3])]
    # A new agent on the same ledger knows what the old one pulled; its bound is far too small, and two stay.
    again = Workbench(names[0], settings(state_dir=tmp_path, cache_bytes_max=1))
    facts = await again.engine.facts()
    assert (facts.cached_images, facts.cached_bytes > 3 << 20) == (3, True)
    await again.pull(names[0])
    assert [await exists(again, image.id) for image in (foreign, first, second, third)] == [True, False, True, True]


async def test_an_image_that_a_container_uses_stays_though_it_is_the_least_recently_used(
    registry: Registry, tmp_path: Path
) -> None:
    names = [registry.push(f"pull/used{n}", unique(f"used {n}", size=1 << 20)) for n in range(4)]
    bench = Workbench(names[0], settings(state_dir=tmp_path))
    order = await bench.order(entrypoint=("sleep", "600"), cmd=())
    oldest, second, *_ = [await bench.pull(name) for name in names]
    tight = Workbench(names[3], settings(state_dir=tmp_path, cache_bytes_max=1))
    body = create.body(order, Placement(), bench.settings, network="none", cpus=1, quota=False)
    async with fresh(bench.engine._door, create.name(bench.settings.identity, order), body) as box:
        await box.start()
        await tight.pull(names[3])
        assert [await exists(bench, image.id) for image in (oldest, second)] == [True, False]
    await tight.pull(names[3])
    assert not await exists(bench, oldest.id)


async def test_a_host_without_room_pulls_nothing(registry: Registry, gate: Gate) -> None:
    registry.push("pull/full", unique("full"))
    reference = f"{gate.host}/pull/full:latest"
    bench = Workbench(reference, settings(disk_free_bytes_min=1 << 60))
    assert await fault_of(bench, reference) is FaultClass.HOST_DISK_FULL
    assert gate.paths("blobs/" + images.digest(unique("full").layers[-1])) == []


async def test_a_layer_that_unpacks_to_more_than_the_cache_is_broken_off(registry: Registry) -> None:
    bomb = images.image(images.layer({f"zeros{n}": bytes(64 << 20) for n in range(4)}), Cmd=["true"])
    reference = registry.push("pull/bomb", bomb)
    bench = Workbench(reference, settings(cache_bytes_max=32 << 20))
    assert await fault_of(bench, reference) is FaultClass.IMAGE_REFUSED


async def exists(bench: Workbench, image: str) -> bool:
    record = await bench.engine._door.call(lambda: bench.engine._door.ask("GET", "/images/json"))
    return any(found["Id"] == image for found in record)


async def test_a_spec_is_checked_before_the_pull(bench_image: str) -> None:
    assert await fault_of(Workbench(bench_image), bench_image, spec=spec(os="plan9")) is FaultClass.SPEC_REFUSED
