"""`python -m server_stub.adapters ADAPTER FILE [AVERAGE]`: what a file gives, as JSON; or why it gives nothing.

For trying an adapter without a server, and for measuring one: nothing is imported that reading a file does not need.
"""

import gc
import os
import sys
from mmap import ACCESS_READ, mmap
from typing import Final, NoReturn

import msgspec

from server_stub.adapters import parse
from server_stub.metrics import Adapter, Average, Mismatch

USAGE: Final = "usage: python -m server_stub.adapters ADAPTER FILE [mean|median]"


def main(arguments: list[str]) -> NoReturn:
    """Ends with 0 and the results on standard output, 1 and the mismatch, or the usage, on standard error."""
    if len(arguments) not in (2, 3):
        sys.exit(USAGE)
    try:
        adapter = Adapter(arguments[0])
        average = Average(arguments[2]) if arguments[2:] else None
    except ValueError as error:
        sys.exit(f"{USAGE}\n{error}")
    # The process ends with this one result; looking for cycles among millions of numbers only takes time.
    gc.disable()
    outcome = parse(adapter, _text_of(arguments[1]), average)
    if isinstance(outcome, Mismatch):
        sys.exit(outcome.reason)
    sys.stdout.buffer.write(msgspec.json.encode(outcome.benchmarks))
    sys.stdout.flush()
    # And so does giving back millions of numbers one by one.
    os._exit(0)


def _text_of(path: str) -> str:
    """The file's text, decoded where the kernel has it: a copy in between takes a tenth of a large document's time."""
    with open(path, "rb") as file:  # noqa: PTH123 - importing pathlib would take longer than a small file.
        try:
            pages = mmap(file.fileno(), 0, access=ACCESS_READ)
        except (OSError, ValueError):  # A pipe, or an empty file.
            return file.read().decode(errors="replace")
        with pages:
            return str(pages, "utf-8", "replace")


if __name__ == "__main__":
    main(sys.argv[1:])
