"""Draws docs/states.md from the table of job states. Run it after the table changed; a test fails while it is stale."""

from pathlib import Path

from runner_protocol.states import MOVES, TERMINAL, JobState

PAGE = Path(__file__).with_name("states.md")


def page() -> str:
    """The whole page: a diagram and a table, both made from `runner_protocol.states.MOVES`."""
    return "\n".join([*_head(), *_diagram(), *_table()]) + "\n"


def _head() -> list[str]:
    return [
        "# The states of a job",
        "",
        "Drawn by `docs/draw_states.py` from the one table in `runner_protocol/states.py`; do not edit by hand.",
        "The server builds its guards from the same table, so a move that is not here cannot happen.",
        "",
    ]


def _diagram() -> list[str]:
    moves = [f"    {old} --> {new}: {why}" for old, following in MOVES.items() for new, why in following.items()]
    ends = [f"    {state} --> [*]" for state in JobState if state in TERMINAL]
    return ["```mermaid", "stateDiagram-v2", f"    [*] --> {JobState.PENDING}: submit", *moves, *ends, "```", ""]


def _table() -> list[str]:
    rows = [f"| `{old}` | `{new}` | {why} |" for old, following in MOVES.items() for new, why in following.items()]
    ends = ", ".join(f"`{state}`" for state in JobState if state in TERMINAL)
    return ["| from | to | when |", "| --- | --- | --- |", *rows, "", f"Nothing follows {ends}."]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
