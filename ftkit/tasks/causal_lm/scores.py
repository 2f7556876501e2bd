"""What a language model gave each row: how it is scored, measured, and written into predictions/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.diagnosis.measurements import Unit
from ftkit.inputs.documents import evaluation_sequences
from ftkit.inputs.sequences import Sequences
from ftkit.metrics.language import evaluate_language
from ftkit.metrics.scores import Scores
from ftkit.progress import Silent
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.tasks.task import ReadBack
from ftkit.training.scores import Scorer, mean_scores

unit: Unit = "token"
TEXT_SHOWN = 300
"""Characters of each text in predictions/."""


@dataclass(frozen=True)
class DocumentScoring:
    """How every model of a run is scored: by its losses on the tokens that are learnt.

    Attributes:
        splits: the rows.
        examples: by split; held-out documents each by itself.
        scorer: of tokens.
    """

    splits: Splits
    examples: Mapping[str, Sequences]
    scorer: Scorer

    def padded(self) -> DocumentScoring:
        """The same with nothing laid end to end."""
        return replace(self, examples={name: replace(found, packed=False) for name, found in self.examples.items()})

    def base(self, model: Any) -> dict[str, Scores]:
        """What a model gives the held-out splits before it is trained; it is put where models are scored."""
        return self._held_out(model.to(self.scorer.device), "the base")

    def kept(self, model: Any) -> dict[str, Scores]:
        """What the saved model gives them."""
        return self._held_out(model, "the saved model")

    def _held_out(self, model: Any, whose: str) -> dict[str, Scores]:
        return {
            split.name: self.scorer.rows(
                model, self.examples[split.name], num_rows=len(split), what=f"scoring {whose} on {split.name}"
            )
            for split in self.splits.all()[1:]
        }

    def probe(self, model: Any, examples: Sequences, name: str) -> Scores:
        """What a model gives each of some pieces."""
        return self.scorer.examples(model, examples, what=f"scoring {name}")

    def validation(self, model: Any) -> Scores:
        """What a model gives each piece of the validation set, while it trains."""
        return self.probe(model, self.examples["validation"], "validation")

    def means(self, scores: Scores) -> dict[str, float]:
        """The figures of an evaluation."""
        return mean_scores(scores)


def metrics_of(recipe: CausalRecipe, split: Split, scores: Scores, label_names: Sequence[str]) -> dict[str, Any]:  # noqa: ARG001
    """Metrics of what a model gave a split, each with its interval."""
    return evaluate_language(
        scores,
        metrics=recipe.evaluation.metrics,
        num_resamples=recipe.evaluation.num_resamples,
        seed=recipe.training.seed,
    )


def prediction_rows(
    split: Split,
    scores: Scores,
    base: Scores | None,
    label_names: Sequence[str],  # noqa: ARG001
) -> Iterator[dict[str, Any]]:
    """One JSON object a row: the beginning of its texts, its targets, and its loss by the final and the base model."""
    assert base is not None, "a base writes too"
    columns = split.table.column_names
    losses, before = scores.losses, base.losses
    for row in range(len(split)):
        texts = {name: _shortened(split.table[name][row].as_py()) for name in columns}
        measured = int(scores.num_targets[row]) > 0
        yield texts | {
            "num_targets": int(scores.num_targets[row]),
            "loss": round(float(losses[row]), 6) if measured else None,
            "base_loss": round(float(before[row]), 6) if measured else None,
        }


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + " ..."


def read_back(path: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
    """Load a finetuned language model, score rows, and let it go on from the first row's prompt."""
    from ftkit.decoding.writer import first_words, load_with_form
    from ftkit.training.prepared import make_scorable

    saved = load_with_form(path)
    assert saved.prompting is not None, "else it is refused"
    written = first_words(saved, rows[0])
    split, prompting = Split.of_rows("validation", rows), Prompting(**saved.prompting)
    sequences = evaluation_sequences(saved.tokenizer, split, prompting, max_length=max_length).sequences
    make_scorable(saved.model)
    scores = Scorer(saved.device, Silent()).rows(saved.model, sequences, num_rows=len(split), what="scoring")
    return ReadBack(scores.losses, [written], [])
