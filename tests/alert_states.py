"""Which alerts of config/alerts.yml fire by the metrics of a moment, and whether promtool agrees."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

RULES = Path(__file__).parents[1] / "config" / "alerts.yml"
Figures = Mapping[str, float]
"""Values by series, as `crawler_rows{kind="written"}`."""
_LINE = re.compile(r"^(crawler_\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)
_STEP = timedelta(minutes=10)
_TEST = """\
rule_files: [{rules}]
evaluation_interval: 10m
tests:
  - interval: 10m
    input_series:
{series}
    promql_expr_test:
{expected}
"""


@dataclass(frozen=True, slots=True)
class Look:
    """The metrics at some moment, and the alerts that fire by them."""

    at: datetime
    figures: Figures
    alerts: Sequence[str]


def read_figures(path: Path) -> Figures:
    """The figures of a file of metrics; none where there is no file."""
    text = path.read_text() if path.exists() else ""
    return {name: float(value) for name, value in _LINE.findall(text)}


def firing(figures: Figures, now: float) -> list[str]:
    """The alerts that fire, by the conditions of config/alerts.yml."""
    if not figures:
        return ["CrawlerMetricsMissing"]
    get = figures.get
    running = get("crawler_running") == 1
    failed, listed = get('crawler_sellers{status="failed"}', 0.0), get("crawler_sellers_listed", 0.0)

    def age(name: str) -> float:
        return now - get(f"crawler_{name}_timestamp_seconds", now)

    states = {
        "CrawlerNightMissing": age("last_success") > 26 * 3600,
        "CrawlerNightFailed": get("crawler_last_run_success") == 0
        and not running
        and get("crawler_last_exit_code") != 10,
        "CrawlerNightImplausible": get('crawler_plausibility{verdict="implausible"}') == 1,
        "CrawlerSellersFailing": failed > 0.05 * listed,
        "CrawlerRunningTooLong": running and age("last_start") > 12 * 3600 and age("written") <= 600,
        "CrawlerKilled": running and age("written") > 600,
    }
    return [name for name, fires in states.items() if fires]


def disagreement(looks: Sequence[Look], moments: Sequence[datetime], folder: Path) -> str:
    """What promtool says otherwise of the alerts at these moments; "not asked" where it is not installed."""
    if shutil.which("promtool") is None:
        return "not asked: promtool is not installed"
    begin = looks[0].at.replace(hour=0, minute=0, second=0, microsecond=0)
    path = folder / "fortnight_test.yml"
    series = "\n".join(
        f"      - {{series: '{name}', values: '{values}'}}" for name, values in _series(looks, begin).items()
    )
    by_moment = {look.at.replace(second=0, microsecond=0): look for look in looks}
    expected = "\n".join(_expected(by_moment[moment], moment - begin) for moment in moments)
    path.write_text(_TEST.format(rules=RULES, series=series, expected=expected))
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _expected(look: Look, since: timedelta) -> str:
    samples = ", ".join(f"{{labels: '{{alertname=\"{name}\"}}', value: 1}}" for name in sorted(look.alerts))
    return (
        '      - expr: count by (alertname) (ALERTS{alertstate="firing"})\n'
        f"        eval_time: {since // timedelta(minutes=1)}m\n"
        f"        exp_samples: [{samples}]"
    )


def _series(looks: Sequence[Look], begin: datetime) -> dict[str, str]:
    """The series that the rules name, as promtool has them: times count from `begin`, as its clock does."""
    named = set(re.findall(r"crawler_\w+", RULES.read_text()))
    names = {name for look in looks for name in look.figures if name.partition("{")[0] in named}
    ends = [(look.at - begin) // _STEP for look in looks[1:]] + [(looks[-1].at - begin) // _STEP + 1]
    written = {}
    for name in sorted(names):
        parts = [f"_x{(looks[0].at - begin) // _STEP}"]
        since = begin.timestamp() if "timestamp" in name else 0.0
        for look, end in zip(looks, ends, strict=True):
            steps = end - (look.at - begin) // _STEP
            value = look.figures.get(name)
            if steps:
                shown = "_" if value is None else f"{value - since:.3f}+0"
                # `ax3` is a and three more.
                parts.append(f"{shown}x{steps - 1}" if value is not None else f"_x{steps}")
        written[name] = " ".join(parts)
    return written
