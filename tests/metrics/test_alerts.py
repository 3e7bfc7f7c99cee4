"""config/alerts.yml: its rules are valid, fire when they should, and name metrics that are written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from crawler.metrics.table import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "alerts.yml"
CASES = Path(__file__).with_name("alerts_test.yml")


def test_the_rules_name_metrics_that_are_written() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    written = {metric.name for metric in METRICS}
    for rule in group["rules"]:
        assert rule.keys() >= {"alert", "expr", "labels", "annotations"}
        named = set(re.findall(r"crawler_\w+", f"{rule['expr']} {rule['annotations']['description']}"))
        assert set(re.findall(r"crawler_\w+", rule["expr"]))
        assert named <= written, rule["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("words", [["check", "rules", str(RULES)], ["test", "rules", str(CASES)]])
def test_promtool_agrees(words: list[str]) -> None:
    checked = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
