from __future__ import annotations

import sqlite3
import sys
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from ftkit.data.reading import packed
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.rows import BadRow, Row
from ftkit.data.sources import find_sources
from ftkit.errors import UserError
from ftkit.recipe.data_section import DataSpec

Cell = str | int | float | bool | None
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OASIS = "urn:oasis:names:tc:opendocument:xmlns"


def write_xlsx(path: Path, sheets: dict[str, list[list[Cell]]], hidden: str = "") -> Path:
    """A workbook as Excel writes it, of the fewest parts."""
    names = list(enumerate(sheets, 1))
    kind = f"{DOCUMENT}/worksheet"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types"/>')
        book = f'<Relationship Id="r" Type="{DOCUMENT}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{book}</Relationships>')
        targets = "".join(f'<Relationship Id="r{n}" Type="{kind}" Target="worksheets/s{n}.xml"/>' for n, _ in names)
        relations = f'<Relationships xmlns="{PACKAGE}/relationships">{targets}</Relationships>'
        archive.writestr("xl/_rels/workbook.xml.rels", relations)
        states = {name: 'state="hidden"' if name == hidden else "" for name in sheets}
        listed = "".join(f'<sheet name="{name}" sheetId="{n}" {states[name]} r:id="r{n}"/>' for n, name in names)
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{DOCUMENT}"><sheets>{listed}</sheets></workbook>'
        )
        for n, name in names:
            rows = "".join(
                f'<row r="{line}">{"".join(xlsx_cell(cell, "ABCDEF"[at], line) for at, cell in enumerate(row))}</row>'
                for line, row in enumerate(sheets[name], 1)
            )
            sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
            archive.writestr(f"xl/worksheets/s{n}.xml", sheet)
    return path


def xlsx_cell(cell: Cell, column: str, line: int) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        text = f'<is><t xml:space="preserve">{escape(cell)}</t></is>'
        return f'<c r="{column}{line}" t="inlineStr">{text}</c>'
    kind = ' t="b"' if isinstance(cell, bool) else ""
    return f'<c r="{column}{line}"{kind}><v>{int(cell) if isinstance(cell, bool) else cell}</v></c>'


def write_ods(path: Path, rows: list[list[str]]) -> Path:
    cells = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>' for cell in row
        )
        + "</table:table-row>"
        for row in rows
    )
    spaces = " ".join(f'xmlns:{name}="{OASIS}:{name}:1.0"' for name in ("office", "table", "text"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{OASIS}:manifest:1.0"/>')
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="S">{cells}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
    return path


def refusal(path: Path, table: str | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        list(iter_rows(path, table=table))
    assert str(caught.value.where).startswith(str(path))
    return caught.value


def test_a_sheet_gives_its_texts_as_they_are_and_whole_numbers_as_integers(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [
        ["text", "label", "n"],
        ["NA", 1, 0.5],
        [None, None, None],
        [" 007 é\n=1", True, None],
        ["one", 2, 3, "beyond"],
    ]
    assert list(iter_rows(write_xlsx(tmp_path / "a.xlsx", {"Sheet1": rows}))) == [
        Row(2, {"text": "NA", "label": 1, "n": 0.5}),
        Row(4, {"text": " 007 é\n=1", "label": True, "n": ""}),
        BadRow(5, "a cell without a column name above it", "name the column in the first row"),
    ]
    opened = write_ods(tmp_path / "a.ods", [["text", "label"], ["007", "x"]])
    assert list(iter_rows(opened)) == [Row(2, {"text": "007", "label": "x"})]


def test_of_several_sheets_with_rows_one_must_be_named(tmp_path: Path) -> None:
    one: list[list[Cell]] = [["text"], ["one"]]
    path = write_xlsx(tmp_path / "a.xlsx", {"train": one, "empty": [], "old": [["text"], ["two"]]})
    error = refusal(path)
    assert "2 sheets with rows" in error.problem
    assert str(error.fix) == "name one in data.table; sheets here: train, empty, old"
    assert refusal(path, "trian").fix == "did you mean train?"
    write_xlsx(path, {"train": one, "old": [["text"], ["two"]]}, hidden="old")
    assert [row.values for row in iter_rows(path) if isinstance(row, Row)] == [{"text": "one"}]
    sources, _ = find_sources(DataSpec(train_file=str(path), table="old"))
    assert [row.values for row in sources["train"].rows() if isinstance(row, Row)] == [{"text": "two"}]


def test_a_sheet_without_a_usable_header_is_refused_as_a_csv_file_is(tmp_path: Path) -> None:
    for header, problem in (
        (["text", "text"], "names a column twice"),
        (["This was a good film", 1], "looks like data"),
    ):
        path = write_xlsx(tmp_path / "a.xlsx", {"S": [list(header), ["a", "b"]]})
        error = refusal(path)
        assert problem in error.problem
        assert error.where == f"{path}:1"


def test_a_workbook_that_is_none_that_swells_or_that_nothing_reads_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"text,label\na,b\n")
    assert "not a whole .xlsx file" in refusal(path).problem
    write_xlsx(path, {"S": [["x"]] * 5_000})
    monkeypatch.setattr(packed, "MOST_UNPACKED", 1 << 10)
    monkeypatch.setattr(packed, "MOST_TIMES", 10)
    assert "10 times its size" in refusal(path).problem
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    assert refusal(path).fix == "pip install 'ftkit[excel]'"


def database(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path


def test_a_database_gives_its_table_a_view_or_a_query(tmp_path: Path) -> None:
    path = database(
        tmp_path / "odd name?.db",
        'CREATE TABLE "my ""rows" (text TEXT, label INTEGER)',
        "INSERT INTO \"my \"\"rows\" VALUES ('one', 1), ('two', NULL), (CAST(x'ff' AS TEXT), 3)",
        'CREATE VIEW first AS SELECT text FROM "my ""rows" LIMIT 1',
    )
    before = path.read_bytes()
    rows = [Row(1, {"text": "one", "label": 1}), Row(2, {"text": "two", "label": None})]
    bad = BadRow(3, "text holds bytes that are no UTF-8 text", "mend the row")
    assert list(iter_rows(path)) == [*rows, bad]
    assert list(iter_rows(path, table="first")) == [Row(1, {"text": "one"})]
    query = 'select text || "!" AS text from "my ""rows" where label = 1'
    assert list(iter_rows(path, table=query.replace('"!"', "'!'"))) == [Row(1, {"text": "one!"})]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (None, "2 tables with rows"),
        ("c", "no table c"),
        ("DROP TABLE a", "no table DROP TABLE a"),
        ("SELECT 1 AS x, 2 AS x", "two columns are called x"),
        ("SELECT y FROM a", "no such column"),
        ("WITH t AS (SELECT 1) DELETE FROM a", "readonly"),
    ],
)
def test_a_query_that_cannot_be_answered_is_one_error_and_changes_nothing(
    tmp_path: Path, table: str | None, problem: str
) -> None:
    path = database(tmp_path / "a.sqlite", "CREATE TABLE a (x)", "CREATE TABLE b (x)", "INSERT INTO a VALUES (1)")
    assert problem in refusal(path, table).problem
    assert list(iter_rows(path, table="a")) == [Row(1, {"x": 1})]


def test_a_file_that_is_no_database_and_a_table_of_a_file_without_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"text,label\na,b\n" * 100)
    assert "not a database" in refusal(tmp_path / "a.db").problem
    (tmp_path / "a.csv").write_bytes(b"text,label\na,b\n")
    assert str(refusal(tmp_path / "a.csv", "a").fix) == "leave data.table out"
