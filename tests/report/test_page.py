"""The run report for people: the same figures as `report.json`, in one page that is safe to open."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest
from conftest import DATE, SMALL, Night, as_printed
from hypothesis import given
from hypothesis import strategies as st

from crawler.exit_codes import EXIT_CODES
from crawler.report.page import as_page
from crawler.report.run_report import Failure, Requests, RunReport
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import KEY, Simulator, SimulatorOptions

pytestmark = pytest.mark.usefixtures("pages")

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "section", "div", "p", "strong", "pre"}
TAGS |= {"span", "table", "thead", "tbody", "tr", "th", "td", "i", "ul", "li", "h3", "figure", "figcaption"}
TAGS |= {"details", "summary"}
SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {f"{SVG}{name}" for name in ("svg", "g", "rect", "path", "text", "title", "circle")}
DRAWN = {
    "class",
    "role",
    "aria-label",
    "viewBox",
    "transform",
    "d",
    "x",
    "y",
    "width",
    "height",
    "cx",
    "cy",
    "r",
}


def read(page: str) -> ET.Element:
    """The page's tree: it holds no tag but ours, nothing that acts, and nothing from elsewhere."""
    root = ET.fromstring(page)
    for element in root.iter():
        if element.tag in SHAPES:
            assert element.attrib.keys() <= DRAWN
            continue
        assert element.tag in TAGS
        assert element.attrib.keys() <= {
            "class",
            "style",
            "scope",
            "lang",
            "charset",
            "name",
            "content",
            "http-equiv",
        }
        assert re.fullmatch(r"(width:[\d.]+%)?", element.get("style", ""))
    style = "".join(element.text or "" for element in root.iter("style"))
    assert not re.search(r"url|import|//", style)
    return root


def shown(root: ET.Element, title: str) -> dict[str, str]:
    """The figures of a section, by their words."""
    (section,) = (s for s in root.iter("section") if s.findtext("h2") == title)
    rows = (["".join(cell.itertext()) for cell in row] for row in section.iter("tr"))
    return {words: figure for words, figure, _ in rows}


def outcome(root: ET.Element) -> str:
    *_, box = (div for div in root.iter("div") if (div.get("class") or "").startswith("outcome"))
    return " ".join(" ".join(part.itertext()) for part in box)


def page_of(job: Night, report: dict[str, Any]) -> ET.Element:
    folder = job.data / "runs" / report["run_id"]
    assert orjson.loads((folder / "report.json").read_bytes()) == report
    page = (folder / "report.html").read_text()
    assert KEY not in page
    made_again = job.call("report", report["run_id"])
    assert made_again.stdout.split("\n")[:2] == [
        str(folder / "report.html"),
        str(folder.parent / "index.html"),
    ]
    assert (folder / "report.html").read_text() == page
    return read(page)


def number(figure: str) -> int:
    return int(figure.replace(",", ""))


def test_the_page_of_a_run_with_failures_shows_what_the_report_has(night: Begin) -> None:
    """Every figure, every failure, and what to do are on the page as in report.json."""
    faults = parse_faults("status=400:0.15,no_id:0.1,status=500:0.02")
    job, simulator = night(SimulatorOptions(SMALL, faults=faults))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(60)), "--budget", "5000", code=4)
    root = page_of(job, report)
    assert "exit code 4: some sellers failed" in outcome(root)
    assert " ".join(report["go_on"].split()) in " ".join(outcome(root).split())
    sellers, spent, rows = (shown(root, title) for title in ("Sellers", "Credits", "Rows of the snapshot"))
    for status in ("complete", "partial", "failed", "pending"):
        assert number(sellers[status]) == report["sellers"][status]
    assert number(spent["spent by this run"]) == report["credits"]["spent"] > 0
    assert f"{report['credits']['spent_for_date']} of 5,000" in spent.values()
    keys = ("received", "duplicate", "rejected", "written")
    counts = {key: number(figure) for words, figure in rows.items() for key in keys if words.startswith(key)}
    assert counts == {key: report["rows"][key] for key in keys}
    assert counts["rejected"] > 0
    requests = shown(root, "Requests and pace")
    for status, count in report["requests"]["by_status"].items():
        assert number(requests[f"HTTP {status}"]) == count
    assert (
        requests["sent a second, of the limit"]
        == f"{report['qps']['achieved']:.3f}".rstrip("0") + " of 1,000"
    )
    assert sorted(map(number, shown(root, "Why sellers stopped").values())) == sorted(
        report["stops"].values()
    )
    failures = [(f["seller"], str(f["page"]), f["reason"]) for f in report["failures"]]
    assert len(failures) == report["sellers"]["failed"] > 0
    (section,) = (s for s in root.iter("section") if s.findtext("h2") == "Failures")
    (table,) = (each for each in section.iter("table") if each.get("class") == "failures")
    assert [tuple(cell.text for cell in row) for row in table.findall("tbody/tr")] == failures


def test_the_pages_of_a_date_that_was_stopped_finished_and_run_again(night: Begin) -> None:
    """Each page says what its run did, and gives the command to go on with only where there is more to do."""
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(30))
    stopped = job.run(source, "--budget", "20", code=3)
    text = outcome(page_of(job, stopped))
    assert "partial , exit code 3: our own credit budget ran out" in text
    assert stopped["message"] in text
    words = f"{' '.join(as_printed())} run {source} --api-url {job.url} --budget 40 --data {job.data}"
    assert stopped["go_on"].startswith(words)
    assert stopped["go_on"].endswith(f"--crawl-date {DATE}")
    finished = job.run(source)
    assert "exit code 0: every seller was crawled to its end" in outcome(page_of(job, finished))
    again = job.run(source)
    text = outcome(page_of(job, again))
    assert "nothing was left to do" in text
    assert again["go_on"] == finished["go_on"] == ""
    assert "crawler run" not in text


def test_a_failed_run_looks_failed(night: Begin) -> None:
    """A run whose key was refused shows so, with what the API said and no snapshot."""
    job, simulator = night(SimulatorOptions(SMALL, key="another"))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(10)), code=5)
    text = outcome(page_of(job, report))
    assert "failed , exit code 5" in text
    assert report["message"] in text
    assert "published nothing" in text


def test_a_page_that_cannot_be_written_changes_nothing_else(night: Begin, tmp_path: Path) -> None:
    """Without its page a night has the exit code and the report it would have had."""
    job, simulator = night(SimulatorOptions(SMALL))
    (tmp_path / "sitecustomize.py").write_text(
        "import crawler.report.page as page\n"
        "def failing(*_): raise RuntimeError('no page today')\n"
        "page.as_page = failing\n"
    )
    source = job.sellers(simulator.catalogue.seller_ids(5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        # A Python of its own: only at its start is sitecustomize read.
        words = [sys.executable, "-m", "crawler", "run", str(source), "--crawl-date", DATE, "--json"]
        done = subprocess.run(
            words, env=job.environ(), cwd=job.folder, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 0
    assert "cannot write report.html: RuntimeError: no page today" in done.stderr
    report = orjson.loads(done.stdout)
    folder = job.data / "runs" / report["run_id"]
    assert orjson.loads((folder / "report.json").read_bytes()) == report
    assert [path.name for path in folder.iterdir() if "html" in path.name] == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "</td></table></body><img src=x onerror=alert(1)>",
        "\"' style=x onload=alert(1)",
        "&lt;b&gt;&amp;",
        "]]><!-- <style>*{display:none}</style>",
    ],
)
def test_hostile_text_is_shown_and_never_markup(text: str) -> None:
    """What a list or an API says is text, wherever it is on the page."""
    report = RunReport(
        run_id=text,
        crawl_date=text,
        started_at=text,
        finished_at=text,
        status=text,
        exit_code=4,
        message=text,
        go_on=text,
        failures=[Failure(text, 1, text)],
        notes=[text],
        stops={text: 2},
        requests=Requests(by_status={text: 1}),
    )
    root = read(as_page(asdict(report)))
    assert [td.text for td in root.iter("td")].count(text) == 2
    assert [th.text for th in root.iter("th")].count(text) == 2
    assert [li.text for li in root.iter("li")] == [text]
    assert ["".join(pre.itertext()).rstrip() for pre in root.iter("pre")] == [text]
    assert text in [p.text for p in root.iter("p")]


def test_what_cannot_be_seen_is_spelled_out() -> None:
    """Control characters, reversed text and half characters neither hide anything nor break the page."""
    report = {"failures": [{"seller": "a\u202eb\x00\n\ud800", "page": None, "reason": "é 漢"}]}
    cells = [td.text for td in read(as_page(report)).iter("td")]
    assert cells[:3] == [r"a\u202eb\x00\n\ud800", "–", "é 漢"]  # noqa: RUF001 - a dash stands for what is missing


def test_failures_that_the_report_does_not_list_are_counted() -> None:
    """How many failures are not on the page is said."""
    report = {"sellers": {"failed": 1203}, "failures": [{"seller": "1", "page": 1, "reason": "400"}]}
    assert "1,202 more" in as_page(report)


def test_every_exit_code_is_explained() -> None:
    """The page says of each exit code what it means and what to do, as the table has it."""
    for code in EXIT_CODES.values():
        text = outcome(read(as_page({"exit_code": code.number, "requests": {"sent": 1}})))
        assert f"exit code {code.number}: {code.meaning.replace('`', '')}." in text
        assert f"What to do:  {code.advice.replace('`', '')}." in text


FIGURES = st.none() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20)
COUNTS = st.dictionaries(st.text(max_size=10), FIGURES, max_size=4)


def figures_of(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, FIGURES))


TEXT = st.none() | st.text(max_size=40)
TOP_MOVERS = figures_of("seller_id", "video_id", "gain", "value", "since", "certainty")
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("run_id", "crawl_date", "started_at", "finished_at", "message", "go_on"), TEXT),
        "status": st.sampled_from(["complete", "partial", "failed"]) | TEXT,
        "exit_code": st.sampled_from(sorted(EXIT_CODES)) | FIGURES,
        "published": st.booleans() | st.none(),
        "sellers": figures_of("total", "complete", "partial", "failed", "pending", "repeated_in_list"),
        "credits": figures_of("budget", "spent", "spent_for_date", "monthly_budget", "spent_for_month"),
        "rows": figures_of("received", "carried", "duplicate", "rejected", "written"),
        "stops": COUNTS,
        "requests": st.fixed_dictionaries({"sent": FIGURES}, optional={"ok": FIGURES, "by_status": COUNTS}),
        "qps": figures_of("limit", "achieved"),
        "certain_above": FIGURES,
        "certain_rows": FIGURES,
        "probes": figures_of("sent", "rows_found"),
        "after_rejects": figures_of("pages", "rows_found"),
        "carry_forward": figures_of("carried", "credits_saved", "audited", "wrong"),
        "drift": figures_of("gaps", "overlap", "sellers"),
        "top_movers": st.fixed_dictionaries(
            {},
            optional={
                **dict.fromkeys(("by", "top"), FIGURES),
                "rows": st.none() | st.lists(TOP_MOVERS, max_size=3),
                "unread": st.none() | figures_of("rivals", "largest_gain", "unbounded_videos"),
                "doubts": st.none() | st.lists(TEXT, max_size=2),
            },
        ),
        "failures": st.none() | st.lists(figures_of("seller", "page", "reason"), max_size=3),
        "notes": st.none() | st.lists(TEXT, max_size=3),
    },
)


@given(REPORTS)
def test_every_report_has_its_page(report: dict[str, Any]) -> None:
    """Whatever a report lacks or says, there is a page, and it is well-formed."""
    read(as_page(report).encode().decode())


def test_an_empty_report_has_its_page() -> None:
    """Sections of which nothing is known are left out."""
    assert not list(read(as_page({})).iter("table"))
