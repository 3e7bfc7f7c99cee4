"""`--fresh` renews the sellers of its list; the others of the date stay, and nothing is paid for twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from conftest import DATE, SMALL, Night

from crawler.simulator.catalogue import Catalogue
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
COUNT = 12


def crawled(night: Begin, faults: str = "") -> tuple[Night, Simulator, list[str]]:
    """A date of twelve sellers, all complete."""
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults)))
    ids = simulator.catalogue.seller_ids(COUNT)
    report = job.run(job.sellers(ids))
    assert report["sellers"]["complete"] == COUNT
    return job, simulator, ids


def deep_seller(ids: list[str]) -> str:
    """A seller of at least four pages."""
    return next(i for i in ids if Catalogue(SMALL).size(i) >= 30)


def cost(*ids: str) -> int:
    return sum(Catalogue(SMALL).size(i) // 10 + 1 for i in ids)


def rows_by_seller(job: Night) -> dict[str, list[dict[str, Any]]]:
    """Every published row, by seller, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(job.videos(), key=lambda row: (row["seller_id"], row["position"])):
        found.setdefault(row["seller_id"], []).append(row)
    return found


def runs_of(job: Night) -> dict[str, set[str]]:
    """The runs that received the published rows of each seller."""
    return {seller: {row["run_id"] for row in rows} for seller, rows in rows_by_seller(job).items()}


def lose_journal(job: Night) -> None:
    shutil.rmtree(job.data / "state" / "journal")


@pytest.mark.parametrize("journal", ["lost", pytest.param("kept", marks=pytest.mark.long)])
def test_one_seller_is_renewed_and_the_others_stay_as_they_are(night: Begin, journal: str) -> None:
    job, simulator, ids = crawled(night)
    one, sellers, before = deep_seller(ids), job.seller_rows(), rows_by_seller(job)
    if journal == "lost":
        lose_journal(job)
    else:
        shutil.rmtree(job.data / "videos" / f"crawl_date={DATE}")
    sent = simulator.stats.requests
    report = job.run(job.sellers([one]), "--fresh")
    assert simulator.stats.requests - sent == report["credits"]["spent"] == cost(one)
    assert report["credits"]["spent_for_date"] == cost(*ids) + cost(one)
    assert report["sellers"]["total"] == 1
    assert report["published"]
    assert f"{COUNT - 1} sellers" in " ".join(report["notes"])
    after = rows_by_seller(job)
    assert runs_of(job)[one] == {report["run_id"]}
    assert [row["video_id"] for row in after.pop(one)] == [row["video_id"] for row in before.pop(one)]
    assert after == before
    renewed = job.seller_rows()
    assert renewed[one]["credits"] == 2 * cost(one)
    assert renewed[one]["pages"] == renewed[one]["other_credits"] == cost(one)
    assert {i: row for i, row in renewed.items() if i != one} == {
        i: row for i, row in sellers.items() if i != one
    }
    rows = report["rows"]
    assert rows["received"] == rows["duplicate"] + rows["rejected"] + rows["written"]
    assert rows["written"] == len(job.videos())
    # The whole list, and one more seller: nothing is asked for that the date has.
    (new,) = set(simulator.catalogue.seller_ids(COUNT + 1)) - set(ids)
    report = job.run(job.sellers([*ids[1:], new]))
    assert report["credits"]["spent"] == cost(new)
    assert report["sellers"]["complete"] == COUNT
    assert report["go_on"] == ""
    assert any("1 sellers" in note and "not in the list" in note for note in report["notes"])
    assert job.seller_rows().keys() == {*ids, new}
    assert runs_of(job)[one] != set.union(*(runs for i, runs in runs_of(job).items() if i != one))


def test_a_seller_that_fails_keeps_its_previous_rows_and_is_marked(night: Begin) -> None:
    page, ids = 3, Catalogue(SMALL).seller_ids(COUNT)
    one = deep_seller(ids)
    # Look-ahead is off, so that the fault meets this page.
    job, simulator, ids = crawled(night, f"status=400@{cost(*ids) + page}")
    before = rows_by_seller(job)
    report = job.run(job.sellers([one]), "--fresh", "--lookahead", "off", code=4)
    assert report["published"]
    assert any("keep the rows of their crawl before" in note for note in report["notes"])
    assert rows_by_seller(job) == before
    row = job.seller_rows()[one]
    assert (row["status"], row["stop_reason"], row["kept_status"]) == ("failed", "error", "complete")
    assert "400" in row["error"]
    assert row["videos"] == len(before[one])
    assert row["pages"] == cost(one)
    assert row["credits"] >= cost(one) + page - 1
    assert {row["kept_status"] for i, row in job.seller_rows().items() if i != one} == {None}
    # The next --fresh asks again, and goes on where this one failed.
    sent = simulator.stats.requests
    report = job.run(job.sellers([one]), "--fresh", "--lookahead", "off")
    assert simulator.stats.requests - sent == cost(one) - (page - 1)
    assert job.seller_rows()[one]["kept_status"] is None
    assert rows_by_seller(job)[one][-1]["run_id"] == report["run_id"]
    assert job.run(job.sellers(ids))["credits"]["spent"] == 0


def test_what_is_cut_short_goes_on_and_loses_nothing(night: Begin) -> None:
    job, simulator, ids = crawled(night)
    before, spent = rows_by_seller(job), cost(*ids)
    fresh, other = ids[:6], ids[6:8]
    total = spent + cost(*fresh)
    report = job.run(job.sellers(fresh), "--fresh", "--budget", str(total - 4), code=3)
    assert not report["published"]
    assert "--fresh" not in report["go_on"]
    assert any("previous snapshot stays published" in note for note in report["notes"])
    assert rows_by_seller(job) == before
    # Another --fresh is published by itself, beside the one that waits.
    report = job.run(job.sellers(other), "--fresh")
    assert report["published"]
    assert any(
        note.startswith("not all of the 6 sellers of a --fresh crawl have ended; the previous snapshot stays")
        for note in report["notes"]
    )
    after = rows_by_seller(job)
    assert {i: after[i] for i in before if i not in other} == {i: before[i] for i in before if i not in other}
    assert all(runs_of(job)[i] == {report["run_id"]} for i in other if i in after)
    # So is a seller that is new to the date.
    (new,) = set(simulator.catalogue.seller_ids(COUNT + 1)) - set(ids)
    job.run(job.sellers([new]))
    assert job.seller_rows()[new]["status"] == "complete"
    assert {i: rows for i, rows in rows_by_seller(job).items() if i != new} == after
    # A plain run of the whole list pays for nothing but the rest; so would --fresh again.
    report = job.run(job.sellers([*ids, new]))
    assert report["published"]
    assert simulator.stats.requests == total + cost(*other) + cost(new)
    assert not {runs.pop() for i, runs in runs_of(job).items() if i in fresh} & {
        row["run_id"] for rows in before.values() for row in rows
    }
    assert {row["other_credits"] for i, row in job.seller_rows().items() if i in (*fresh, *other)} != {0}
    assert job.run(job.sellers(fresh), "--fresh")["credits"]["spent"] == cost(*fresh)


@pytest.mark.parametrize("harm", ["sellers gone", pytest.param("other sorting", marks=pytest.mark.long)])
def test_others_that_could_not_be_kept_refuse_the_run(night: Begin, harm: str) -> None:
    job, simulator, ids = crawled(night)
    sorting: tuple[str, ...] = ()
    folder = job.data / "sellers" / f"crawl_date={DATE}"
    if harm == "other sorting":
        sorting = ("--sort", "gmv")
    else:
        lose_journal(job)
    if harm == "sellers gone":
        shutil.rmtree(folder)
    before, sent = rows_by_seller(job), simulator.stats.requests
    stderr = job.run(job.sellers([ids[0]]), "--fresh", *sorting, code=2)["stderr"]
    assert ("--sort views" if sorting else str(folder)) in stderr
    assert rows_by_seller(job) == before
    assert simulator.stats.requests == sent
    if sorting:
        report = job.run(job.sellers(ids), "--fresh", *sorting)
        assert report["sellers"]["complete"] == COUNT
        assert set.union(*runs_of(job).values()) == {report["run_id"]}


def test_what_is_published_without_any_state_is_not_paid_for_again(night: Begin) -> None:
    job, simulator, ids = crawled(night)
    before, sent = rows_by_seller(job), simulator.stats.requests
    shutil.rmtree(job.data / "state")
    (new,) = set(simulator.catalogue.seller_ids(COUNT + 1)) - set(ids)
    report = job.run(job.sellers([*ids, new]))
    assert simulator.stats.requests - sent == report["credits"]["spent"] == cost(new)
    assert report["credits"]["spent_for_date"] == cost(*ids, new)
    assert {i: rows for i, rows in rows_by_seller(job).items() if i != new} == before
    assert report["rows"]["written"] == len(job.videos())


@pytest.mark.long
def test_damaged_pages_of_a_previous_crawl_cost_no_published_row(night: Begin) -> None:
    job, _, ids = crawled(night)
    before, one = job.ids(), deep_seller(ids)
    job.run(job.sellers([one]), "--fresh", "--budget", str(cost(*ids) + 2), code=3)
    segments = sorted((job.data / "state" / "journal").glob("*.segments/*.arrow"))
    whole = segments[0].read_bytes()
    segments[0].write_bytes(whole[: len(whole) // 2] + b"rubbish" + whole[len(whole) // 2 + 7 :])
    report = job.run(job.sellers(ids[:1]))
    assert any("was damaged" in note for note in report["notes"])
    assert job.ids() == before
    job.run(job.sellers(ids))
    assert job.ids() == before
    assert {row["status"] for row in job.seller_rows().values()} == {"complete"}


def test_rejected_rows_are_those_of_the_crawl_that_is_published(night: Begin) -> None:
    ids = Catalogue(SMALL).seller_ids(COUNT)
    job, _ = night(SimulatorOptions(SMALL, faults=parse_faults("no_id:1")))
    first = job.run(job.sellers(ids))
    assert first["rows"]["rejected"]
    report = job.run(job.sellers([deep_seller(ids)]), "--fresh")
    assert report["rows"] == first["rows"]
    folders = [job.data / "runs" / run["run_id"] for run in (first, report)]
    before, after = (sorted((folder / "rejects.jsonl").read_text().splitlines()) for folder in folders)
    assert before == after
