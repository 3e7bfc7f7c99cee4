"""Outages on nights that are 24 hours apart by a clock of the tests' own: stillness, and what is rebuilt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from outage_nights import Cut, Project, healthy_night

from crawler.models.errors import InputError
from crawler.nightly.by_hand import accept_date
from crawler.nightly.process import Signals
from crawler.nightly.rebuilding import rebuild

SELLERS = 40


def after(nights: int, folder: Path) -> Project:
    """A project on the day after so many good nights."""
    project = Project(3, folder, SELLERS)
    for _ in range(nights):
        healthy_night(project)
        project.next_day()
    return project


def test_a_stale_api_is_implausible_after_three_nights_that_moved(tmp_path: Path) -> None:
    """The first of four good nights has nothing to move from."""
    project = after(4, tmp_path)
    report = project.run("stale")
    assert report is not None
    assert (report.exit_code, report.plausibility["verdict"]) == (10, "implausible")
    assert "same figures to the last digit" in report.plausibility["reasons"][0]
    assert report.requests.sent < SELLERS
    assert project.published() is None
    healthy_night(project)
    assert project.wrong() == []


@pytest.mark.parametrize("nights", [1, 3])
def test_a_stale_api_is_odd_before_that(tmp_path: Path, nights: int) -> None:
    project = after(nights, tmp_path)
    report = project.run("stale")
    assert report is not None
    assert (report.exit_code, report.plausibility["verdict"]) == (0, "odd")
    assert "same figures to the last digit" in report.plausibility["reasons"][0]


def test_changes_are_made_anew_for_accepted_nights_and_not_for_those_held_back(tmp_path: Path) -> None:
    project = after(2, tmp_path)
    report = project.run("zeros")
    assert report is not None
    assert report.exit_code == 10
    settings, world = project.settings(None), project.world(None, Cut(), Signals())
    shutil.rmtree(tmp_path / "changes")
    assert project.day not in rebuild(settings, world).dates
    with pytest.raises(InputError, match="nothing is published"):
        rebuild(settings, world, project.day)
    assert accept_date(settings, project.day, world).rows == report.rows["written"]
    shutil.rmtree(tmp_path / "changes" / f"crawl_date={project.day}")
    done = rebuild(settings, world)
    assert [*done.dates] == [project.day]
    assert done.dates[project.day]["corrected"] > 0
