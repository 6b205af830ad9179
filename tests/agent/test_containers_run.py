"""One iteration on a real engine: its command, its environment, its end, and the bench around it."""

import contextlib
import gc
import threading
import time
from typing import Any

import anyio
import docker
import images
import pytest
from agents import until
from registry import Registry
from workbench import Workbench, settings, spec

from runner_agent.bench import Bench, Observation, OpenBench, Placement
from runner_agent.containers import create
from runner_agent.containers.box import fresh
from runner_agent.containers.door import Door
from runner_agent.containers.streams import Capture
from runner_agent.errors import JobFault
from runner_protocol.results import CapturedText, Fault, FaultClass, Stage, Verdict, Word

pytestmark = [pytest.mark.docker, pytest.mark.anyio]


@pytest.fixture
def bench(bench_image: str) -> Workbench:
    return Workbench(bench_image)


async def test_an_image_runs_its_own_command_and_a_job_may_give_another(bench: Workbench) -> None:
    own = await bench.run()
    given = await bench.run(cmd=("echo", "given"))
    assert (own.stdout, given.stdout) == (
        CapturedText(text="the image's own command\n"),
        CapturedText(text="given\n"),
    )
    assert own.succeeded
    assert own.fault is None


async def test_an_entrypoint_of_the_job_drops_the_images_cmd_as_docker_does(
    bench: Workbench, registry: Registry
) -> None:
    reference = registry.push("tests/entry", images.image(Entrypoint=["echo", "entry"], Cmd=["own"]))
    said = [
        (await bench.run(reference=reference, **changes)).stdout.text
        for changes in (
            {},
            {"cmd": ("given",)},
            {"entrypoint": ("echo", "mine")},
            {"entrypoint": ("echo",), "cmd": ("both",)},
        )
    ]
    assert said == ["entry own\n", "entry given\n", "mine\n", "both\n"]


async def test_user_workdir_and_environment_are_the_images_with_the_jobs_on_top(
    bench: Workbench, registry: Registry
) -> None:
    image = images.image(
        Cmd=["sh", "-c", "id -un; pwd; env | sort"], User="bench", WorkingDir="/tmp", Env=["PATH=/bin", "A=1", "B=1"]
    )
    record = await bench.run(reference=registry.push("tests/env", image), env={"B": "2", "C": "3"})
    lines = ["bench", "/tmp", "A=1", "B=2", "C=3", "HOME=/work", "HOSTNAME=benchmark", "PATH=/bin"]
    others = ("PWD=", "SHLVL=", "TERM=", "container=")  # The shell's and Podman's.
    assert [line for line in record.stdout.text.splitlines() if not line.startswith(others)] == lines


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 3", Fault(kind=FaultClass.EXIT_CODE, stage=Stage.ITERATE, message="exit code 3", exit_code=3)),
        (
            "kill -SEGV $$",
            Fault(
                kind=FaultClass.SIGNAL,
                stage=Stage.ITERATE,
                message="ended by SIGSEGV",
                exit_code=139,
                signal="SIGSEGV",
            ),
        ),
    ],
)
async def test_an_end_that_is_not_good_says_how(bench: Workbench, script: str, expected: Fault) -> None:
    record = await bench.sh(f"echo before; {script}")
    assert record.fault == expected.model_copy(update={"iteration": record.number})
    assert (record.exit_code, record.signal, record.stdout.text) == (expected.exit_code, expected.signal, "before\n")


@pytest.mark.parametrize(
    ("entrypoint", "kind", "message"),
    [
        (("/bin/nope",), FaultClass.COMMAND_NOT_FOUND, "/bin/nope: No such file or directory"),
        (("/etc/passwd",), FaultClass.COMMAND_NOT_EXECUTABLE, "/etc/passwd: Permission denied"),
        (("/work",), FaultClass.COMMAND_NOT_EXECUTABLE, "/work: Permission denied"),
    ],
)
async def test_a_command_that_never_began_has_no_exit_code(
    bench: Workbench, entrypoint: tuple[str, ...], kind: FaultClass, message: str
) -> None:
    record = await bench.run(entrypoint=entrypoint)
    assert record.fault is not None
    assert (record.fault.kind, record.fault.message) == (kind, message)
    assert (record.exit_code, record.wall_ns) == (None, None)


async def test_an_image_with_nothing_to_run_is_named_as_such(bench: Workbench, registry: Registry) -> None:
    record = await bench.run(reference=registry.push("tests/nothing", images.image()))
    assert record.fault is not None
    assert record.fault.kind is FaultClass.NO_COMMAND
    assert record.exit_code is None


async def test_an_image_whose_user_does_not_exist_is_invalid(bench: Workbench, registry: Registry) -> None:
    record = await bench.run(reference=registry.push("tests/nobody", images.image(Cmd=["true"], User="nobody-here")))
    assert record.fault is not None
    assert record.fault.kind is FaultClass.IMAGE_INVALID


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "\0"}])
async def test_what_no_process_can_be_given_is_refused(bench: Workbench, env: dict[str, str]) -> None:
    record = await bench.run(env=env)
    assert record.fault is not None
    assert record.fault.kind is FaultClass.SPEC_REFUSED


async def test_a_timeout_kills_everything_and_keeps_the_output(bench: Workbench) -> None:
    record = await bench.sh("echo so far; trap '' TERM INT HUP; setsid sleep 600 & sleep 600", within_s=1)
    assert record.timed_out
    assert record.fault is not None
    assert record.fault.kind is FaultClass.TIMEOUT
    assert record.stdout.text == "so far\n"
    assert record.wall_ns is not None
    # The exact figure is benchmarks/overhead.py's; here a machine may be busy, but 600 s it cannot be.
    assert 10**9 <= record.wall_ns < 30 * 10**9


async def test_an_output_is_let_go_of_when_its_record_is_made(bench: Workbench) -> None:
    record = await bench.sh("head -c 4000000 /dev/zero")
    held = [found._streams for found in gc.get_objects() if isinstance(found, Capture)]
    assert (len(record.stdout.text), held) == (4_000_000, [{}] * len(held))


async def test_the_wall_time_is_the_commands_own(bench: Workbench) -> None:
    record = await bench.sh("sleep 1")
    assert record.wall_ns is not None
    assert record.wall_ns >= 500_000_000  # The engine stamps the start after the fact: late, on a busy machine.
    assert record.started is not None


async def test_cancelling_leaves_no_container(bench: Workbench) -> None:
    order = await bench.order(entrypoint=("sleep", "600"), cmd=())
    with anyio.move_on_after(2) as scope:
        await bench.engine.run(order, OpenBench("a test"), print)
    assert scope.cancelled_caught
    assert await bench.engine.sweep() == 0


class LateDoor(Door):
    """A door whose engine takes its time to make a container, and tells when it has."""

    def __init__(self) -> None:
        super().__init__(None, call_s_max=60)
        self.asked, self.made = threading.Event(), threading.Event()

    def ask(self, method: str, path: str, *, within_s: float | None = None, **what: Any) -> Any:
        if path != "/containers/create":
            return super().ask(method, path, within_s=within_s, **what)
        self.asked.set()
        time.sleep(0.3)
        answer = super().ask(method, path, within_s=within_s, **what)
        self.made.set()
        return answer


async def test_a_container_whose_creation_was_under_way_when_the_job_was_killed_is_removed(bench: Workbench) -> None:
    order, door = await bench.order(cmd=()), LateDoor()
    name, labels = create.name(bench.settings.identity, order), create.labels(bench.settings.identity, order)
    body = create.body(order, Placement(), bench.settings, network="none", cpus=1, quota=False) | {"Labels": labels}
    async with anyio.create_task_group() as tasks:

        async def held() -> None:
            async with fresh(door, name, body):
                await anyio.sleep_forever()

        tasks.start_soon(held)
        await until(door.asked.is_set)
        tasks.cancel_scope.cancel()
    await until(door.made.is_set)
    assert await bench.engine.sweep() == 0
    door.close()


async def test_sweeping_removes_ones_own_and_keeps_the_others_and_the_kept_job(
    bench: Workbench, bench_image: str
) -> None:
    other = Workbench(bench_image)
    for one in (bench, other):
        await _leave_behind(one)
    assert await bench.engine.sweep(keep_job=bench.job) == 0
    assert await bench.engine.sweep() == 2
    assert await bench.engine.sweep() == 0
    assert await other.engine.sweep() == 2


async def _leave_behind(one: Workbench) -> None:
    """A running container and a network, as an agent leaves them that was killed."""
    order = await one.order(entrypoint=("sleep", "600"), cmd=())
    labels = create.labels(one.settings.identity, order)
    body = create.body(order, Placement(), one.settings, network="none", cpus=1, quota=False)
    door = Door(None, call_s_max=60)
    made = door.ask("POST", "/containers/create", json=body)
    door.ask("POST", f"/containers/{made['Id']}/start")
    door.ask("POST", "/networks/create", json={"Name": create.name(one.settings.identity, order), "Labels": labels})
    door.close()


class ListeningBench:
    """A bench that writes down how it was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.record = OpenBench("a test").record

    async def prepare(self, number: int) -> Placement:
        self.calls.append(f"prepare {number}")
        return Placement(cpuset_cpus="0")

    async def begin(self) -> None:
        self.calls.append("begin")

    async def started(self, pid: int) -> None:
        assert pid > 1
        self.calls.append("started")

    async def end(self) -> Observation:
        self.calls.append("end")
        return Observation(Verdict(word=Word.QUIET), cpu_ns=7, memory_peak_bytes=9)


async def test_the_bench_is_asked_in_order_and_its_observation_is_in_the_record(bench: Workbench) -> None:
    watching = ListeningBench()
    typed: Bench = watching
    record = await bench.sh("grep Cpus_allowed_list /proc/self/status; sleep 0.5", bench=typed)
    assert watching.calls == ["prepare 1", "begin", "started", "end"]
    assert record.stdout.text.split() == ["Cpus_allowed_list:", "0"]
    assert (record.verdict, record.cpu_ns, record.memory_peak_bytes) == (Verdict(word=Word.QUIET), 7, 9)


async def test_a_bench_is_ended_also_when_no_container_came_of_it(bench: Workbench) -> None:
    watching = ListeningBench()
    await bench.run(bench=watching, env={"": "x"})
    assert watching.calls == ["prepare 1", "end"]


@pytest.mark.parametrize(
    "changes",
    [
        {"os": "windows"},
        {"architecture": "riscv64"},
        {"sandbox": "gvisor"},
        {"cpu": 4096},
        {"memory": 1 << 60},
    ],
)
async def test_a_spec_that_this_host_cannot_give_is_refused_and_never_weakened(
    bench: Workbench, changes: dict[str, object]
) -> None:
    with pytest.raises(JobFault) as refused:
        await bench.pull(spec=spec(**changes))
    assert refused.value.fault.kind is FaultClass.SPEC_REFUSED
    (field,) = changes
    assert f"spec.{field}" in refused.value.fault.message


class RuntimeBench(OpenBench):
    """Asks the engine what it runs an iteration's container under."""

    def __init__(self, identity: str) -> None:
        super().__init__("a test")
        self._identity = identity
        self.runtime = ""

    async def started(self, pid: int) -> None:
        with contextlib.closing(docker.APIClient()) as client:
            [found] = client.containers(filters={"label": f"{create.IDENTITY_LABEL}={self._identity}"})
            self.runtime = client.inspect_container(found["Id"])["HostConfig"]["Runtime"]


async def test_a_job_that_asks_for_a_sandbox_runs_under_its_runtime(bench_image: str) -> None:
    bench = Workbench(bench_image, settings(sandboxes={"walled": "io.containerd.runc.v2"}))
    looking = RuntimeBench(bench.settings.identity)
    record = await bench.sh("sleep 1", bench=looking, spec=spec(sandbox="walled"))
    assert (record.fault, looking.runtime) == (None, "io.containerd.runc.v2")
