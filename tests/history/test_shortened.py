"""How long the lists are of sellers that were read in stretches, by what shows their ends."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import orjson
import pyarrow as pa

from crawler.history.measuring import Measuring
from crawler.history.shortened import lengths_in_stretches
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.rules.plausibility import ROWS
from crawler.store.bases import Bases
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.records import Record

DAY = date(2026, 11, 23)
BEFORE = DAY - timedelta(1)


def page(seller_id: str, number: int, rows: int) -> Page:
    body = orjson.dumps({"code": 0, "data": [{"video_id": f"{number}-{n}"} for n in range(rows)]})
    return Page(seller_id, number, body, rows, number, 1000, "req")


def test_only_an_end_that_was_seen_makes_a_list_shorter(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.journal(DAY, 1).parent.mkdir(parents=True)
    with Journal(layout.journal(DAY, 1)) as journal:
        bases = Bases()
        for seller_id in ("as it was", "cut off", "ends early", "judged", "not read", "whole", "shallow"):
            stretches = [BEFORE.isoformat()] * (1 if seller_id == "shallow" else 6)
            bases.add(seller_id, BEFORE, 420, orjson.dumps(stretches).decode())
            bases.add_rates([1.0] * len(stretches))
        journal.carried.stand_on(bases)
        full = [page("as it was", number, 10) for number in range(9, 17)]
        ended = [page("whole", 1, 10), page("whole", 2, 3)]
        others = [page("cut off", 17, 10), page("ends early", 17, 0), page("judged", 17, 0)]
        records = [Record(each.seller_id, "run", 1, each, None) for each in (*full, *others, ended[0])]
        whole = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
        journal.write([*records, Record("whole", "run", 1, ended[1], whole)])
        journal.write([Record("shallow", "run", 1, page("shallow", 1, 0), None)])
        found = {each.seller_id: each for each in lengths_in_stretches(journal, {"judged"})}
        measuring = Measuring(rows_judged=[pa.array(["judged"])])
        measuring.add_in_stretches(journal)
    assert found.keys() == {"as it was", "cut off", "ends early", "whole"}
    assert {name: each.now for name, each in found.items()} == {
        "as it was": 400,
        "cut off": 400,
        "ends early": 160,
        "whole": 13,
    }
    assert (measuring.judged[ROWS], measuring.fallen[ROWS]) == (4, 2)
    assert [ids.to_pylist() for ids in measuring.hits[ROWS]] == [["ends early", "whole"]]
