from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ftkit.cli import rows as results
from ftkit.cli.rows import refuse_out, rows_to
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.rows import Row
from ftkit.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": 'a, "b"\nc', "more": {"x": [1]}, "late": None, "label": "no", "scores": {"no": 0.5, "yes": 0.25}},
    {"id": 2, "text": "é", "more": {"y": 2}, "late": "now", "label": None, "scores": {"no": math.nan, "yes": 1.0}},
]


def write(out: Path, rows: list[dict[str, Any]]) -> list[bool]:
    with rows_to(out, overwrite=False) as put:
        return [put(row) for row in rows]


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_results_are_a_file_of_the_format_that_its_name_says(tmp_path: Path, ending: str) -> None:
    out = tmp_path / "new" / f"out.{ending}"
    assert write(out, ROWS) == [False, True]
    found = [row.values for row in iter_rows(out) if isinstance(row, Row)]
    if ending == "jsonl":
        assert found[0] == ROWS[0]
        assert found[1]["scores"] == {"no": None, "yes": 1.0}
        return
    assert list(found[0]) == ["id", "text", "more", "late", "label", "scores.no", "scores.yes"]
    assert [row["text"] for row in found] == ['a, "b"\nc', "é"]
    assert json.loads(str(found[0]["more"])) == {"x": [1]}
    nothing, number = (None, 0.25) if ending == "parquet" else ("", "0.25")
    assert (found[0]["late"], found[1]["scores.no"], found[0]["scores.yes"]) == (nothing, nothing, number)
    assert found[1]["late"] == "now"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_row_that_does_not_fit_the_table_leaves_no_file(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_ROWS_AT_ONCE", 1)
    out = tmp_path / f"out.{ending}"
    others = [{"a": 1, "b": 2}, *([{"a": "text"}] if ending == "parquet" else [])]
    for other in others:
        with pytest.raises(UserError) as caught:
            write(out, [{"a": 1}, other])
        assert ".jsonl" in str(caught.value.fix)
        assert list(tmp_path.iterdir()) == []


def test_a_format_that_is_not_written_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not written as \.xlsx"):
        refuse_out(tmp_path / "a.xlsx", overwrite=False)
    for name in ("a", "a.csv", "a.JSONL"):
        refuse_out(tmp_path / name, overwrite=False)
