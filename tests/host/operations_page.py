"""docs/operations.md as something to type: its boxes of commands, and the lines that `runner create` prints."""

import re

from host.vm import PROJECT

_PAGE = (PROJECT / "docs" / "operations.md").read_text()
# The guests' disk has no sudo; whoever types there is root.
SUDO = """#!/bin/sh
[ "$1" = -u ] || exec "$@"
user=$2; shift 2; exec runuser -u "$user" -- "$@"
"""


def section(title: str) -> str:
    """What stands below a heading, as far as the next of its kind."""
    return _PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def steps(title: str) -> list[str]:
    """The commands of each numbered step of a section, all its boxes together; the first step is number 0."""
    return ["".join(boxes(step)) for step in re.split(r"(?m)^\*\*\d\. ", section(title))[1:]]


def boxes(text: str) -> list[str]:
    """What is to be typed, box by box."""
    return re.findall(r"(?ms)^```sh\n(.*?)^```$", text)


def join_lines(printed: str) -> dict[str, str]:
    """For each runner the line that `runner create` has printed for its host."""
    found = re.findall(r"(?m)^ +(.+ && runner-agent install .*--runner (\S+) .*)$", printed)
    return {runner: line for line, runner in found}
