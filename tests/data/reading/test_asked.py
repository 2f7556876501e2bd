from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ftkit.commands.predict import FileColumns, text_rows
from ftkit.data.prompting import Prompting
from ftkit.data.reading.asked import FileReading
from ftkit.decoding.prompts import file_prompts
from ftkit.errors import UserError

BROKEN = '{"text": "one two"}\n{"text": \n{"text": 5}\n{"text": "three four"}\n'


@pytest.mark.parametrize("command", ["predict", "generate"])
def test_rows_that_cannot_be_used_are_refused_or_left_out_with_their_places(tmp_path: Path, command: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(BROKEN.replace('"text": 5', '"other": 5'))
    heard: list[str] = []

    def read(reading: FileReading) -> list[str | None]:
        if command == "predict":
            return [row.text for row in text_rows(path, FileColumns("text", reading=reading), say=heard.append)]
        prompting = Prompting("completion", "{text} {more}<learn>{answer}")
        return [ask.text for ask in file_prompts(prompting, path, reading=reading, say=heard.append)]

    if command == "generate":
        path.write_text(path.read_text().replace('"}', '", "more": "."}'))
    end = " ." if command == "generate" else ""
    with pytest.raises(UserError) as caught:
        read(FileReading())
    assert caught.value.where == f"{path}:2"
    assert read(FileReading(on_bad_row="skip")) == [f"one two{end}", f"three four{end}"]
    assert [line.split(" ")[2] for line in heard[:2]] == [f"{path}:2", f"{path}:3"]
    assert heard[-1] == f"2 rows of {path} left out (--on-bad-row skip)"


def test_a_model_is_asked_about_a_table_of_a_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE a (text)")
        connection.execute("CREATE TABLE b (text)")
        connection.execute("INSERT INTO b VALUES ('from b')")
    connection.close()
    reading = FileReading(table="b")
    assert [row.text for row in text_rows(tmp_path / "a.db", FileColumns(reading=reading))] == ["from b"]
    asks = file_prompts(Prompting("text"), tmp_path / "a.db", reading=reading)
    assert [ask.text for ask in asks] == ["from b"]
