"""Images that mean harm, on a real engine: each is contained, each has a clear report, and says what bounded it.

`docs/security.md` is the promise; this is the table that keeps it.
"""

import os
import platform
from dataclasses import dataclass, field

import pytest
from workbench import Workbench, spec

from runner_protocol.jobs import Limits
from runner_protocol.results import FaultClass

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

MIB = 1 << 20
PTRACE = {"x86_64": 101, "aarch64": 117}[platform.machine()]
KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]


@dataclass(frozen=True)
class Harm:
    """One way to do harm, and its end."""

    bounded_by: str
    script: str
    fault: FaultClass | None = None
    says: tuple[str, ...] = ()
    """What must stand in its output."""
    never_says: tuple[str, ...] = ("HARM",)
    within_s: float = 60
    spec: dict[str, object] = field(default_factory=dict)


SUITE = {
    "fork bomb": Harm("PidsLimit, then the timeout", "f() { f | f & }; f; sleep 60", FaultClass.TIMEOUT, within_s=3),
    "memory bomb": Harm(
        "Memory = MemorySwap; the kernel's OOM killer",
        "perl -e 'my @a; push @a, chr(65) x 1048576 while 1'",
        FaultClass.OUT_OF_MEMORY,
        spec={"memory": 32 * MIB},
    ),
    "memory bomb in shared memory": Harm(
        "ShmSize, and what is in it counts as memory",
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=4096 2>&1; df -m /dev/shm | tail -1",
        says=("No space left on device",),
    ),
    "disk filler": Harm(
        "the disk watch (spec.disk)",
        "dd if=/dev/zero of=/work/x bs=1M count=8192; echo HARM",
        FaultClass.DISK_LIMIT,
        spec={"memory": 512 * MIB},
    ),
    "disk filler that hides its files": Harm(
        "the disk watch sees free space, not names",
        "exec 3>/work/x; rm /work/x; dd if=/dev/zero bs=1M count=8192 >&3; echo HARM",
        FaultClass.DISK_LIMIT,
        spec={"memory": 512 * MIB},
    ),
    "signal ignorer": Harm(
        "SIGKILL to the container's first process",
        "trap '' TERM INT HUP QUIT USR1 USR2; while true; do sleep 1; done",
        FaultClass.TIMEOUT,
        within_s=2,
    ),
    "escapee in a session of its own": Harm(
        "the PID namespace dies with its first process",
        "setsid sh -c 'sleep 6666' & setsid sh -c 'sleep 6666' & exit 5",
        FaultClass.EXIT_CODE,
    ),
    "child that holds stdout for ever": Harm(
        "the PID namespace dies with its first process", "sleep 6666 & echo left; exit 0", says=("left",)
    ),
    "clock changer": Harm(
        "no CAP_SYS_TIME", "date -s 2001-01-01; date +%Y | grep 2001 && echo HARM; true", says=("not permitted",)
    ),
    "mount": Harm("no CAP_SYS_ADMIN, seccomp", "mount -t tmpfs none /tmp && echo HARM"),
    "remount of /proc/sys": Harm("no CAP_SYS_ADMIN", "mount -o remount,rw /proc/sys && echo HARM"),
    "mount in a user namespace": Harm("seccomp", "unshare -Ur mount -t tmpfs none /tmp && echo HARM"),
    "new namespaces": Harm("no CAP_SYS_ADMIN, seccomp", "unshare -m true && echo HARM"),
    "leaving by chroot": Harm("no CAP_SYS_CHROOT", "chroot / true && echo HARM"),
    "device node": Harm("no CAP_MKNOD", "mknod /tmp/disk b 8 0 && echo HARM; mknod /tmp/mem c 1 1 && echo HARM"),
    "existing devices": Harm(
        "only the engine's harmless devices are there",
        "ls /dev; for d in mem kmsg kvm sda vda fuse; do test -e /dev/$d && echo HARM; done",
    ),
    "sysrq": Harm("/proc/sysrq-trigger is read-only", "echo c > /proc/sysrq-trigger && echo HARM"),
    "kernel settings": Harm(
        "/proc/sys and /sys are read-only",
        "echo 1 > /proc/sys/kernel/panic && echo HARM; echo 0 > /sys/kernel/mm/ksm/run && echo HARM",
    ),
    "core handler": Harm("/proc/sys is read-only", "echo '|/bin/sh' > /proc/sys/kernel/core_pattern && echo HARM"),
    "core dump": Harm(
        "RLIMIT_CORE",
        "ulimit -c unlimited && echo HARM; perl -e 'kill SEGV => $$'; ls; ulimit -c",
        never_says=("HARM", "core"),
    ),
    "raw socket": Harm("no CAP_NET_RAW", "ping -c 1 127.0.0.1 && echo HARM"),
    "packet socket": Harm(
        "no CAP_NET_RAW", "perl -e 'use Socket; socket(S, 17, 3, 768) and print qq(HARM\\n); print qq($!\\n)'"
    ),
    "metadata address": Harm("no network", "wget -T 2 -O - http://169.254.169.254/latest/ && echo HARM; true"),
    "any address": Harm("no network", "ip -o link | grep -v LOOPBACK && echo HARM; nc -w 1 172.17.0.1 22 && echo HARM"),
    "ptrace of the first process": Harm(
        "it reaches only its own container, and the timeout ends that",
        f"perl -e 'syscall({PTRACE}, 16, 1, 0, 0); sleep 600'",
        FaultClass.TIMEOUT,
        within_s=2,
    ),
    "ptrace of everybody": Harm(
        "the PID namespace: nobody else is there",
        f"perl -e 'for (20..5000) {{ syscall({PTRACE}, 16, $_, 0, 0) == 0 and print qq(HARM $_\n) }}'",
    ),
    "kernel keyring": Harm(
        "seccomp", f"perl -e 'syscall({KEYCTL}, 0, -3, 0) >= 0 and print qq(HARM\\n); print qq($!\\n)'"
    ),
    "bpf": Harm("seccomp", f"perl -e 'syscall({BPF}, 0, 0, 0) >= 0 and print qq(HARM\\n); print qq($!\\n)'"),
    "setuid": Harm(
        "no-new-privileges, no CAP_SETUID",
        "cp /bin/busybox /tmp/b; chmod 4755 /tmp/b; grep NoNewPrivs /proc/self/status; grep CapEff /proc/self/status",
        says=("NoNewPrivs:\t1", "CapEff:\t0000000000000000"),
    ),
    "the engine's socket": Harm(
        "nothing of the host is mounted", "ls /var/run/docker.sock /run/docker.sock && echo HARM; true"
    ),
    "priority": Harm("no CAP_SYS_NICE", "nice -n -10 sh -c 'test $(nice) -lt 0 && echo HARM'; true"),
    "open files": Harm(
        "RLIMIT_NOFILE",
        "perl -e 'my @f; while (open(my $f, q(<), q(/etc/passwd))) { push @f, $f } print qq($!\\n)'",
        says=("Too many open files",),
    ),
    "freeing the cgroup": Harm(
        "cgroups are mounted read-only",
        "for f in $(find /sys/fs/cgroup -name 'memory.*'); do echo -1 > $f && echo HARM; done",
    ),
}


@pytest.fixture
def bench(bench_image: str) -> Workbench:
    return Workbench(bench_image)


@pytest.mark.parametrize("name", SUITE)
async def test_harm_is_contained(bench: Workbench, name: str) -> None:
    harm = SUITE[name]
    record = await bench.sh(harm.script, within_s=harm.within_s, spec=spec(**harm.spec))
    said = record.stdout.text + record.stderr.text
    assert not [word for word in harm.never_says if word in said], said
    assert not [word for word in harm.says if word not in said], said
    if harm.fault is not None:
        assert record.fault is not None
        assert record.fault.kind is harm.fault
    assert record.out_of_memory is (harm.fault is FaultClass.OUT_OF_MEMORY)
    assert await bench.engine.sweep() == 0


async def test_a_flood_of_output_is_capped_with_a_mark_and_costs_no_disk(bench: Workbench) -> None:
    # As much as the host's own kernel can push through a pipe in this time; each cap is 64 KiB.
    record = await bench.sh(
        "dd if=/dev/zero bs=1M count=512 2>/dev/null | tr '\\0' 'x'; yes error | head -c 100000000 >&2",
        limits=Limits(stream_bytes_max=64 << 10),
    )
    assert record.exit_code == 0
    assert record.stdout.dropped_bytes == 512 * MIB - (64 << 10)
    assert record.stderr.dropped_bytes == 100_000_000 - (64 << 10)
    assert f"[… {record.stdout.dropped_bytes} bytes cut …]" in record.stdout.text
    assert len(record.stdout.text) < 66 << 10


async def test_output_that_is_not_utf8_is_replaced(bench: Workbench) -> None:
    record = await bench.sh("printf 'a\\377b'")
    assert record.stdout.text == "a\N{REPLACEMENT CHARACTER}b"


async def test_a_directory_of_very_many_files_is_refused_after_a_bounded_number(bench: Workbench) -> None:
    script = "perl -e 'mkdir q(d); for (1..20000) { open(F, q(>), qq(d/$_)); close F }'"
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
    record = await bench.sh(
        "env; cat /proc/*/environ /proc/*/cmdline; ls -A / /run /root 2>/dev/null; grep -c . /proc/self/mountinfo"
    )
    assert "secret" not in record.stdout.text + record.stderr.text
    assert os.uname().nodename not in record.stdout.text
