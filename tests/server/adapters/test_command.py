"""The command that reads one file: what it prints, where, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path


def read_file(*arguments: str | Path, piped: str = "") -> tuple[int, str, str]:
    command = [sys.executable, "-m", "server_stub.adapters", *arguments]
    done = subprocess.run(command, input=piped, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_results_are_printed_as_json_with_the_fields_of_a_metric(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("test a ... bench: 1,000 ns/iter (+/- 10)\n")
    code, printed, complaint = read_file("rust_bench", output, "median")
    assert (code, complaint) == (0, "")
    assert json.loads(printed) == {"a": {"latency": {"value": 1000, "lower_value": 990, "upper_value": 1010}}}


def test_a_mismatch_is_one_line_on_standard_error(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("nothing\n")
    assert read_file("go_bench", output) == (1, "", "go_bench: no '/op' in the text\n")
    assert read_file("rust_iai", output, "mean") == (1, "", "rust_iai: gives no mean\n")


def test_a_pipe_and_an_empty_file_are_read_too(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert read_file("json", "/dev/stdin", piped='{"a": {}}') == (0, '{"a":{}}', "")
    assert read_file("json", empty) == (1, "", "json: does not begin with { or [\n")


def test_a_wrong_command_is_answered_with_the_usage() -> None:
    usage = "usage: python -m server_stub.adapters ADAPTER FILE [mean|median]\n"
    assert read_file("rust_bench") == (1, "", usage)
    assert read_file("rust", "output.txt", "mode") == (1, "", f"{usage}'mode' is not a valid Average\n")
