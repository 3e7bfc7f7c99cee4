"""Links of README and docs lead to files and headings that are there, and the site's nav has every page."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from page_examples import tokens_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PATHS = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]


def anchors_of(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    tokens = tokens_of(page)
    titles = (tokens[at + 1] for at, token in enumerate(tokens) if token.type == "heading_open")
    texts = ("".join(part.content for part in title.children or ()) for title in titles)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def faults(path: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for token in tokens_of(path.read_text()):
        link = str(token.attrGet("href") or token.attrGet("src") or "")
        if not link or re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors_of(target.read_text())
        ):
            found.append(f"{path.name}: {link}")
    return found


def test_links_lead_somewhere() -> None:
    assert [fault for path in PATHS for fault in faults(path)] == []


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` --c\n\n[1](#a-b---c) [2](page.md#d) ![3](e.svg) [4](https://example.org/f) [5](page.md)\n"
    )
    assert faults(page) == ["page.md: page.md#d", "page.md: e.svg"]


def test_pages_that_the_program_names_are_there() -> None:
    named = {
        (path.name, page)
        for path in (*ROOT.glob("crawler/**/*.py"), *ROOT.glob("config/**/*"), ROOT / "Makefile")
        if path.is_file()
        for page in re.findall(r"docs/[\w-]+\.\w+", path.read_text())
    }
    assert len(named) > 8
    assert sorted((name, page) for name, page in named if not (ROOT / page).is_file()) == []


def test_every_page_is_in_the_nav() -> None:
    nav = re.findall(r"^```\{toctree\}\n(.*?)^```", (DOCS / "index.md").read_text(), re.MULTILINE | re.DOTALL)
    entries = [line.rstrip(">").split("<")[-1].strip() for part in nav for line in part.splitlines()]
    names = [entry for entry in entries if entry and not entry.startswith(":")]
    listed = {path.stem for name in names for path in DOCS.glob(f"{name}.md")}
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} == listed, "name a new page in docs/index.md"
