"""The picture of series for a pull request: its size, its colours, its format, and titles that are hostile."""

from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from server_runs import HASHES, PROJECT, bmf, get, latency, run

from server_stub.picture import COLOURS, LEGEND_ROW, LEGEND_ROWS_MAX, PLOT_HEIGHT, WIDTH, ticks
from server_stub.routes.perf import preferred

pytestmark = pytest.mark.anyio

STATIC = {"test": "static", "lower_boundary": 0.5, "upper_boundary": 5.0}
HOSTILE = "<script>alert(1)</script> \u202egnp.evil \U0001f600 " + "x" * 900
RED, TEAL = (0xA8, 0x1E, 0x17), (0x0A, 0x64, 0x68)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One database is enough: nothing here speaks SQL."""
    return f"sqlite:///{tmp_path / 'bench.db'}"


def query_of(report: dict[str, Any], **members: str) -> dict[str, str]:
    """The query for all series of a report."""
    results = report["results"][0]
    return {
        "branches": report["branch"]["uuid"],
        "testbeds": report["testbed"]["uuid"],
        "benchmarks": ",".join(one["benchmark"]["uuid"] for one in results),
        "measures": results[0]["measures"][0]["measure"]["uuid"],
    } | members


async def picture(api: httpx.AsyncClient, query: dict[str, str], accept: str = "*/*") -> Image.Image:
    """What the server draws, decoded."""
    answer = await api.get(f"{PROJECT}/perf/img", params=query, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    image = Image.open(BytesIO(answer.content))
    assert answer.headers["content-type"] == f"image/{(image.format or '').lower()}"
    image.load()
    return image


def dots(image: Image.Image, colour: tuple[int, int, int], *, off: int = 40) -> int:
    """How many dots are of a colour, or nearly."""
    return sum(
        count
        for count, shade in image.convert("RGB").getcolors(1 << 24) or ()
        if isinstance(shade, tuple) and all(abs(a - b) <= off for a, b in zip(shade, colour, strict=True))
    )


async def test_a_picture_has_the_line_of_a_series_and_the_mark_of_its_alert(api: httpx.AsyncClient) -> None:
    first = await run(api, latency(1), thresholds={"models": {"latency": STATIC}})
    calm = await picture(api, query_of(first))
    report = await run(api, latency(9), hash=HASHES[0])
    alerted = await picture(api, query_of(report))
    assert (alerted.format, alerted.size) == ("JPEG", (WIDTH, PLOT_HEIGHT + LEGEND_ROW + 16))
    assert dots(calm, TEAL) > 50
    assert dots(alerted, TEAL) > 4 * dots(calm, TEAL)  # A line now, where there was one dot.
    assert (dots(calm, RED), dots(alerted, RED) > 100) == (0, True)


async def test_the_reader_who_asks_for_png_has_png(api: httpx.AsyncClient) -> None:
    report = await run(api, latency(1))
    formats = [(await picture(api, query_of(report), accept)).format for accept in ("*/*", "image/png", "image/*")]
    assert formats == ["JPEG", "PNG", "JPEG"]


def test_jpeg_is_the_format_unless_png_is_wanted_more() -> None:
    assert [preferred(one) for one in ("", "text/html", "image/png, image/jpeg", "image/png;q=oops")] == ["jpeg"] * 4
    assert [preferred(one) for one in ("image/png", "IMAGE/PNG, */*;q=0.5", "image/jpeg;q=0")] == ["png", "png", "jpeg"]


async def test_every_series_has_a_colour_of_its_own(api: httpx.AsyncClient) -> None:
    await run(api, bmf(one={"latency": 1.0}, two={"latency": 4.0}))
    report = await run(api, bmf(one={"latency": 2.0}, two={"latency": 3.0}), hash=HASHES[0])
    image = await picture(api, query_of(report), "image/png")
    shades = {shade for _, shade in image.getcolors(1 << 24) or ()}
    assert {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS[:2]} <= shades


async def test_a_picture_is_bounded_whatever_is_asked_for(api: httpx.AsyncClient) -> None:
    names = {f"{number:03} {HOSTILE[:200]}": {"latency": 1.0} for number in range(60)}
    report = await run(api, bmf(**names))
    image = await picture(api, query_of(report, title=HOSTILE))
    assert image.size == (WIDTH, PLOT_HEIGHT + LEGEND_ROWS_MAX * LEGEND_ROW + 16)


async def test_what_has_no_metrics_is_a_picture_that_says_so(api: httpx.AsyncClient) -> None:
    report = await run(api, latency(1))
    image = await picture(api, query_of(report, end_time="1", title=HOSTILE))
    assert (image.size, dots(image, TEAL, off=8)) == ((WIDTH, PLOT_HEIGHT), 0)


async def test_a_picture_is_refused_as_its_numbers_are(api: httpx.AsyncClient) -> None:
    query = query_of(await run(api, latency(1)))
    assert (await api.get(f"{PROJECT}/perf/img", params=query | {"title": "x" * 1025})).status_code == 400
    assert (await api.get(f"{PROJECT}/perf/img", params=query | {"branches": "x"})).status_code == 400
    assert (await api.get("/v0/projects/absent/perf/img", params=query)).status_code == 404
    await get(api, f"{PROJECT}/perf", **query)


def test_ticks_are_round_and_within() -> None:
    assert ticks(0.0, 10.0, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.012, 0.013, 4) == pytest.approx([-0.01, 0, 0.01])
    assert len(ticks(0.0, 1e-300, 6)) in range(4, 8)
