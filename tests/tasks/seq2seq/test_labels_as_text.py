from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from ftkit.commands.smoke.specimen import FirstRows, few_rows, write_made_up
from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.errors import UserError
from ftkit.tasks import classification, seq2seq
from ftkit.tasks.classification.audit import audit
from ftkit.tasks.seq2seq.recipe import Seq2SeqData


def spec_of(**spec: Any) -> Seq2SeqData:
    return Seq2SeqData.model_validate({"labels_as_text": True, **spec})


def load(**spec: Any) -> Splits:
    return seq2seq.load_splits(spec_of(**spec), seed=1)


def refusal(**spec: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load(**spec)
    return caught.value


def lines(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def reviews(count: int) -> list[dict[str, str]]:
    return [{"review": f"film number {n}", "mood": ("good", "bad", "so so")[n % 3]} for n in range(count)]


def test_rows_labels_and_splits_are_those_of_classification(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", reviews(90))
    spec = spec_of(train_file=file, text_column="review", label_column="mood", max_train_samples=50)
    labelled, written = classification.load_splits(spec, seed=3), seq2seq.load_splits(spec, seed=3)
    assert written.label_names == labelled.label_names == ("bad", "good", "so so")
    for before, after in zip(labelled.all(), written.all(), strict=True):
        assert after.table["prompt"].to_pylist() == before.texts
        assert after.labels.tolist() == before.labels.tolist()
        assert after.table["completion"].to_pylist() == [written.label_names[label] for label in before.labels]
        assert (after.name, after.source) == (before.name, before.source)
    assert written.train.table.schema.types == [pa.string(), pa.string(), pa.int32(), pa.int32()]
    assert set(labelled.notes) < set(written.notes)


def test_the_template_names_the_columns_that_were_found(tmp_path: Path) -> None:
    splits = load(train_file=lines(tmp_path / "a.jsonl", reviews(90)), label_column="mood", source_prefix="{mood}? ")
    assert splits.prompting == Prompting("completion", "{{mood}}? {review}<learn>{mood}")
    assert splits.prompting.render_prompt({"review": "film number 7"}) == "{mood}? film number 7"
    assert all(text.startswith("{mood}? film") for text in splits.train.table["prompt"].to_pylist())


def test_of_two_texts_each_has_the_name_of_its_column_before_it(tmp_path: Path) -> None:
    rows = [{"premise": f"p{n}", "claim": f"c{n}", "label": ("no", "yes")[n % 2]} for n in range(40)]
    file = lines(tmp_path / "a.jsonl", rows)
    splits = load(train_file=file, text_column="premise", text_pair_column="claim", source_prefix="nli ")
    prompts = {text for split in splits.all() for text in split.table["prompt"].to_pylist()}
    assert prompts == {f"nli premise: p{n} claim: c{n}" for n in range(40)}
    assert splits.prompting is not None
    assert splits.prompting.prompt_fields == ("premise", "claim")
    assert splits.prompting.render_prompt({"premise": "p3", "claim": "c3"}) in prompts


def test_classes_of_a_parquet_file_are_written_by_their_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    rows = {"text": [f"message {n}" for n in range(40)], "label": [1, 0] * 20}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "a.parquet"))
    splits = load(train_file=str(tmp_path / "a.parquet"))
    written = dict(zip(*(splits.train.table[name].to_pylist() for name in ("prompt", "completion")), strict=True))
    assert all(name == ("ham" if int(text.split()[1]) % 2 else "spam") for text, name in written.items())


@pytest.mark.parametrize(
    ("names", "said"),
    [(["so so", "so  so"], "'so so' and 'so  so' differ in white space only"), (["a", " "], "' ' is blank")],
)
def test_label_names_that_text_cannot_tell_apart_are_refused(tmp_path: Path, names: list[str], said: str) -> None:
    rows = [{"text": f"text {n}", "label": names[0]} for n in range(20)] + [{"text": "other", "label": "x"}]
    error = refusal(train_file=lines(tmp_path / "a.jsonl", rows), label_names=[*names, "x"])
    assert said in error.problem


def test_a_column_that_no_template_can_name_is_refused(tmp_path: Path) -> None:
    rows = [{"{text}": f"text {n}", "label": str(n % 2)} for n in range(20)]
    error = refusal(train_file=lines(tmp_path / "a.jsonl", rows), text_column="{text}")
    assert "column '{text}' cannot stand in a template" in error.problem


def test_a_broken_row_is_reported_with_its_line(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", [*reviews(20), {"review": "film", "mood": ""}])
    problem = refusal(train_file=file, text_column="review", label_column="mood").problem
    assert "a.jsonl:21 the label is missing" in problem


def test_the_audit_of_labels_counts_sources_and_classes_as_for_classification(tmp_path: Path) -> None:
    rows = [*reviews(60), {"review": "Film  number 3", "mood": "bad"}]
    train = lines(tmp_path / "a.jsonl", rows)
    test = lines(tmp_path / "b.jsonl", [{"review": "film number 5", "mood": "good"}, *reviews(1)])
    spec = spec_of(
        train_file=train, validation_file=test, text_column="review", label_column="mood", source_prefix="mood of: "
    )
    expected = asdict(audit(classification.load_splits(spec, seed=1)))
    assert asdict(audit(seq2seq.load_splits(spec, seed=1))) == expected
    assert (expected["conflicts"], expected["leaks"]) == ({"train": 1, "validation": 0}, {"train/validation": 2})


def test_a_trial_keeps_rows_of_every_label(tmp_path: Path) -> None:
    rows = sorted(reviews(300), key=lambda row: row["mood"])
    spec = spec_of(train_file=lines(tmp_path / "a.jsonl", rows), text_column="review", label_column="mood")
    few = few_rows(seq2seq.load_splits(spec, seed=1, narrow=FirstRows(spec)), train=6, evaluation=3)
    assert sorted(few.train.table["completion"].to_pylist()) == ["bad"] * 2 + ["good"] * 2 + ["so so"] * 2
    assert few.label_names == ("bad", "good", "so so")


def test_made_up_rows_of_labels_can_be_written_as_text(tmp_path: Path) -> None:
    spec = spec_of(dataset_name="a/b", text_column="premise", text_pair_column="claim")
    splits = seq2seq.load_splits(write_made_up(spec, tmp_path, seq2seq.made_up_row, labels=["yes", "no"]), seed=1)
    assert set(splits.validation.table["completion"].to_pylist()) == {"yes", "no"}
