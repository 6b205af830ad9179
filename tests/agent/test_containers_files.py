"""Result files out of a real container: single files, directories, patterns, links and what no file should be."""

import images
import pytest
from registry import Registry
from workbench import Workbench

from runner_protocol.jobs import Limits
from runner_protocol.results import CollectedFile, Fault, FaultClass, FileEncoding, IterationRecord, Stage

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

TREE = """
cd /work; mkdir -p out/deep .hidden
echo one > out/one.json; echo two > out/deep/two.json; echo three > out/three.txt
ln out/one.json out/same.json; ln -s /etc/passwd out/passwd.json; ln -s out/one.json latest; ln -s /work/out dir
printf '\\377\\000' > binary; printf x > "$(printf 'n\\nl\\377')"
truncate -s 40G giant; mkfifo fifo; ln -s ../../../../../../../etc/shadow shadow; ln -s loop loop
"""


@pytest.fixture
def bench(bench_image: str) -> Workbench:
    return Workbench(bench_image)


async def collect(bench: Workbench, *paths: str, script: str = TREE, **changes: object) -> IterationRecord:
    record = await bench.sh(script, file_paths=paths, **changes)
    assert record.exit_code == 0, record
    return record


def text(path: str, content: str) -> CollectedFile:
    return CollectedFile(path=path, size_bytes=len(content), content=content)


async def test_files_come_by_name_directory_and_pattern_each_once(bench: Workbench) -> None:
    record = await collect(bench, "out/three.txt", "/work/out", "out/**/*.json", "/work/out/../out/three.txt")
    assert record.fault is None
    assert sorted(record.files, key=lambda file: file.path) == [
        text("/work/out/deep/two.json", "two\n"),
        text("/work/out/one.json", "one\n"),
        text("/work/out/same.json", "one\n"),
        text("/work/out/three.txt", "three\n"),
    ]


async def test_a_link_is_followed_inside_the_container_and_nowhere_else(bench: Workbench) -> None:
    record = await collect(bench, "latest", "dir/three.txt", "dir", "shadow")
    assert sorted(file.path for file in record.files) == [
        "/work/dir/deep/two.json",
        "/work/dir/one.json",
        "/work/dir/same.json",
        "/work/dir/three.txt",
        "/work/latest",
    ]
    assert record.fault == Fault(
        kind=FaultClass.FILE_MISSING,
        stage=Stage.COLLECT,
        message="shadow: does not exist in the container",
        iteration=record.number,
    )


async def test_a_missing_file_is_named_and_costs_neither_output_nor_the_other_files(bench: Workbench) -> None:
    record = await collect(bench, "nope.json", "out/*.none", "out/one.json", script=TREE + "echo said")
    assert (record.stdout.text, record.files) == ("said\n", [text("/work/out/one.json", "one\n")])
    assert record.fault is not None
    assert (record.fault.kind, record.fault.message) == (
        FaultClass.FILE_MISSING,
        "nope.json: does not exist in the container",
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fifo", "fifo: is a FIFO, not a file or directory"),
        ("loop", "loop: does not exist in the container"),
        ("out/one.json/below", "out/one.json/below: does not exist in the container"),
        ("/dev/null", "/dev/null: does not exist in the container"),
        ("/proc/self/environ", "/proc/self/environ: does not exist in the container"),
    ],
)
async def test_what_is_no_file_is_refused_by_name(bench: Workbench, path: str, message: str) -> None:
    record = await collect(bench, path)
    assert record.files == []
    assert record.fault is not None
    assert record.fault.message == message


async def test_a_device_that_an_image_brings_along_is_not_opened(bench: Workbench, registry: Registry) -> None:
    disk = images.devices({"work/disk": (8, 0)})
    reference = registry.push("files/device", images.image(disk, Cmd=["true"]))
    record = await bench.sh("true", file_paths=("disk", "/work"), reference=reference)
    assert record.files == []
    assert record.fault is not None
    assert record.fault.message == "disk: is a device, not a file or directory"


async def test_a_sparse_giant_costs_its_size_no_transfer(bench: Workbench) -> None:
    sizes = await collect(bench, "giant", file_contents=False)
    assert sizes.files == [CollectedFile(path="/work/giant", size_bytes=40 << 30)]
    head = await collect(bench, "giant", limits=Limits(files_bytes_max=10))
    assert head.files == [
        CollectedFile(path="/work/giant", size_bytes=40 << 30, content="\0" * 10, dropped_bytes=(40 << 30) - 10)
    ]


async def test_a_directory_with_more_in_it_than_may_be_read_is_refused(bench: Workbench) -> None:
    record = await collect(bench, "/work", file_contents=False)
    assert record.fault is not None
    assert record.fault.kind is FaultClass.FILE_REFUSED
    assert record.fault.message == "/work: more than 67108864 bytes there; name the file itself"


async def test_bytes_and_names_that_are_not_text_arrive_marked(bench: Workbench) -> None:
    record = await collect(bench, "binary", "n*", script=TREE + "rm giant")
    assert record.files == [
        CollectedFile(path="/work/binary", size_bytes=2, encoding=FileEncoding.BASE64, content="/wA="),
        text("/work/n\nl\\xff", "x"),
    ]
    IterationRecord.model_validate_json(record.model_dump_json())


async def test_the_total_is_bounded_and_what_was_cut_is_told(bench: Workbench) -> None:
    record = await collect(bench, "out/one.json", "out/three.txt", "binary", limits=Limits(files_bytes_max=6))
    assert record.files == [
        text("/work/out/one.json", "one\n"),
        CollectedFile(path="/work/out/three.txt", size_bytes=6, content="th", dropped_bytes=4),
        CollectedFile(path="/work/binary", size_bytes=2, content="", dropped_bytes=2),
    ]


async def test_files_of_a_failed_command_still_come(bench: Workbench) -> None:
    record = await bench.sh("echo partial > result; exit 4", file_paths=("result", "nope"))
    assert record.files == [text("/work/result", "partial\n")]
    assert record.fault is not None
    assert record.fault.kind is FaultClass.EXIT_CODE
