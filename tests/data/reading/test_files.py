from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftkit.data.reading.asked import FileReading, iter_asked
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError
from ftkit.recipe.data_section import Quoting
from tests.fixtures.tiers import slow


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **options: str) -> list[Row | BadRow]:
    return list(iter_rows(path, **options))


def bad(path: Path, **options: str) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in read(path, **options) if isinstance(row, BadRow)]


def refusal(path: Path, **options: str) -> UserError:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return caught.value


def test_a_row_of_several_lines_may_have_empty_fields(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'empty,text,label\n,"one\ntwo",x\n')
    assert read(path) == [Row(2, {"empty": "", "text": "one\ntwo", "label": "x"})]


def test_a_row_carries_the_line_where_it_starts_also_after_a_line_break_in_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,label\n"one\r\ntwo\nthree",x\n\nfour,y\n')
    assert read(path) == [
        Row(2, {"text": "one\r\ntwo\nthree", "label": "x"}),
        Row(6, {"text": "four", "label": "y"}),
    ]


@pytest.mark.parametrize("text", ["NA", "null", "None", "nan", "N/A", "007", "1e5", " spaced ", "", 'a "quoted" word'])
def test_a_text_stays_what_it_is(tmp_path: Path, text: str) -> None:
    quoted = text.replace('"', '""')
    row = read(written(tmp_path, "a.csv", f'text,label\n"{quoted}",x\n'))[0]
    assert row == Row(2, {"text": text, "label": "x"})


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    for name, content in [("a.csv", "text,label\na,b\n"), ("a.jsonl", '{"text": "a", "label": "b"}\n')]:
        row = read(written(tmp_path, name, b"\xef\xbb\xbf" + content.encode()))[0]
        assert isinstance(row, Row)
        assert row.values == {"text": "a", "label": "b"}


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}, ü", "label": "ab"[i % 2]} for i in range(5)]
    lines = [json.dumps(row) for row in rows]
    written(tmp_path, "1.csv", "text,label\n" + "".join(f'"{r["text"]}",{r["label"]}\n' for r in rows))
    written(tmp_path, "2.tsv", "text\tlabel\r\n" + "".join(f"{r['text']}\t{r['label']}\r\n" for r in rows))
    written(tmp_path, "3.json", json.dumps(rows, indent=2))
    written(tmp_path, "4.jsonl", "\n\n".join(lines))
    written(tmp_path, "5.json", "\n".join(lines))
    written(tmp_path, "6.csv", ("text;label\n" + "".join(f"{r['text']};{r['label']}\n" for r in rows)).encode("utf-16"))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "7.parquet")
    with pa.OSFile(str(tmp_path / "8.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    with pa.OSFile(str(tmp_path / "9.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 9
    for path in paths:
        options = {"encoding": "utf-16", "delimiter": ";"} if path.name == "6.csv" else {}
        assert [row.values for row in read(path, **options) if isinstance(row, Row)] == rows, path.name


def test_a_text_file_is_one_row_a_line_and_breaks_nowhere_else(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "one\x0c\u2028still one\r\n\nthree")
    assert read(path) == [
        Row(1, {"text": "one\x0c\u2028still one"}),
        Row(2, {"text": ""}),
        Row(3, {"text": "three"}),
    ]


def test_too_few_and_too_many_fields_are_reported_with_their_lines_and_the_rows_after_them_are_read(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "a.csv", "text,label\nonly\na,b,c,d\ngood,x\n")
    assert bad(path) == [(2, "1 field where the header has 2"), (3, "4 fields where the header has 2")]
    assert read(path)[-1] == Row(4, {"text": "good", "label": "x"})


def test_a_byte_of_another_encoding_is_named_with_line_offset_value_and_the_encoding_that_fits(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text,label\nfine,x\nprice £5 “now”,x\nfine,y\n".encode("cp1252"))
    rows = read(path)
    assert rows[1] == BadRow(3, "byte 0xa3 at offset 24 of the file is not utf-8", "data.encoding: cp1252 would fit")
    assert [row.line for row in rows if isinstance(row, Row)] == [2, 4]
    assert read(path, encoding="cp1252")[1] == Row(3, {"text": "price £5 “now”", "label": "x"})
    frame = written(tmp_path, "a.json", '{"text": {"0": "fine", "1": "price £5"}}'.encode("cp1252"))
    assert bad(frame) == [(2, "byte 0xa3 at offset 35 of the file is not utf-8")]
    assert read(frame)[0] == Row(1, {"text": "fine"})


def test_bytes_that_cp1252_lacks_lead_to_latin_1(tmp_path: Path) -> None:
    row = read(written(tmp_path, "a.txt", b"a \x81\xe9\n"))[0]
    assert isinstance(row, BadRow)
    assert "latin-1" in row.fix


def test_no_encoding_is_advised_for_what_is_no_text(tmp_path: Path) -> None:
    row = read(written(tmp_path, "a.txt", bytes(range(200, 14, -1))))[0]
    assert isinstance(row, BadRow)
    assert "this is no text" in row.fix


def test_one_damaged_byte_in_a_utf_8_file_is_no_reason_to_change_the_encoding(tmp_path: Path) -> None:
    row = read(written(tmp_path, "a.txt", "äöü äöü\n".encode() * 9 + b"\xff\n"))[-1]
    assert isinstance(row, BadRow)
    assert row.line == 10
    assert "damaged" in row.fix


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt"])
def test_utf_16_is_told_by_its_mark(tmp_path: Path, name: str) -> None:
    error = refusal(written(tmp_path, name, "text,label\n".encode("utf-16")))
    assert error.fix == "set data.encoding: utf-16"
    assert error.where == f"{tmp_path / name}:1"


def test_a_nul_byte_spoils_its_row_only(tmp_path: Path) -> None:
    assert bad(written(tmp_path, "a.csv", b"text,label\na\0b,x\nc,y\n")) == [(2, "a NUL byte")]
    assert bad(written(tmp_path, "a.jsonl", '{"text": "a\\u0000"}\n{"text": "\\\\u0000"}\n')) == [
        (1, "a NUL character")
    ]


def test_a_quote_that_never_closes_is_an_error_at_the_line_where_it_opens(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, "a.csv", 'text,label\nfine,x\n"open,x\nfine,y\n'))
    assert error.where == f"{tmp_path / 'a.csv'}:3"
    assert "never closed" in error.problem


def test_text_after_a_closing_quote_is_reported_and_reading_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,label\n"He" said,x\nfine,y\n"open,z\n"so",z\nfine,y\n')
    assert bad(path) == [
        (2, "text after a closing quote"),
        (4, "the quote that opens here closes in line 5, with text after it"),
    ]
    assert [row.line for row in read(path) if isinstance(row, Row)] == [3, 6]


def test_a_text_of_ten_megabytes_is_read_whole(tmp_path: Path) -> None:
    text = "long text " * 1_000_000
    for name, content in [("a.csv", f"text,label\n{text},x\n"), ("a.json", json.dumps([{"text": text, "label": "x"}]))]:
        row = read(written(tmp_path, name, content))[0]
        assert isinstance(row, Row)
        assert row.values["text"] == text


@pytest.mark.parametrize(
    ("content", "delimiter", "fix"),
    [
        ("text;label\na;b\n", None, "set data.delimiter: ';'"),
        ("text\tlabel\na\tb\n", None, 'set data.delimiter: "\\t"'),
        ("text,label\na,b\n", ";", "set data.delimiter: ','"),
    ],
)
def test_a_header_of_one_column_with_a_delimiter_in_it_names_the_delimiter(
    tmp_path: Path, content: str, delimiter: str | None, fix: str
) -> None:
    path = written(tmp_path, "a.csv", content)
    with pytest.raises(UserError) as caught:
        list(iter_rows(path, delimiter=delimiter))
    assert (caught.value.where, caught.value.fix) == (f"{path}:1", fix)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the file is empty"),
        ("\n\n", "blank lines only"),
        ("text,label,text\na,b,c\n", "names a column twice: text"),
        ("This was a really good film,1\nbad,0\n", "looks like data"),
        ('"text,label\na,b\n', "never closed"),
        (b"t\xe9xt,label\na,b\n", "the header cannot be read: byte 0xe9"),
    ],
)
def test_an_unusable_header_is_an_error(tmp_path: Path, content: str | bytes, problem: str) -> None:
    assert problem in str(refusal(written(tmp_path, "a.csv", content)))


def test_an_index_column_without_a_name_gets_one(tmp_path: Path) -> None:
    row = read(written(tmp_path, "a.csv", ",text,label\n0,a,b\n"))[0]
    assert row == Row(2, {"column 1": "0", "text": "a", "label": "b"})


def test_broken_json_lines_are_reported_one_by_one(tmp_path: Path) -> None:
    lines = [
        '{"text": "good"}',
        '{"text": "no brace"',
        '{"text": "cut o',
        '{"text" "no colon"}',
        '["a list"]',
        '"a string"',
        "NaN",
        '{"text": "a", "text": "b"}',
        '{"text": "\\ud83d"}',
        "[" * 100_000,
        '{"text": "\\ud83d\\ude00"}',
    ]
    path = written(tmp_path, "a.jsonl", "\n".join(lines))
    found = bad(path)
    assert [line for line, _ in found] == list(range(2, 11))
    for (_, reason), part in zip(
        found,
        ["middle of an object", "middle of an object", "column 9", "a list", "a string", "nan", "text occurs twice",
         "second half", "cannot be read"],
        strict=True,
    ):  # fmt: skip
        assert part in reason
    assert read(path)[-1] == Row(11, {"text": "\U0001f600"})


def test_a_json_array_is_read_in_pieces_with_the_line_of_each_object(tmp_path: Path) -> None:
    rows = [{"text": f"{i} " + "x" * (7 * i % 3000), "label": i % 2, "more": [1.5, {"a": None}]} for i in range(500)]
    path = written(tmp_path, "a.json", "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    assert path.stat().st_size > 2 * (1 << 18)
    assert read(path) == [Row(number + 2, row) for number, row in enumerate(rows)]


@pytest.mark.parametrize("size", range((1 << 18) - 6, (1 << 18) + 6))
def test_a_json_array_does_not_mind_where_its_pieces_are_cut(tmp_path: Path, size: int) -> None:
    content = f'[{{"text": "{"x" * (size - 40)}", "n": 123456}} , {{"text": "b"}}]'
    rows = read(written(tmp_path, "a.json", content))
    assert [row.values.get("n") for row in rows if isinstance(row, Row)] == [123456, None]


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ('[{"text": "a"},\n{"text" "b"}]', 2, "Expecting ':'"),
        ('[{"text": "a"},\n{"text": "b"}', 2, "the file ends where , or ] should be"),
        ('[{"text": "a"}\n{"text": "b"}]', 2, "{ where , or ] should be"),
        ('[{"text": "a"},\n]', 2, "Expecting value"),
        ('[{"text": "a"}]\n[]', 2, "follows the end"),
        ('{"data": [{"text": "a"}]}', 1, "under the key data"),
        ('{\n "version": 1,\n "data": [{"text": "a"}]}', 1, "under the key data"),
        ('{"text": ["a", "b"], "label": [0, 1]}', 1, "under the key text"),
        ("3", 1, "neither a JSON array"),
        (b'[{"text": "a"},\n\xe8]', 2, "byte 0xe8 at offset 16 of the file is not utf-8"),
    ],
)
def test_json_that_holds_no_rows_is_an_error_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, problem: str
) -> None:
    error = refusal(written(tmp_path, "a.json", content))
    assert error.where == f"{tmp_path / 'a.json'}:{line}"
    assert problem in error.problem


def test_an_element_of_an_array_that_is_no_object_is_one_bad_row(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", '["a",\n5, {"text": "b"},\n{"k": 1, "k": 2}]')
    assert [line for line, _ in bad(path)] == [1, 2, 3]
    assert Row(2, {"text": "b"}) in read(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_damaged_binary_file_is_an_error(tmp_path: Path, name: str) -> None:
    assert "not a whole" in refusal(written(tmp_path, name, b"PAR1 something else")).problem


def test_a_parquet_text_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    assert "a value cannot be read: column text: 'utf-8'" in refusal(tmp_path / "a.parquet").problem


def test_a_time_that_python_has_no_date_for_is_its_text(tmp_path: Path) -> None:
    times = pa.array([253402300800000], pa.timestamp("ms"))
    pq.write_table(pa.table({"text": ["a"], "when": times}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [Row(1, {"text": "a", "when": "10000-01-01 00:00:00.000"})]


@pytest.mark.parametrize(
    ("trained", "quoting", "num_rows", "said"),
    [
        ("none", None, 3, ["a.csv: quotes are letters, as in the training data"]),
        ("none", "minimal", 1, ["warning: a.csv:2: a quoted text runs over line ends"]),
        ("minimal", None, 1, ["warning: a.csv:2: a quoted text runs over line ends"]),
        ("minimal", "none", 3, []),
    ],
)
def test_quotes_of_an_asked_file_are_as_in_training_unless_an_option_says_otherwise(
    tmp_path: Path, trained: Quoting, quoting: Quoting | None, num_rows: int, said: list[str]
) -> None:
    path, heard = written(tmp_path, "a.csv", 'text,id\n"one,1\ntwo,2 three\nfour",3\n'), []
    rows = list(iter_asked(path, FileReading(quoting=quoting), trained=trained, say=heard.append))
    assert len(rows) == num_rows
    assert [line.startswith(start) for line, start in zip(heard, said, strict=True)] == [True] * len(said)


@pytest.mark.parametrize("option", ["delimiter", "quoting"])
def test_an_option_about_fields_is_refused_for_a_file_without_them(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"--{option} is about CSV and TSV files"):
        list(iter_asked(written(tmp_path, "a.jsonl", "{}"), FileReading(**{option: "none"}), say=print))


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table"])
@pytest.mark.parametrize(("name", "indent"), [("a.json", 0), ("a.json", 2), ("a.jsonl", 0)])
def test_a_table_of_pandas_gives_its_rows_and_no_value_is_made_another(
    tmp_path: Path, orient: Literal["columns", "index", "split", "table"], name: str, indent: int
) -> None:
    rows = [{"text": f"text {i}, ü", "label": f"0{i}", "when": "2024-01-01"} for i in range(12)]
    pd.DataFrame(rows).to_json(tmp_path / name, orient=orient, indent=indent)
    found = read(tmp_path / name)
    assert [row.line for row in found] == list(range(1, 13))
    assert [{key: row.values[key] for key in rows[0]} for row in found if isinstance(row, Row)] == rows


@pytest.mark.parametrize(
    "row", ['{"translation": {"de": "a", "en": "b"}}', '{"a": {"0": "x"}, "b": "y"}', '{"0": {"1": "x"}}']
)
def test_one_object_that_is_no_table_is_one_row(tmp_path: Path, row: str) -> None:
    assert read(written(tmp_path, "a.jsonl", row)) == [Row(1, json.loads(row))]


def test_an_object_a_line_is_no_table_though_its_first_line_could_be_one(tmp_path: Path) -> None:
    line = '{"text": {"0": "a"}, "label": {"0": "b"}}\n'
    assert len(read(written(tmp_path, "a.jsonl", line + "\n" + line))) == 2


@pytest.mark.parametrize(
    ("name", "fix"),
    [("a.doc", ".xlsx"), ("a.parquet.gz", "unpack"), ("noending", ".jsonl")],
)
def test_an_unknown_format_says_what_to_write_instead(tmp_path: Path, name: str, fix: str) -> None:
    assert fix in str(refusal(written(tmp_path, name, "x")))


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "train.csv", "text,label\n")
    assert refusal(tmp_path / "trian.csv").fix == "did you mean train.csv?"
    assert "folder" in str(refusal(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-42", "rot13"])
def test_an_unknown_encoding_is_an_error(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "a.csv", "text,label\na,b\n")
    assert encoding in refusal(path, encoding=encoding).problem


def test_a_file_that_is_not_utf_16_after_all_is_an_error(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.txt", "a.json"):
        assert "utf-16" in refusal(written(tmp_path, name, '{"text": "abcd"}\n'), encoding="utf-16").problem


@pytest.mark.parametrize("name", [slow("a.csv"), slow("a.jsonl"), "a.json"])
def test_reading_needs_the_same_memory_for_any_size(tmp_path: Path, name: str) -> None:
    line = '{"text": "some words to fill the line", "label": "x"}'
    content = {
        "a.csv": "text,label\n" + "some words to fill the line,x\n" * 60_000,
        "a.jsonl": f"{line}\n" * 60_000,
        "a.json": "[" + ",".join([line] * 60_000) + "]",
    }[name]
    path = written(tmp_path, name, content)
    tracemalloc.start()
    count = sum(1 for _ in iter_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 1_500_000 < path.stat().st_size


@pytest.mark.parametrize(("name", "delimiter"), [("q.tsv", "\t"), ("q.csv", ",")])
def test_stray_quotes_that_pair_up_hold_no_rows_unseen(tmp_path: Path, name: str, delimiter: str) -> None:
    texts = [f"sentence number {row} here" for row in range(100)]
    texts[10], texts[60] = '"' + texts[10], texts[60] + '"'
    lines = [f"{text}{delimiter}{'ab'[row % 2]}" for row, text in enumerate(texts)]
    path = written(tmp_path, name, "\n".join([f"text{delimiter}label", *lines, ""]))
    with pytest.raises(UserError) as caught:
        read(path)
    assert (caught.value.where, "closed in line 62" in caught.value.problem) == (f"{path}:12", True)
    assert "data.quoting" in str(caught.value.fix)
    rows = list(iter_rows(path, quotes=False))
    assert [row.values["text"] for row in rows if isinstance(row, Row)] == texts


def test_a_text_of_several_lines_with_commas_is_read_and_may_be_asked_about(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,label\n"Dear all,\nno, I am not",x\n"one\ntwo",y\n"a, b, c\nd",z\n')
    rows = read(path)
    assert [row.values["label"] for row in rows] == ["x", "y", "z"]
    assert [row.swallows for row in rows] == [True, False, True]
