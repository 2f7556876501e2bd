"""BLEU, chrF and ROUGE: the numbers of sacrebleu's and rouge-score's own commands, and what these do not see."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from ftkit.metrics.overlap import MANY_SPACED_STOPS, ROUGE_METRICS
from ftkit.metrics.texts import evaluate_texts, score_rows

ENGLISH = "running runs ran the The quickly, quick organization organize 3.14 co-operate don't &amp; (nine) houses"
GERMAN = "Über die Straßen gehen Häuser, schöne alte Käse. Müller's für ÄÖÜ"
OTHERS = "猫坐在垫子上。 狗 🙂 🙂🙂 кошка сидит, é"


def evaluate(outputs, references, *, metrics):
    return evaluate_texts(
        outputs,
        references,
        at_limit=np.zeros(len(outputs), dtype=bool),
        metrics=metrics,
        num_resamples=20,
        seed=0,
    )


def draw(num_rows, *, references=1, lines=1, seed=0):
    """Texts of several languages; an output shares words with its references; some outputs are empty."""
    random = np.random.default_rng([seed, num_rows, references, lines])
    rows = []
    for _ in range(num_rows):
        vocabulary = f"{ENGLISH} {ENGLISH} {[GERMAN, OTHERS][random.integers(2)]}".split()
        words = random.choice(vocabulary, random.integers(4, 14))

        def text(words=words, vocabulary=vocabulary):
            kept = [str(word) if random.random() < 0.7 else str(random.choice(vocabulary)) for word in words]
            return "\n".join(" ".join(part) for part in np.array_split(kept, lines))

        rows.append([text() for _ in range(references + 1)])
    outputs = [row[0] if index % 9 else "" for index, row in enumerate(rows)]
    return outputs, [row[1:] for row in rows]


def run(module, *words, cwd):
    """A command of a library, in a process of its own."""
    environment = dict(os.environ) | {"SACREBLEU": str(cwd / "data"), "PYTHONUTF8": "1"}
    environment.pop("SACREBLEU_FORMAT", None)
    done = subprocess.run(
        [sys.executable, "-m", module, *words], capture_output=True, text=True, check=True, cwd=cwd, env=environment
    )
    return done.stdout


def sacrebleu_command(outputs, columns, cwd):
    """Scores by metric, each with its signature; one file for each column of references."""
    for name, texts in [("hyp", outputs), *((f"ref{index}", column) for index, column in enumerate(columns))]:
        (cwd / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    files = [f"ref{index}" for index in range(len(columns))]
    printed = run("sacrebleu", *files, "-i", "hyp", "-m", "bleu", "chrf", "-w", "12", cwd=cwd)
    return {one["name"].lower().rstrip("2"): one for one in json.loads(printed)}


@pytest.mark.parametrize("num_references", [1, 3])
def test_bleu_and_chrf_are_those_of_the_sacrebleu_command(tmp_path, num_references):
    outputs, references = draw(60, references=num_references)
    theirs = sacrebleu_command(outputs, list(zip(*references, strict=True)), tmp_path)
    ours = evaluate(outputs, references, metrics=["bleu", "chrf"])
    for name in ("bleu", "chrf"):
        assert round(ours[name]["value"], 12) == theirs[name]["score"] > 10
        assert ours[name]["signature"] == theirs[name]["signature"]


def test_a_varying_number_of_references_gives_what_the_command_gives_when_some_are_written_twice(tmp_path):
    outputs, references = draw(60, references=3)
    references = [candidates[: 1 + row % 3] for row, candidates in enumerate(references)]
    padded = [[*candidates, *[candidates[0]] * (3 - len(candidates))] for candidates in references]
    theirs = sacrebleu_command(outputs, list(zip(*padded, strict=True)), tmp_path)
    ours = evaluate(outputs, references, metrics=["bleu", "chrf"])
    for name in ("bleu", "chrf"):
        assert round(ours[name]["value"], 12) == theirs[name]["score"]
        assert "nrefs:var" in ours[name]["signature"]


def test_bleu_and_chrf_equal_the_corpus_score_to_the_last_digit_with_lines_and_empty_references():
    outputs, references = draw(50, references=3, lines=2)
    references = [[*candidates[: 1 + row % 3], *[""] * (row % 5 == 0)] for row, candidates in enumerate(references)]
    width = max(map(len, references))
    columns = [[row[index] if index < len(row) else None for row in references] for index in range(width)]
    ours = evaluate(outputs, references, metrics=["bleu", "chrf"])
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        assert ours[name]["value"] == metric.corpus_score(outputs, columns).score
        assert ours[name]["signature"] == str(metric.get_signature())


def test_chrf_of_a_row_is_the_corpus_score_of_that_row_alone():
    outputs, references = draw(12, references=2)
    rows = score_rows(outputs, references, ["chrf"])["chrf"]
    for row, (output, candidates) in enumerate(zip(outputs, references, strict=True)):
        alone = evaluate([output], [candidates], metrics=["chrf"])["chrf"]
        assert rows[row] == alone["value"]


@pytest.mark.slow
def test_rouge_is_that_of_the_rouge_score_command(tmp_path):
    outputs, references = (one + three for one, three in zip(draw(20), draw(20, lines=3), strict=True))
    (tmp_path / "targets").write_text("".join(f"{row[0]}|||" for row in references), encoding="utf-8")
    (tmp_path / "predictions").write_text("".join(f"{output}|||" for output in outputs), encoding="utf-8")
    files = ["--target_filepattern=targets", "--prediction_filepattern=predictions", "--output_filename=scores.csv"]
    options = ["--use_stemmer", "--noaggregate", "--delimiter=|||", f"--rouge_types={','.join(ROUGE_METRICS)}"]
    run("rouge_score.rouge", *files, *options, cwd=tmp_path)
    with (tmp_path / "scores.csv").open() as file:
        theirs = list(csv.DictReader(file))
    assert len(theirs) == 40
    for name, ours in score_rows(outputs, references, ROUGE_METRICS).items():
        assert ours == pytest.approx([float(row[f"{name}-F"]) for row in theirs], abs=5.1e-7)
        assert ours.mean() > 0.1


@pytest.mark.parametrize("lines", [1, 3])
def test_rouge_equals_the_scorer_of_the_library_to_the_last_digit(lines):
    outputs, references = draw(60, references=3, lines=lines)
    scorer = RougeScorer(list(ROUGE_METRICS), use_stemmer=True)
    pairs = zip(outputs, references, strict=True)
    theirs = [scorer.score_multi(candidates, output) for output, candidates in pairs]
    ours = score_rows(outputs, references, ROUGE_METRICS)
    for name in ROUGE_METRICS:
        assert ours[name].tolist() == [row[name].fmeasure for row in theirs]
    assert (ours["rougeL"] != ours["rougeLsum"]).any() == (lines > 1)


def test_a_signature_of_rouge_says_what_was_done_to_the_texts():
    entries = evaluate(["a b"] * 10, [["a b"]] * 10, metrics=["rouge1", "rougeLsum"])
    for part in ("stemmer:porter", "drops:all but a-z0-9", "version:rouge-score 0."):
        assert part in entries["rouge1"]["signature"]
    assert "sentences:lines" in entries["rougeLsum"]["signature"]
    assert "sentences" not in entries["rouge1"]["signature"]


def note_of(metric, outputs, references):
    return evaluate(outputs, references, metrics=[metric])[metric].get("note", "")


def test_rouge_says_which_share_of_the_words_loses_letters():
    half = ["abcde кошка", "ab! сид, c де"] * 6  # three of six words
    assert "50 % of the references' words lose letters" in note_of("rougeL", half, [[one] for one in half])
    emoji = ["well done, well done 🙂🎉"] * 12  # one of five words
    assert "20 % of the references' words" in note_of("rouge2", emoji, [[one] for one in emoji])
    few = ["für " + "abcde " * 200] * 12  # one of 201
    assert "lose letters" not in note_of("rouge1", few, [[one] for one in few])


def test_rouge_says_how_many_rows_it_can_only_give_a_zero():
    outputs = ["🙂🙂", "猫", "a cat", "猫 猫"] * 5
    references = [["🙂🙂"], ["猫"], ["a cat"], ["猫 猫", "cat cat"]] * 5
    entry = evaluate(outputs, references, metrics=["rouge1"])["rouge1"]
    assert "10 of 20 rows have no reference that ROUGE can read" in entry["note"]
    assert entry["value"] == 0.25


def test_metrics_of_words_say_when_the_references_have_no_spaces_between_them():
    chinese = ["猫坐在垫子上。", "今天天气很好。"] * 6
    for name in ("bleu", "token_f1", "length_ratio"):
        assert "100 % of the references' letters are of scripts without spaces" in note_of(
            name, chinese, [[one] for one in chinese]
        )
    assert "scripts" not in note_of("chrf", chinese, [[one] for one in chinese])
    german = ["Über die Straße gehen", "Häuser für alle 猫"] * 6
    assert "scripts" not in note_of("bleu", german, [[one] for one in german])


def test_bleu_says_when_no_output_is_long_enough_to_score():
    labels = ["very good", "bad"] * 6
    entry = evaluate(labels, [[one] for one in labels], metrics=["bleu"])["bleu"]
    assert entry["value"] == 0
    assert "no output has four words" in entry["note"]
    assert "four words" not in note_of("bleu", [*labels, "a b c d"], [["a b"]] * 13)


def test_bleu_says_when_outputs_look_tokenized():
    outputs = ["it is so ."] * MANY_SPACED_STOPS
    assert f"{MANY_SPACED_STOPS} outputs end in ' .'" in note_of("bleu", outputs, [["it is so."]] * len(outputs))
    assert "tokenized" not in note_of("bleu", [*outputs[1:], "it is so."], [["it is so."]] * len(outputs))
