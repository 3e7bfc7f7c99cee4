"""Durable files where the system is another one: folders are exchanged without its call, links are kept."""

from __future__ import annotations

import ctypes
import errno
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from crawler.models.errors import OutputError
from crawler.store.files import free_bytes, make_private_folder, output_errors, swap_in


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A staged folder and a live one, with a file each."""
    staged, live = tmp_path / "staged", tmp_path / "live"
    for folder in (staged, live):
        folder.mkdir()
        (folder / folder.name).touch()
    return staged, live


def system_without_exchange(patch: pytest.MonkeyPatch, code: int) -> None:
    """Let `renameat2` fail with this error; 0: there is no such call."""
    calls = SimpleNamespace(renameat2=lambda *_: -1) if code else SimpleNamespace()
    patch.setattr(ctypes, "CDLL", lambda *_, **__: calls)
    patch.setattr(ctypes, "get_errno", lambda: code)


@pytest.mark.parametrize("code", [0, errno.ENOSYS, errno.EINVAL])
def test_where_names_cannot_be_exchanged_the_old_folder_is_moved_aside(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    staged, live = folders
    system_without_exchange(monkeypatch, code)
    swap_in(staged, live)
    assert [path.name for path in live.iterdir()] == ["staged"]
    assert [path.name for path in live.parent.iterdir()] == ["live"]


def test_another_system_than_linux_has_no_such_call(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, live = folders
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        swap_in(staged, live)
    assert [path.name for path in live.iterdir()] == ["staged"]


def test_an_exchange_that_fails_for_another_reason_changes_nothing(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, live = folders
    system_without_exchange(monkeypatch, errno.EACCES)
    with pytest.raises(PermissionError):
        swap_in(staged, live)
    assert [path.name for path in live.iterdir()] == ["live"]


def test_what_cannot_be_written_is_said_with_its_place(tmp_path: Path) -> None:
    place = tmp_path / "runs" / "r" / "rejects.jsonl"
    with pytest.raises(OutputError) as caught, output_errors("the snapshot under data"):
        place.touch()
    assert f"cannot write the snapshot under data: No such file or directory ({place}); make" in str(
        caught.value
    )
    with pytest.raises(OutputError) as caught, output_errors(str(place)):
        place.touch()
    assert str(caught.value).count(str(place)) == 1


def test_free_room_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_what_a_link_leads_to_is_left_as_it_is(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    link.symlink_to(target)
    make_private_folder(link)
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
