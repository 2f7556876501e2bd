"""The card of a model: the hub reads its head, and it is rendered again from the values beside it."""

import json
from dataclasses import asdict, replace

import pytest
from huggingface_hub import ModelCard

from ftkit.report.card import CARD_FILE, VALUES_FILE, Card, CardFacts, fenced, plain_facts, read_card, write_card
from ftkit.report.terminal import score_rows

TOLD = CardFacts(
    pipeline_tag="text-generation",
    what="A language model",
    rows="chats",
    over="chats",
    training=[("placement", "cpu"), ("max_length", 512)],
    trained="a LoRA adapter",
    reads="Chats.",
    prompt=[{"role": "user", "content": "How far?"}],
)
CARD = Card(
    task="causal_lm",
    name="harbour",
    library="peft",
    base="someone/llama-7b",
    method="lora",
    version="0.1.0",
    data="chats.jsonl; 1,200 train",
    scores=[["split", "metric", "value"], ["test", "loss", "1.5"]],
    chose_best=False,
    loading="print()",
    recipe="task: causal_lm\n",
    told=TOLD,
)


def written(card, folder):
    write_card(card, folder)
    return (folder / CARD_FILE).read_text(encoding="utf-8")


@pytest.mark.parametrize(("base", "named"), [("someone/llama-7b", "someone/llama-7b"), ("builtin:tiny-bert", None)])
def test_the_hub_reads_the_library_the_kind_and_a_base_that_it_knows(base, named, tmp_path):
    data = ModelCard(written(replace(CARD, base=base), tmp_path)).data
    assert (data.library_name, data.pipeline_tag, data.tags, data.base_model) == (
        "peft", "text-generation", ["ftkit"], named,
    )  # fmt: skip


def test_a_card_that_was_read_back_is_written_to_the_letter_and_says_what_was_done_since(tmp_path):
    text = written(CARD, tmp_path)
    found = read_card(tmp_path)
    assert written(found, tmp_path) == text
    again = written(replace(found, made=["It was merged.", "It was rounded."]), tmp_path)
    assert again == text.replace("# harbour\n\n", "# harbour\n\nIt was merged.\n\nIt was rounded.\n\n")


@pytest.mark.parametrize("left", ["", "[]", "{}", '{"told": {}}', json.dumps({**asdict(CARD), "key": 1})])
def test_values_that_are_no_card_are_none(left, tmp_path):
    assert read_card(tmp_path) is None
    (tmp_path / VALUES_FILE).write_text(left)
    assert read_card(tmp_path) is None


def test_sections_without_anything_to_say_are_left_out(tmp_path):
    text = written(
        replace(CARD, told=CardFacts("text-classification", "A classifier", "rows", "rows", TOLD.training)), tmp_path
    )
    assert "What it reads" not in text
    assert "Labels" not in text
    assert "A classifier finetuned by ftkit 0.1.0 from `someone/llama-7b` (method `lora`)." in text
    assert "\n\n\n" not in text


def test_a_card_without_scores_says_nothing_of_intervals_or_of_what_was_measured(tmp_path):
    told = replace(TOLD, scored="Measured on every token.")
    text = written(replace(CARD, told=told, scores=CARD.scores[:1]), tmp_path)
    assert "## Scores\n\nNothing was held out, so no score says how good it is on other data.\n\n## How" in text
    assert not [word for word in ("Intervals", "Measured", "| split") if word in text]


def test_scores_stand_beside_the_base_where_asked_and_what_is_no_number_is_left_out():
    entry = {"value": 0.5, "low": 0.25, "high": 1.0, "n": 7}
    metrics = {
        "test": {"f1": entry, "auc": entry | {"value": None}, "confusion": entry | {"value": [[1]]}},
        "base_test": {"f1": entry | {"value": 2.5e7, "low": None}},
    }
    assert score_rows(metrics, beside_base=False)[1:] == [["test", "f1", "0.5000", "0.2500 to 1.0000", "7"]]
    assert score_rows(metrics, beside_base=True)[1:] == [
        ["test", "f1", "0.5000", "0.2500 to 1.0000", "2.5e+07", "7"],
        ["test", "auc", "", "0.2500 to 1.0000", "", "7"],
    ]


def test_facts_are_told_by_name_and_lists_are_left_out():
    facts = {"packing": True, "fit": {"num_steps": 2, "loss": 0.1234567}, "list": [1], "none": None}
    assert dict(plain_facts(facts)) == {"packing": "yes", "fit.num_steps": 2, "fit.loss": "0.123457"}


def test_code_with_fences_of_its_own_stays_one_block():
    assert fenced("````\nx\n````\n", "yaml") == "`````yaml\n````\nx\n````\n`````"
