"""The figures: aligned for a terminal, and as Markdown between two marks in a document whose other words are left alone."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meridian_bench import machine
from meridian_bench.delays import Lag
from meridian_bench.journal import Append, Recovery
from meridian_bench.lag import percentile
from meridian_bench.memory import Memory
from meridian_bench.rounds import Result
from meridian_bench.subjects import MERIDIAN

_BEGIN = "<!-- written by Tests/Benchmarks/run --markdown: begin -->"
_END = "<!-- written by Tests/Benchmarks/run --markdown: end -->"

_DOCUMENT = f"""# Speed

What Meridian costs beside twemproxy, in front of the same memcached servers. Repeat it with one command, which installs the
peers from Debian and builds what it needs; it takes about half an hour, and wants the machine for itself:

```
Tests/Benchmarks/run --markdown Docs/performance.md
Tests/Benchmarks/run --help
```

CPU is the proxy process's own, with all its threads, from the kernel's account; the load generator's and memcached's are left
out. It is what holds from run to run; latencies and requests per second depend on what else the machine does, and the load
generator shares its cores. All subjects take turns within one run, and a ratio is the median of the ratios of neighbouring runs.

{_BEGIN}
{_END}
"""


@dataclass
class Table:
    """Rows of words; the first column is text, the others are numbers."""

    title: str
    heads: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    text_columns: int = 1

    def aligned(self) -> str:
        """For a terminal."""
        widths = [max(len(row[column]) for row in [list(self.heads), *self.rows]) for column in range(len(self.heads))]

        def line(row: Sequence[str]) -> str:
            cells = [
                cell.ljust(width) if column < self.text_columns else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        return "\n".join([self.title, line(self.heads), *(line(row) for row in self.rows)])

    def markdown(self) -> str:
        """For a document."""
        rule = ["---" if column < self.text_columns else "---:" for column in range(len(self.heads))]
        lines = [self.heads, rule, *self.rows]
        return f"### {self.title}\n\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@dataclass
class Findings:
    """Everything that a run found."""

    results: list[Result] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    appends: list[Append] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def tables(self) -> list[Table]:
        """The tables that have rows."""
        lags = [*(Lag(result.case.name, result.lags) for result in self.results if result.lags), *self.lags]
        every = [
            _loads(self.results),
            _lags(lags),
            _memory(self.memory),
            _appends(self.appends),
            _recoveries(self.recoveries),
        ]
        return [table for table in every if table.rows]


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _loads(results: Sequence[Result]) -> Table:
    table = Table(
        "CPU and latency by request (µs)",
        ["case", "subject", "user", "system", "CPU", "CPU ratio", "p50", "p90", "p99", "p99.9", "p99 ratio", "requests/s"],
        text_columns=2,
    )
    for result in results:
        for subject in result.runs:
            table.rows.append(_load_row(result, subject))
            table.rows += [_account_row(result, subject, name) for name in result.runs[subject][0].accounts if name != subject]
    return table


def _load_row(result: Result, subject: str) -> list[str]:
    ours = subject == MERIDIAN
    latencies = [
        f"{result.median(subject, of):.0f}"
        for of in (lambda run: run.p50, lambda run: run.p90, lambda run: run.p99, lambda run: run.p999)
    ]
    return [
        *_account_row(result, subject, subject)[:5],
        _ratio(result.cpu_ratio) if ours else "",
        *latencies,
        _ratio(result.p99_ratio) if ours else "",
        f"{result.median(subject, lambda run: run.per_second):,.0f}",
    ]


def _account_row(result: Result, subject: str, process: str) -> list[str]:
    used = result.cpu(subject, process)
    return [result.case.name, process, f"{used.user:.2f}", f"{used.system:.2f}", f"{used.total:.2f}", *[""] * 7]


def _lags(lags: Sequence[Lag]) -> Table:
    table = Table("Lag: from a write's answer to its being read at the other site (ms)",
                  ["load", "writes probed", "p50", "p90", "p99", "longest"])  # fmt: skip
    for lag in lags:
        shares = [f"{percentile(lag.lags, share) * 1e3:.1f}" for share in (0.5, 0.9, 0.99, 1.0)]
        table.rows.append([lag.load, str(len(lag.lags)), *shares])
    return table


def _memory(found: Sequence[Memory]) -> Table:
    table = Table(
        "Resident memory with idle client connections (KiB)", ["subject", "connections", "before", "with them", "each"]
    )
    for entry in found:
        table.rows.append(
            [entry.subject, f"{entry.connections:,}", f"{entry.before:,}", f"{entry.after:,}", f"{entry.each:.1f}"]
        )
    return table


def _appends(found: Sequence[Append]) -> Table:
    table = Table("Appending to the write log: sets in a closed loop, the other site down",
                  ["values", "sets/s", "log bytes/set", "log MB/s", "CPU µs/set"])  # fmt: skip
    for entry in found:
        table.rows.append([
            entry.values, f"{entry.sets_per_second:,.0f}", f"{entry.bytes_per_set:.0f}", f"{entry.megabytes_per_second:.1f}",
            f"{entry.cpu:.2f}",
        ])  # fmt: skip
    return table


def _recoveries(found: Sequence[Recovery]) -> Table:
    table = Table("Recovery: a start after kill -9 (seconds from the start)",
                  ["records", "segments MB", "log read", "serving"])  # fmt: skip
    for entry in found:
        table.rows.append([f"{entry.records:,}", f"{entry.megabytes:.0f}", f"{entry.recovered:.3f}", f"{entry.serving:.3f}"])
    table.text_columns = 0
    return table


def write_markdown(path: Path, findings: Findings, command: str, programs: str) -> None:
    """Puts the figures between the marks of a document, or makes a new one around them."""
    text = path.read_text() if path.exists() else _DOCUMENT
    if _BEGIN not in text or _END not in text:
        text += f"\n{_BEGIN}\n{_END}\n"
    head, rest = text.split(_BEGIN, 1)
    tail = rest.split(_END, 1)[1]
    parts = [
        f"## Measured {datetime.date.today().isoformat()}",
        f"- {machine.hardware()}; {machine.system()}\n- {programs}\n- `{command}`",
        *(table.markdown() for table in findings.tables()),
    ]
    if findings.failures:
        parts.append("### Not measured\n\n" + "\n".join(f"- {failure}" for failure in findings.failures))
    path.write_text(head + _BEGIN + "\n" + "\n\n".join(parts) + "\n" + _END + tail)
