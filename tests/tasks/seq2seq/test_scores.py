"""What stands in metrics.json and predictions/ is what other libraries and a few independent lines make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from ftkit.data.dataset import Split
from ftkit.inputs import pairs
from ftkit.inputs.pairs import tokenize_pairs
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq
from ftkit.progress import Silent
from ftkit.training.outcome import TrainResult
from ftkit.training.scores import Scorer
from tests.fixtures.tiers import slow

Train = Callable[..., TrainResult]
Rows = list[dict[str, Any]]

PLACES = {"kitchen": ["the pan", "a spoon", "the oven"], "far away garden": ["the rose", "a spade", "the hedge"]}
LABELS = {"tea": "hot and green", "black coffee": "strong and roasted", "a glass of cold milk": "white and cold"}
METRICS = ("exact_match", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "length_ratio")


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def predictions(result: TrainResult, split: str = "validation") -> Rows:
    return [json.loads(line) for line in result.run.predictions_file(split).read_text().splitlines()]


def history(result: TrainResult, name: str) -> list[float]:
    lines = [json.loads(line) for line in result.run.history_file.read_text().splitlines()]
    return [line[name] for line in lines if name in line]


@pytest.fixture(scope="module")
def answers(pair_recipe: Train, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A BART that has learnt to answer somehow; sources of validation and test come several times."""
    folder = tmp_path_factory.mktemp("answers")
    places = [(thing, place) for place, things in PLACES.items() for thing in things]
    rows = [{"source": f"Where is {thing}?", "target": f"it is in the {place}"} for thing, place in places]
    more = [{"source": f"Where is {thing}?", "target": f"you can find it in the {place}"} for thing, place in places]
    train = [row | {"source": f"{row['source']} {number}"} for number in range(4) for row in rows]
    return pair_recipe(
        folder,
        "answers",
        family="bart",
        data__train_file=write(folder / "train.jsonl", train),
        # the first and the last come once, one comes with the same target twice
        data__validation_file=write(folder / "validation.jsonl", [*rows, *more[1:5], rows[2]]),
        data__test_file=write(folder / "test.jsonl", [*more[2:], *rows[3:]]),
        evaluation__metrics=f"[{', '.join((*METRICS, 'limit_share', 'edit_distance', 'perplexity'))}]",
        generation__max_new_tokens=12,
        training__max_steps=60,
        training__eval_steps=60,
        training__learning_rate=1e-2,
    )


def test_rows_of_one_source_are_one_output_with_the_targets_of_all_of_them(answers: TrainResult) -> None:
    rows = predictions(answers)
    assert [row["source"] for row in rows] == [
        f"Where is {thing}?" for things in PLACES.values() for thing in things
    ], "each source once, in the order of the file"
    places = [place for place, things in PLACES.items() for _ in things]
    both = [[f"it is in the {place}", f"you can find it in the {place}"] for place in places]
    assert [row["references"] for row in rows] == [both[0][:1], *both[1:5], both[5][:1]]
    measured = answers.metrics["validation"]
    assert measured["bleu"]["n"] == 6
    assert (measured["loss"]["n"], measured["perplexity"]["n"]) == (11, 11)
    assert len(predictions(answers, "test")) == 4


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("whose", ["", "base_"])
def test_bleu_chrf_and_rouge_are_those_of_sacrebleu_and_rouge_score_on_the_written_outputs(
    whose: str, split: str, answers: TrainResult
) -> None:
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    rows, measured = predictions(answers, split), answers.metrics[f"{whose}{split}"]
    outputs, references = [row[f"{whose}output"] for row in rows], [row["references"] for row in rows]
    streams = [[texts[number] if number < len(texts) else None for texts in references] for number in range(2)]
    found = {name: entry["value"] for name, entry in measured.items()}
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(outputs, streams).score, abs=1e-9)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(outputs, streams).score, abs=1e-9)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    for name in scorer.rouge_types:
        best = [
            max(scorer.score(text, output)[name].fmeasure for text in texts)
            for texts, output in zip(references, outputs, strict=True)
        ]
        assert found[name] == pytest.approx(np.mean(best), abs=1e-9)
    exact = [
        output.split() in [text.split() for text in texts] for texts, output in zip(references, outputs, strict=True)
    ]
    assert found["exact_match"] == pytest.approx(np.mean(exact))
    if not whose:
        assert found["bleu"] > 5, "zeros would be equal whatever is computed"
        assert found["limit_share"] == pytest.approx(np.mean([not row["stopped"] for row in rows]))
        assert found["token_f1"] == pytest.approx(np.mean([row["token_f1"] for row in rows]), abs=1e-6)
        assert found["rougeL"] == pytest.approx(np.mean([row["rougeL"] for row in rows]), abs=1e-6)


def test_references_of_a_column_are_what_outputs_are_measured_against_and_are_never_learnt(
    train_pairs: Train, tmp_path: Path
) -> None:
    lists = [["a b c", "c b a"], ["d e", "e d"], ["f g", "h"], ["c b a", "i"]]
    rows = [
        {"source": source, "target": f"so it is {number}", "right": texts}
        for number, (source, texts) in enumerate(zip(("one", "two", "three", "one"), lists, strict=True))
    ]
    file = write(tmp_path / "rows.jsonl", rows)
    result = train_pairs(
        family="t5",
        data__train_file=file,
        data__validation_file=file,
        data__source_column="source",
        data__target_column="target",
        data__references_column="right",
        training__max_steps=1,
        training__eval_steps=1,
    )
    assert [row["references"] for row in predictions(result)] == [["a b c", "c b a", "i"], *lists[1:3]]
    tokenizer = load_tokenizer_for_seq2seq(Checkpoint("t5", Path(resolve("builtin:tiny-t5"))))
    learnt = sum(len(tokenizer(text_target=row["target"]).input_ids) for row in rows)
    assert result.facts["tokens"]["train"]["target_tokens"] == learnt


@pytest.fixture(scope="module")
def drinks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("drinks")
    rows = [
        {"text": f"It is {words}, {number} times.", "label": label}
        for number in range(12)
        for label, words in LABELS.items()
    ]
    return {name: write(folder / f"{name}.jsonl", part) for name, part in (("train", rows), ("validation", rows[:9]))}


@pytest.fixture(scope="module")
def label_runs(
    pair_recipe: Train, drinks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], TrainResult]:
    """Runs whose targets are labels, each trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("labels")
    made: dict[str, TrainResult] = {}

    def run(family: str, method: str) -> TrainResult:
        name = f"{family}-{method}"
        if name not in made:
            made[name] = pair_recipe(
                folder,
                name,
                family=family,
                method__type=method,
                data__train_file=drinks["train"],
                data__validation_file=drinks["validation"],
                data__labels_as_text="true",
                data__source_prefix="'What is it? '",
                training__load_best_model_at_end="true",
                training__metric_for_best_model="accuracy",
                training__max_steps=60 if name == "bart-full" else 10,
                training__eval_steps=30 if name == "bart-full" else 5,
                training__learning_rate=5e-3 if method == "full" else 0.3,
                generation__max_new_tokens=None,
                evaluation__metrics="[accuracy, generated_accuracy, no_label, confusion, perplexity]",
            )
        return made[name]

    return run


def likelihoods(result: TrainResult, source: str) -> dict[str, float]:
    """Sum of the log-likelihoods of a label's tokens, end token included, each label read by itself."""
    from peft import AutoPeftModelForSeq2SeqLM
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = result.run.model_dir
    load = AutoModelForSeq2SeqLM if (folder / "config.json").exists() else AutoPeftModelForSeq2SeqLM
    model = load.from_pretrained(str(folder), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = {}
    for label in sorted(LABELS):
        ids = tokenizer(text_target=label, return_tensors="pt").input_ids
        assert ids[0, -1] == tokenizer.eos_token_id
        with torch.no_grad():
            logits = model(**tokenizer(source, return_tensors="pt"), labels=ids).logits[0].double()
        found[label] = float(logits.log_softmax(-1).gather(1, ids[0][:, None]).sum())
    return found


@pytest.mark.parametrize(
    ("family", "method"),
    [slow("bart", "full"), slow("t5", "full"), ("t5", "prompt_tuning"), slow("bart", "prefix_tuning")],
)
def test_the_label_that_is_chosen_is_the_likeliest_of_all_read_by_themselves(
    family: str, method: str, label_runs: Callable[[str, str], TrainResult]
) -> None:
    result = label_runs(family, method)
    rows = predictions(result)
    assert len(rows) == 9, "every row counts, whether or not its source comes twice"
    for row in rows[:4]:
        found = likelihoods(result, row["source"])
        total = sum(math.exp(value) for value in found.values())
        assert row["scores"] == pytest.approx({name: math.exp(v) / total for name, v in found.items()}, abs=1e-4)
        assert row["label"] == max(found, key=lambda name: found[name])
    assert {row["source"] for row in rows} >= {"What is it? It is hot and green, 0 times."}
    measured = {name: entry["value"] for name, entry in result.metrics["validation"].items()}
    assert measured["accuracy"] == pytest.approx(np.mean([row["label"] == row["expected"] for row in rows]))
    assert measured["generated_accuracy"] == pytest.approx(np.mean([row["output"] == row["expected"] for row in rows]))
    assert measured["no_label"] == pytest.approx(np.mean([row["output"] not in LABELS for row in rows]))
    assert history(result, "validation_accuracy")[-1] == pytest.approx(measured["accuracy"])
    assert "base_output" in rows[0]


def test_labels_of_several_tokens_are_learnt_and_written(label_runs: Callable[[str, str], TrainResult]) -> None:
    result = label_runs("bart", "full")
    assert result.metrics["base_validation"]["accuracy"]["value"] < 0.5
    for name in ("accuracy", "generated_accuracy"):
        assert result.metrics["validation"][name]["value"] == 1
    assert result.metrics["validation"]["confusion"]["value"] == [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    tokenizer = load_tokenizer_for_seq2seq(Checkpoint("bart", Path(resolve("builtin:tiny-bart"))))
    assert result.facts["max_new_tokens"] == max(len(tokenizer(text_target=label).input_ids) for label in LABELS)


def test_a_metric_of_texts_chooses_the_best_model_and_the_base_need_not_write(train_pairs: Train) -> None:
    reporter = Silent()
    result = train_pairs(
        family="bart",
        training__load_best_model_at_end="true",
        training__metric_for_best_model="chrf",
        training__max_steps=6,
        training__learning_rate=1e-2,
        evaluation__score_base="false",
        evaluation__metrics="[chrf, rouge1]",
        reporter=reporter,
    )
    found = history(result, "validation_chrf")
    assert len(found) == 3
    assert len(set(found)) > 1, "else any of them would be the best"
    assert result.facts["fit"]["best_score"] == max(found)
    assert result.facts["fit"]["best_step"] == 2 * (found.index(max(found)) + 1)
    # what was kept, read back and let write once more
    assert result.metrics["validation"]["chrf"]["value"] == pytest.approx(max(found), abs=1e-6)
    assert f"step 2: validation loss {history(result, 'validation_loss')[1]:.4f}, chrf " in "\n".join(reporter.messages)
    assert list(result.metrics["base_validation"]) == ["loss"]
    assert "base_loss" in predictions(result)[0]
    assert "base_output" not in predictions(result)[0]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_losses_of_a_split_are_those_of_a_few_lines_whatever_the_batch_and_cut_targets_count_no_bytes(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(family, Path(resolve(f"builtin:tiny-{family}")))
    tokenizer, model = load_tokenizer_for_seq2seq(checkpoint), load_seq2seq(checkpoint, dtype=torch.float32).eval()
    targets = [f"{'über ' * row}the end" for row in range(9)]
    table = pa.table({"prompt": [f"{'so ' * (20 - row)}it is" for row in range(9)], "completion": targets})
    # the last targets are longer than that
    tokenized = tokenize_pairs(tokenizer, Split("test", table, "made up"), max_length=64, max_target_length=24)
    nlls, texts, hits = [], [], []
    for row in range(9):
        source = torch.tensor(tokenizer(table["prompt"][row].as_py()).input_ids)[None]
        whole = tokenizer(text_target=targets[row]).input_ids
        special = [index in tokenizer.all_special_ids and index != tokenizer.unk_token_id for index in whole]
        kept = whole if len(whole) <= 24 else whole[:-1][:24]
        with torch.no_grad():
            logits = model(input_ids=source, labels=torch.tensor([kept])).logits[0].double()
        losses = -logits.log_softmax(-1).gather(1, torch.tensor(kept)[:, None])[:, 0].numpy()
        nlls.append(losses.sum())
        hits.append(int((logits.argmax(-1).numpy() == kept).sum()))
        texts.append(sum(loss for loss, mark in zip(losses, special, strict=False) if not mark) if kept == whole else 0)
    is_cut = [text == 0 for text in texts]
    assert 0 < sum(is_cut) < 9
    assert compute_loss_in_chunks(model)
    scorer = Scorer(torch.device("cpu"), Silent())
    for budget in (1, 70, 100_000):
        monkeypatch.setitem(pairs.PAIR_TOKENS, "cpu", budget)
        found = scorer.examples(model, tokenized.pairs, what="scoring")
        np.testing.assert_allclose(found.nll, nlls, rtol=1e-5)
        np.testing.assert_allclose(found.text_nll, texts, rtol=1e-5)
        assert found.num_correct.tolist() == hits
        sizes = [0 if cut else len(text.encode()) for cut, text in zip(is_cut, targets, strict=True)]
        assert found.text_bytes.tolist() == sizes
