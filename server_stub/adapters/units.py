"""Units of time that harnesses print, as nanoseconds."""

from typing import Final

MICRO_SIGN: Final = "\u00b5"
GREEK_MU: Final = "\u03bc"

# Both micro signs occur: Criterion prints U+00B5, libtest and asv print U+03BC, C++ harnesses print `us`.
NS_PER_UNIT: Final = {
    "ps": 0.001,
    "ns": 1.0,
    f"{GREEK_MU}s": 1e3,
    f"{MICRO_SIGN}s": 1e3,
    "us": 1e3,
    "ms": 1e6,
    "s": 1e9,
}
NS_PER_S: Final = NS_PER_UNIT["s"]
NS_PER_MS: Final = NS_PER_UNIT["ms"]
# Harnesses of other tables write these; the reference's lines do not know them.
NS_PER_LONG_UNIT: Final = {**NS_PER_UNIT, "m": 60e9, "h": 3600e9}
