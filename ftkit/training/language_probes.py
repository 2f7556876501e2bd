"""The probes of language models: training examples scored as validation examples are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftkit.data.dataset import Split, Splits
from ftkit.inputs.pairs import TokenizedPairs
from ftkit.inputs.sequences import Sequences, evaluation_sequences
from ftkit.metrics.scores import Scores
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run
from ftkit.tasks.causal_lm.examples import TokenizedSplits
from ftkit.tasks.seq2seq.examples import PairTokens
from ftkit.training.pair_scoring import PairScorer
from ftkit.training.probes import ProbeLog, ProbeRows, probe_rows, validation_probe_rows
from ftkit.training.scores import Scorer
from ftkit.training.training_probe import TrainingProbe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "train probe"
"""What the progress calls it."""


def document_probe(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    tokenizer: PreTrainedTokenizerBase,
    tokens: TokenizedSplits,
    scorer: Scorer,
) -> TrainingProbe:
    """The probe of a decoder: pieces of training documents, as validation documents are cut into pieces.

    Args:
        recipe: of task causal_lm.
        splits: texts, prompts with completions, or chats.
        run: gets the record.
        tokenizer: of the base model.
        tokens: of the splits.
        scorer: of the model that is trained.
    """
    seed, length = recipe.training.seed, tokens.train.max_length
    probed = train_pieces(tokenizer, splits, max_length=length, seed=seed)
    validation = tokens.evaluation["validation"].sequences
    rows = ProbeRows(probed.rows, validation_probe_rows(len(validation), seed=seed))

    def losses(model: Any, sequences: Sequences, name: str) -> Scores:
        return scorer.pieces(model, sequences, what=f"scoring {name}")

    return TrainingProbe(
        ProbeLog(run),
        rows,
        train=lambda model: losses(model, probed, NAME),
        validation=lambda model: losses(model, validation, "validation"),
    )


def train_pieces(tokenizer: PreTrainedTokenizerBase, splits: Splits, *, max_length: int, seed: int) -> Sequences:
    """At most PROBE_ROWS pieces of at most as many training documents; `rows` are numbers of the training set."""
    assert splits.prompting is not None, "the data room says how examples are written"
    rows = probe_rows(len(splits.train), seed=seed)
    split = Split(NAME, splits.train.table.take(rows), splits.train.source)
    pieces = evaluation_sequences(tokenizer, split, splits.prompting, max_length=max_length).sequences
    chosen = pieces.take(probe_rows(len(pieces), seed=seed))
    return replace(chosen, rows=rows[chosen.rows])


def pair_probe(recipe: Recipe, run: Run, *, tokens: PairTokens, scorer: PairScorer) -> TrainingProbe:
    """The probe of an encoder-decoder: training pairs as they are learnt.

    Args:
        recipe: of task seq2seq.
        run: gets the record.
        tokens: of the splits.
        scorer: of targets.
    """
    train, validation = tokens.train, tokens.evaluation["validation"]
    num_train, num_validation = len(train.pairs), len(validation.pairs)
    rows = ProbeRows.of(num_train=num_train, num_validation=num_validation, seed=recipe.training.seed)
    probed = replace(train, pairs=train.pairs.take(rows.train), num_examples=len(rows.train))

    def losses(model: Any, tokenized: TokenizedPairs, name: str) -> Scores:
        return scorer.targets(model, tokenized, what=f"scoring the model on {name}")

    return TrainingProbe(
        ProbeLog(run),
        rows,
        train=lambda model: losses(model, probed, NAME),
        validation=lambda model: losses(model, validation, "validation"),
    )
