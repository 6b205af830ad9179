"""How verbs print: a table on a terminal, tab-separated lines into a pipe, JSON where it is asked for."""

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would end a cell or a line, or steer the terminal: agents and jobs say what some cells show."""


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Print many things. `columns`: what stands above each column → the member it shows."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
    elif sys.stdout.isatty():
        _table(rows, columns)
    else:
        print("\t".join(columns))
        for row in rows:
            print("\t".join(text_of(row.get(member)) for member in columns.values()))


def show_one(thing: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing, member by member; what is empty is left out."""
    if as_json:
        print(json.dumps(thing, indent=2))
        return
    width = max((len(name) for name in thing), default=0)
    for name, value in thing.items():
        if value not in (None, "", [], {}):
            print(f"{name:<{width}}  {text_of(value)}")


def text_of(value: Any) -> str:
    """A value as a person reads it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(text_of(each) for each in value)
        case dict():
            return " ".join(f"{name}={text_of(each)}" for name, each in value.items() if each is not None)
        case _:
            return CONTROL.sub(" ", str(value))


def ago(ms: int | None) -> str | None:
    """How long ago a moment was, to its largest unit."""
    if ms is None:
        return None
    seconds = max(0, int(time.time() - ms / 1000))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        # Text, not markup: a benchmark may be called "[bold]".
        table.add_row(*(Text(text_of(row.get(member))) for member in columns.values()))
    Console().print(table)
