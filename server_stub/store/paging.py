"""Lists in parts: which part is wanted, and the conditions on what is in the list."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    offset: int
    descending: bool = False

    @property
    def way(self) -> str:
        """The direction, as SQL writes it."""
        return "DESC" if self.descending else "ASC"

    @property
    def values(self) -> dict[str, int]:
        """The parameters of `LIMIT :limit OFFSET :offset`."""
        return {"limit": self.limit, "offset": self.offset}


@dataclass(slots=True)
class Where:
    """Conditions that all have to hold, and their parameters."""

    conditions: list[str] = field(default_factory=lambda: ["TRUE"])
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **values: Any) -> None:
        """Ask for one more thing. Conditions are our own text; what a client sent is a value."""
        self.conditions.append(condition)
        self.values |= values

    @property
    def sql(self) -> str:
        """All of them."""
        return " AND ".join(self.conditions)


def like(text: str) -> str:
    """A pattern for `LIKE … ESCAPE '!'` that finds `text` anywhere, taken literally."""
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"
