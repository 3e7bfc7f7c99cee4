"""Tables in the docs are what the program says, and every error has a code of the table."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGTERM

import pytest
from tables import DOCS, between, made

from crawler.exit_codes import EXIT_CODES, verdict_of
from crawler.history.change_kinds import ChangeKind
from crawler.models.dataset import DATASETS, SCHEMA_VERSION
from crawler.models.errors import CrawlerError, InterruptedRunError
from crawler.models.seller import SellerStatus, StopReason
from crawler.report.moved_part import KINDS

WITHOUT_UNIT = {"position", "min_value", "certain_above", "exit_code", "checksum"}


def test_the_files_are_as_the_tables_make_them() -> None:
    for path, text in made().items():
        assert path.read_text() == text, f"{path} is not up to date: run make tables"


def test_the_data_dictionary_names_every_column_and_every_word_that_a_column_may_hold() -> None:
    page = (DOCS / "data.md").read_text()
    columns = {name for dataset in DATASETS for name in dataset.names}
    words = {*columns, *ChangeKind, *SellerStatus, *StopReason}
    assert [word for word in sorted(words) if f"`{word}`" not in page] == []
    assert set(KINDS) == set(ChangeKind)


def test_each_column_is_described_and_each_number_of_things_has_a_unit() -> None:
    for dataset in DATASETS:
        assert len(set(dataset.names)) == len(dataset.names)
        assert set(dataset.keys) <= set(dataset.names)
        for column in dataset.columns:
            where = f"{dataset.name}.{column.name}"
            assert column.meaning, where
            assert 1 <= column.since <= SCHEMA_VERSION, where
            assert not any(text.endswith(".") for text in (column.meaning, column.nulls, column.unknown)), (
                where
            )
            if column.type in {"int64", "float64"} and column.name not in WITHOUT_UNIT:
                assert column.unit, where


def test_content_goes_between_its_own_marks_once() -> None:
    text = "a\n<!-- x: made -->\nold\n<!-- end -->\n<!-- y: made -->\nkept\n<!-- end -->\n"
    assert between(text, "x", "new\n") == text.replace("old", "new")
    with pytest.raises(AssertionError):
        between(text, "z", "")


def subclasses(kind: type[CrawlerError]) -> set[type[CrawlerError]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_ends_with_a_code_of_the_table() -> None:
    for kind in subclasses(CrawlerError) - {InterruptedRunError}:
        assert kind.exit_code in EXIT_CODES, kind
    assert [InterruptedRunError(number).exit_code for number in (SIGINT, SIGTERM, SIGHUP)] == [130, 143, 143]


def test_each_code_is_explained_in_a_sentence_without_its_end() -> None:
    assert {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130, 141, 143} == EXIT_CODES.keys()
    for number, code in EXIT_CODES.items():
        assert number == code.number
        for text in code[1:]:
            assert text
            assert not text.endswith(".")
    assert (verdict_of(129), verdict_of(77)) == ("interrupted", "unknown exit code")
