"""Small data files for the recipes of the golden record."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

NOUNS = ("lamp", "river", "engine", "garden", "letter", "window", "planet", "teapot")
VERBS = ("opens", "closes", "moves", "breaks", "holds")
LABELS = ("tool", "land", "thing")


def write_data(folder: Path) -> None:
    """Every data file: 48 rows to train on and 54 others; with duplicates, a leak and an empty text among them."""
    sentences = [f"the {noun} {verb} the {other}" for noun in NOUNS for verb in VERBS for other in NOUNS]
    texts = [sentences[number * 37 % len(sentences)] for number in range(150)]
    texts[5], texts[50], texts[9] = texts[4], texts[3], f"{texts[9]} and {' and '.join(NOUNS)} and so on"
    for name, part in (("", texts[:48]), ("-new", texts[48:102]), ("-test", texts[102:132])):
        _write_labelled(folder / f"labelled{name}.csv", part)
        _write_lines(folder / f"texts{name}.jsonl", ({"text": text} for text in part))
        _write_lines(folder / f"pairs{name}.jsonl", map(_pair, part))
        _write_lines(folder / f"answers{name}.jsonl", map(_answer, part))
        _write_lines(folder / f"chats{name}.jsonl", map(_chat, part))
    (folder / "pairs.json").write_text(json.dumps([_pair(text) for text in texts[:48]]), encoding="utf-8")
    rows = (folder / "labelled.csv").read_text(encoding="utf-8").replace(",", "\t")
    (folder / "labelled.tsv").write_text(f"{rows}48\tno label\n", encoding="utf-8")
    (folder / "notes.txt").write_text("\n\n".join(f"{text}." for text in texts[:60]), encoding="utf-8")
    (folder / "prompts.txt").write_text("the lamp\nthe river opens\n", encoding="utf-8")


def _write_labelled(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "other", "label"])
        for number, text in enumerate(texts):
            label = LABELS[NOUNS.index(text.split()[1]) % len(LABELS)]
            writer.writerow([number, text, f"a {NOUNS[number % 8]}", label if number != 11 else LABELS[0]])


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _pair(text: str) -> dict[str, object]:
    words = text.split()[1:3]
    return {"source": text, "target": " ".join(reversed(words)), "right": [" ".join(reversed(words)), words[0]]}


def _answer(text: str) -> dict[str, object]:
    _, noun, verb, *_ = text.split()
    return {"question": f"What does the {noun} do?", "place": NOUNS[len(text) % 8], "answer": f"It {verb}."}


def _chat(text: str) -> dict[str, object]:
    answer = _answer(text)
    told = [{"role": "user", "content": answer["question"]}, {"role": "assistant", "content": answer["answer"]}]
    return {"talk": [{"role": "system", "content": "Be short."}, *told]}
