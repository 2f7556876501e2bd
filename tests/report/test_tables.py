"""Tables: columns that stand beneath one another whatever is in them."""

import pytest
from rich.cells import cell_len

from ftkit.report.tables import hanging, markdown_table, padded, shortened, table_lines, widest

ROWS = [["", "rows", "share"], ["train", "1,200", "0.9"], ["validation", "80", "0.1"]]


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_on_the_right():
    assert table_lines(ROWS, align="<>") == [
        "             rows  share",
        "train       1,200    0.9",
        "validation     80    0.1",
    ]


def test_what_is_wider_than_its_column_pushes_the_rest_of_its_line_alone():
    assert table_lines([["ab", "1"], ["abcdefgh", "2"]], align="<>", widths=(4, 3), gap=0) == [
        "ab    1",
        "abcdefgh  2",
    ]


def test_no_line_ends_in_spaces():
    assert table_lines([["name", "c"], ["x", ""]], gap=1) == ["name c", "x"]


def test_letters_that_take_two_cells_are_counted_as_two():
    rows = [["茶の湯", "1"], ["tea", "22"]]
    assert widest(rows) == [6, 2]
    assert {cell_len(line) for line in table_lines(rows, align="<>")} == {6 + 2 + 2}
    assert padded("茶", 3, side=">") == " 茶"


def test_rows_may_be_of_unlike_lengths():
    assert widest([["a"], ["bb", "ccc"]]) == [2, 3]
    assert table_lines([["a"], ["bb", "ccc"]]) == ["a", "bb  ccc"]
    assert table_lines([]) == []


def test_a_folded_text_hangs_by_its_first_line_and_words_with_hyphens_stay_whole():
    assert hanging("note: a well-known fact", width=17, indent=6) == ["note: a", "      well-known", "      fact"]


@pytest.mark.parametrize(("most", "said"), [(4, "four ..."), (12, "four letters"), (13, "four letters")])
def test_a_text_is_cut_where_it_is_longer(most, said):
    assert shortened("four letters", most) == said


def test_a_table_of_markdown_has_a_rule_below_its_head():
    assert markdown_table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert markdown_table([["a"]]) == "| a |\n| --- |"
