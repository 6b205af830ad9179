"""Images that mean harm, on a real engine: each is contained, each has a clear report, and says what bounded it.

`docs/security.md` is the promise; this is the table that keeps it.
"""

import platform
from dataclasses import dataclass, field

import pytest
from workbench import Workbench, settings, spec

from runner_agent.bench import OpenBench
from runner_agent.engine import PODMAN
from runner_agent.errors import HostFault
from runner_protocol.jobs import Limits
from runner_protocol.results import FaultClass

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

MIB = 1 << 20
PTRACE = {"x86_64": 101, "aarch64": 117}[platform.machine()]
KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]


@dataclass(frozen=True)
class Harm:
    """One way to do harm, and the end that it comes to."""

    bounded_by: str
    script: str
    fault: FaultClass | None
    within_s: float = 60
    spec: dict[str, object] = field(default_factory=dict)


HARMS = {
    "fork bomb": Harm("PidsLimit, then the timeout", "perl -e 'fork while 1'", FaultClass.TIMEOUT, within_s=2),
    "memory bomb": Harm(
        "Memory = MemorySwap; the kernel's OOM killer",
        "perl -e 'my @a; push @a, chr(65) x 1048576 while 1'",
        FaultClass.OUT_OF_MEMORY,
        spec={"memory": 32 * MIB},
    ),
    "disk filler": Harm(
        "the disk watch (spec.disk)",
        "dd if=/dev/zero of=/work/x bs=1M count=8192; echo HARM",
        FaultClass.DISK_LIMIT,
        spec={"memory": 512 * MIB},
    ),
    "disk filler that hides its file": Harm(
        "the disk watch, which sees open files without a name",
        "exec 3>/work/x; rm /work/x; dd if=/dev/zero bs=1M count=8192 >&3; echo HARM",
        FaultClass.DISK_LIMIT,
        spec={"memory": 512 * MIB},
    ),
    "maker of empty files": Harm(
        "the disk watch, which counts files too",
        "perl -e 'for (1..3000000) { open(F, q(>), qq(/work/$_)); close F }'; echo HARM",
        FaultClass.DISK_LIMIT,
        spec={"disk": 16 * MIB},
    ),
    "signal ignorer": Harm(
        "SIGKILL to the container's first process",
        "trap '' TERM INT HUP QUIT USR1 USR2; while true; do sleep 1; done",
        FaultClass.TIMEOUT,
        within_s=1,
    ),
    "escapee in a session of its own": Harm(
        "the PID namespace dies with its first process",
        "setsid sh -c 'sleep 6666' & setsid sh -c 'sleep 6666' & exit 5",
        FaultClass.EXIT_CODE,
    ),
    "child that holds stdout for ever": Harm(
        "the PID namespace dies with its first process", "sleep 6666 & exit 0", None
    ),
    "one that stops its own init": Harm(
        "the timeout; ptrace reaches no further than the container",
        f"perl -e 'syscall({PTRACE}, 16, 1, 0, 0); sleep 600'",
        FaultClass.TIMEOUT,
        within_s=1,
    ),
}

# What cannot be done at all, each with what forbids it. A script that gets its way says so.
ATTEMPTS = {
    "filling shared memory": ("ShmSize", "dd if=/dev/zero of=/dev/shm/x bs=1M count=65 && echo HARM; rm /dev/shm/x"),
    "setting the clock": ("no CAP_SYS_TIME", "date -s 2001-01-01; date +%Y | grep 2001 && echo HARM"),
    "mount": ("no CAP_SYS_ADMIN, seccomp", "mount -t tmpfs none /tmp && echo HARM"),
    "remount of /proc/sys": ("no CAP_SYS_ADMIN", "mount -o remount,rw /proc/sys && echo HARM"),
    "mount in a user namespace": ("seccomp", "unshare -Ur mount -t tmpfs none /tmp && echo HARM"),
    "new namespaces": ("no CAP_SYS_ADMIN, seccomp", "unshare -m true && echo HARM"),
    "chroot": ("no CAP_SYS_CHROOT", "chroot / true && echo HARM"),
    "device node": ("no CAP_MKNOD", "mknod /tmp/disk b 8 0 && echo HARM; mknod /tmp/mem c 1 1 && echo HARM"),
    "devices of the host": (
        "none is added",
        "for d in mem kmsg kvm sda vda; do test -e /dev/$d && echo HARM; done",
    ),
    "sysrq": ("/proc/sysrq-trigger is read-only", "echo h > /proc/sysrq-trigger && echo HARM"),
    "kernel settings": ("/proc/sys is read-only", "echo 1 > /proc/sys/kernel/panic && echo HARM"),
    "knobs of /sys": ("/sys is read-only", "echo 0 > /sys/kernel/mm/ksm/run && echo HARM"),
    "core handler": ("/proc/sys is read-only", "echo '|/bin/sh' > /proc/sys/kernel/core_pattern && echo HARM"),
    "core dump": (
        "RLIMIT_CORE",
        "cd /tmp; ulimit -c unlimited && echo HARM; perl -e 'kill SEGV => $$'; ls | grep core && echo HARM",
    ),
    "kernel memory": ("masked paths", "head -c 1 /proc/kcore | grep . && echo HARM; head -c 1 /dev/mem && echo HARM"),
    "raw socket": ("no CAP_NET_RAW", "ping -c 1 127.0.0.1 && echo HARM"),
    "packet socket": ("no CAP_NET_RAW", "perl -e 'use Socket; socket(S, 17, 3, 768) and print q(HARM)'"),
    "metadata address": ("no network", "wget -T 2 -O - http://169.254.169.254/latest/ && echo HARM"),
    "any address": ("no network", "ip -o link | grep -v LOOPBACK && echo HARM; nc -w 1 172.17.0.1 22 && echo HARM"),
    "ptrace of others": (
        "the PID namespace: nobody else is there",
        f"perl -e 'for (5000..9000) {{ syscall({PTRACE}, 16, $_, 0, 0) == 0 and print q(HARM) }}'",
    ),
    "kernel keyring": ("seccomp", f"perl -e 'syscall({KEYCTL}, 0, -3, 0) >= 0 and print q(HARM)'"),
    "bpf": ("seccomp", f"perl -e 'syscall({BPF}, 0, 0, 0) >= 0 and print q(HARM)'"),
    "setuid": ("no-new-privileges", "grep -q 'NoNewPrivs:.1' /proc/self/status || echo HARM"),
    "any capability": ("CapDrop ALL", "grep Cap /proc/self/status | grep -v ':.0*$' && echo HARM"),
    "the engine's socket": ("no mounts of the host", "ls /var/run/docker.sock /run/docker.sock && echo HARM"),
    "priority": ("no CAP_SYS_NICE", "nice -n -10 sh -c 'test $(nice) -lt 0 && echo HARM'"),
    "open files": (
        "RLIMIT_NOFILE",
        "perl -e 'my @f; while (open(my $f, q(<), q(/etc/passwd))) { push @f, $f } print q(HARM) if @f > 16384'",
    ),
    "freeing the cgroup": (
        "cgroups are mounted read-only",
        "for f in $(find /sys/fs/cgroup -name 'memory.*'); do echo -1 > $f && echo HARM; done",
    ),
}


@pytest.fixture
def bench(bench_image: str) -> Workbench:
    return Workbench(bench_image)


@pytest.mark.parametrize("name", HARMS)
async def test_harm_comes_to_its_end(bench: Workbench, name: str) -> None:
    harm = HARMS[name]
    record = await bench.sh("echo began; " + harm.script, within_s=harm.within_s, spec=spec(**harm.spec))
    assert record.stdout.text == "began\n"
    assert (record.fault.kind if record.fault else None) is harm.fault
    assert record.out_of_memory is (harm.fault is FaultClass.OUT_OF_MEMORY)
    assert await bench.engine.sweep() == 0


async def test_no_attempt_to_get_out_gets_its_way(bench: Workbench) -> None:
    scripts = [f'echo "=== {name}"; ( {script} ) 2>&1; echo' for name, (_, script) in ATTEMPTS.items()]
    record = await bench.sh("\n".join([*scripts, "echo '=== the end'"]))
    assert record.fault is None
    sections = dict(part.split("\n", 1) for part in record.stdout.text.split("=== ")[1:])
    assert list(sections) == [*ATTEMPTS, "the end"]
    assert {name: said for name, said in sections.items() if "HARM" in said} == {}


async def test_a_flood_of_output_is_capped_with_a_mark_and_costs_no_disk(bench: Workbench) -> None:
    # A thousand times the cap, and still within the minute on an emulated host.
    record = await bench.sh(
        "dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' 'x'; yes error | head -c 64000000 >&2",
        limits=Limits(stream_bytes_max=64 << 10),
    )
    assert record.exit_code == 0
    assert record.stdout.dropped_bytes == 64 * MIB - (64 << 10)
    assert record.stderr.dropped_bytes == 64_000_000 - (64 << 10)
    assert f"[… {record.stdout.dropped_bytes} bytes cut …]" in record.stdout.text
    assert len(record.stdout.text) < 66 << 10


async def test_output_that_is_not_utf8_is_replaced(bench: Workbench) -> None:
    record = await bench.sh("printf 'a\\377b'")
    assert record.stdout.text == "a\N{REPLACEMENT CHARACTER}b"


async def test_a_directory_of_very_many_files_is_refused_after_a_bounded_number(bench: Workbench) -> None:
    script = "perl -e 'mkdir q(d); for (1..5000) { open(F, q(>), qq(d/$_)); close F }'"
    record = await bench.sh(script, file_paths=("d/*.json", "d"))
    assert record.fault is not None
    assert (record.fault.kind, record.fault.message) == (
        FaultClass.FILE_REFUSED,
        "d/*.json: more than 1000 entries in /work/d",
    )
    assert len(record.files) == 1000


async def test_nothing_of_the_agent_reaches_a_container(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHER_RUNNER_KEY", "bencher_runner_secret")
    monkeypatch.setenv("HTTP_PROXY", "http://secret@127.0.0.1:1")
    record = await bench.sh("cat /etc/resolv.conf; env; cat /proc/*/environ /proc/*/cmdline; ls -A / /run 2>/dev/null")
    assert "secret" not in record.stdout.text + record.stderr.text
    assert "HOSTNAME=benchmark" in record.stdout.text.splitlines()
    servers = [line for line in record.stdout.text.splitlines() if line.startswith("nameserver")]
    # Podman writes none where there is no network.
    assert servers == ([] if (await bench.engine.facts()).name == PODMAN else ["nameserver 127.0.0.1"])


async def test_a_host_whose_disk_is_nearly_full_runs_nothing_and_blames_no_job(bench_image: str) -> None:
    bench = Workbench(bench_image)
    order = await bench.order()
    full = Workbench(bench_image, settings(disk_free_bytes_min=1 << 60))
    with pytest.raises(HostFault) as raised:
        await full.engine.run(order, OpenBench("a test"), print)
    assert raised.value.fault.kind is FaultClass.HOST_DISK_FULL
