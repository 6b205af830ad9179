"""A finished job's report as a person reads it: the numbers, whether they moved, and how far they can be trusted."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

ALERT_STYLE = "bold red"


def show_report(report: dict[str, Any], job: dict[str, Any], server: str, console: Console | None = None) -> None:
    """Print the tables and, at the end, where to look next."""
    console = console or Console()
    for number, results in enumerate(report.get("results") or []):
        console.print(_results_table(number, results, _alerted(report)))
    if job["status"] != "processed":
        _print_end(job, console)
    _print_trust(job, console)
    project = report["project"]["slug"]
    count = len(report.get("alerts") or [])
    said = f"{count} alert{'s' if count != 1 else ''}" if count else "no alerts"
    console.print(f"{said} · report {report['uuid']}", markup=False, highlight=False)
    console.print(
        f"{server}/v0/projects/{project}/reports/{report['uuid']}", markup=False, highlight=False, soft_wrap=True
    )
    console.print(f"{server}/v0/projects/{project}/jobs/{job['uuid']}", markup=False, highlight=False, soft_wrap=True)


def figure(value: float | None) -> str:
    """Six digits that count, with groups of thousands."""
    if value is None:
        return ""
    text = f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return text if "e" not in text else f"{value:.4e}"


def _alerted(report: dict[str, Any]) -> set[str]:
    return {alert["metric"]["uuid"] for alert in report.get("alerts") or []}


def _results_table(number: int, results: list[dict[str, Any]], alerted: set[str]) -> Table:
    table = Table(title=f"Iteration {number}", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for title in ("BENCHMARK", "MEASURE"):
        table.add_column(title, overflow="fold")
    for title in ("VALUE", "LOWER", "UPPER", "BASELINE", "LIMITS"):
        table.add_column(title, justify="right")
    for result in results:
        for measured in result["measures"]:
            table.add_row(*_row(result["benchmark"]["name"], measured, alerted))
    return table


def _row(benchmark: str, measured: dict[str, Any], alerted: set[str]) -> list[Text]:
    metric, boundary = measured["metric"], measured["boundary"] or {}
    style = ALERT_STYLE if metric["uuid"] in alerted else ""
    limits = [figure(boundary.get(name)) for name in ("lower_limit", "upper_limit")]
    return [
        Text(benchmark),
        Text(f"{measured['measure']['name']} · {measured['measure']['units']}"),
        Text(figure(metric["value"]), style=style),
        Text(figure(metric["lower_value"])),
        Text(figure(metric["upper_value"])),
        Text(figure(boundary.get("baseline"))),
        Text(" … ".join(limits) if any(limits) else ""),
    ]


def _print_end(job: dict[str, Any], console: Console) -> None:
    """Why there is nothing to see, with the last words of what ran."""
    fault = job.get("fault") or {}
    where = f"in stage {fault['stage']}" if fault else ""
    console.print(Text(f"{job['status']} {where}: {fault.get('message', 'no reason given')}", style=ALERT_STYLE))
    for result in (job.get("output") or {}).get("results", [])[-1:]:
        for name in ("stdout", "stderr"):
            for line in result.get(name, "").splitlines()[-10:]:
                console.print(f"  {name} │ {line}", markup=False, highlight=False)


def _print_trust(job: dict[str, Any], console: Console) -> None:
    trust, isolation, host = job.get("trust"), job.get("isolation"), job.get("host")
    parts = []
    if host:
        parts.append(f"ran on {host['hostname']}")
    if isolation:
        parts.append(f"isolation {isolation['level']}")
    if job.get("digest"):
        parts.append(f"image {job['digest'][:19]}…")
    if parts:
        console.print(" · ".join(parts), markup=False, highlight=False)
    if trust:
        reasons = "; ".join(sorted({reason["message"] for reason in trust["reasons"]}))
        console.print(f"trust: {trust['word']}{f' ({reasons})' if reasons else ''}", markup=False, highlight=False)
    if trust and (comparison := trust.get("comparison")):
        console.print(
            f"candidate / baseline: {comparison['ratio']:.4f} (95 %: {comparison['ratio_lower']:.4f} …"
            f" {comparison['ratio_upper']:.4f}), {comparison['pairs']} pairs of {comparison['measure']},"
            f" p = {comparison['p_value']:.2g}{_seen(comparison.get('minimum_detectable_effect'))}",
            markup=False,
            highlight=False,
        )


def _seen(effect: float | None) -> str:
    """What so many pairs could have found; nothing where they were too few to say."""
    return "" if effect is None else f"; changes from {effect:.2%} on would have been found"
