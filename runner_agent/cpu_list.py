"""CPU sets in the two notations of the kernel: lists (`0-3,8`) and hexadecimal masks (`ff,ffffffff`). Pure.

Does not know which CPUs a machine has.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

# The kernel's own ceiling on x86 and arm64 is 8192 (CONFIG_NR_CPUS); more is a slip of the pen.
CPUS_MAX = 8192
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5})(?::(\d{1,5})/(\d{1,5}))?)?")


def parse_cpu_list(text: str) -> frozenset[int]:
    """Read a list such as `0-3,8` or `0-7:2/4`. Raises `ValueError` with the part that is wrong.

    Source: Documentation/admin-guide/kernel-parameters.rst, "cpu lists".
    """
    parts = [part.strip() for part in text.strip().split(",")] if text.strip() else []
    return frozenset(cpu for part in parts for cpu in _expanded(part))


def _expanded(part: str) -> Iterator[int]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is no CPU and no range of CPUs")
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    used, group = int(match[3] or 1), int(match[4] or 1)
    if last < first or last >= CPUS_MAX or not 0 < used <= group:
        raise ValueError(f"{part!r} is no range of CPUs")
    return (cpu for cpu in range(first, last + 1) if (cpu - first) % group < used)


def cpu_list(cpus: Iterable[int]) -> str:
    """Write a list, ranges drawn together: `0-3,8`."""
    ordered = sorted(set(cpus))
    starts = [cpu for before, cpu in pairwise([-2, *ordered]) if cpu != before + 1]
    ends = [cpu for cpu, after in pairwise([*ordered, CPUS_MAX + 1]) if after != cpu + 1]
    spans = zip(starts, ends, strict=True)
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def parse_cpu_mask(text: str) -> frozenset[int]:
    """Read a mask: hexadecimal words of 32 bits, the highest first."""
    bits = int(text.strip().replace(",", ""), 16)
    return frozenset(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def cpu_mask(cpus: Iterable[int]) -> str:
    """Write a mask: `f`, or `1,00000000` for CPU 32."""
    bits = sum(1 << cpu for cpu in set(cpus))
    words = [f"{bits >> shift & 0xFFFFFFFF:08x}" for shift in range(0, max(1, bits.bit_length()), 32)]
    return ",".join(reversed(words)).lstrip("0") or "0"
