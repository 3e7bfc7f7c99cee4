"""The notebook of `examples/` makes its three pictures of the demo's nights; `make examples` runs this."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import Night

NOTEBOOK = Path(__file__).parents[2] / "examples" / "morning.py"


@pytest.mark.long
def test_the_notebook_makes_three_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("marimo")
    job = Night(tmp_path, "")
    words = ["--nights", "5", "--sellers", "40", "--qps", "1000"]
    assert job.call("demo", "--data", str(job.data), *words).returncode == 0
    assert job.call("views", str(tmp_path / "shop.duckdb")).returncode == 0
    monkeypatch.setattr(sys, "argv", [str(NOTEBOOK), "--views", str(tmp_path / "shop.duckdb")])
    found = importlib.util.spec_from_file_location("morning", NOTEBOOK)
    assert found is not None
    assert found.loader is not None
    notebook = importlib.util.module_from_spec(found)
    found.loader.exec_module(notebook)
    outputs, defined = notebook.app.run()
    assert len(defined["movers"]) == 10
    assert 15 < len(defined["decay"]) <= 20
    assert len(defined["sellers"]) > 20
    drawn = {"movers": 10, "decay": len(defined["decay"]), "sellers": len(defined["sellers"])}
    for name, marks in drawn.items():
        assert marks_in(defined[f"{name}_chart"].text) == marks
    said = " ".join(str(getattr(output, "text", "")) for output in outputs)
    assert "40 of 40 sellers were read whole, and can be compared with a reading 1.0 days" in said


def marks_in(page: str) -> int:
    """The bars or dots of a chart."""
    svg = ET.fromstring(page[page.index("<svg") : page.rindex("</svg>") + 6])
    return sum(
        (each.tag.endswith("}rect") and "rect" in each.get("class", ""))
        or (each.tag.endswith("}circle") and "dot" in each.get("class", ""))
        for each in svg.iter()
    )
