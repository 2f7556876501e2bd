"""A classification head on a frozen encoder: encode once, fit a head on what came out, save a standard folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftkit.data.dataset import Splits
from ftkit.encoders.features import Encoder, split_features
from ftkit.encoders.fit import fit_head
from ftkit.encoders.heads import Head
from ftkit.encoders.optimization import class_weight_vector, count_steps
from ftkit.encoders.plans import choose_plan
from ftkit.encoders.scores import HeadProbe, predict_logits
from ftkit.encoders.store import FeatureRows, Features
from ftkit.methods.frozen import FrozenMethod
from ftkit.metrics.scores import Scores
from ftkit.models.checkpoint import Checkpoint, resolve_pooling
from ftkit.models.placement import Placement, place
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.tasks.classification.scores import scored
from ftkit.training.probes import ProbeRows, probe_rows
from ftkit.training.way import Data, Kept, Prepared


def encode_splits(
    recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> Data[FeatureRows]:
    """Run the encoder over every split, where it has not been run before; says what was reused and cut."""
    assert isinstance(recipe.method, FrozenMethod)
    pooling = resolve_pooling(checkpoint, recipe.method.pooling)
    placement = _placement(recipe)
    reporter.say(f"encoder {checkpoint.name}, pooling {pooling}, on {placement.reason}")
    plan = choose_plan(recipe, splits, checkpoint=checkpoint, pooling=pooling, placement=placement)
    features = _encode(plan.encoder, splits, reporter=reporter)
    rows = {split.name: FeatureRows(features[split.name].vectors, split.labels) for split in splits.all()}
    return Data(
        splits=splits,
        processor=plan,
        examples=rows,
        probed=rows["train"].take(probe_rows(len(splits.train), seed=recipe.training.seed)),
        limits={"pooling": str(pooling), "max_length": plan.encoder.max_length},
        counts={
            "features": {name: {"folder": str(f.folder), "reused": f.reused} for name, f in features.items()},
            "truncated": {name: f.num_truncated for name, f in features.items()},
        },
    )


def _placement(recipe: ClassificationRecipe) -> Placement:
    return place(recipe.model.dtype, use_cpu=recipe.training.use_cpu)


def _encode(encoder: Encoder, splits: Splits, *, reporter: Reporter) -> dict[str, Features]:
    features = {split.name: split_features(encoder, split, reporter=reporter) for split in splits.all()}
    reused = [name for name, found in features.items() if found.reused]
    if reused:
        reporter.say(
            f"features of {', '.join(reused)} were stored by an earlier run: the encoder did not run over them"
        )
    for split in splits.all():
        if truncated := features[split.name].num_truncated:
            share = truncated / len(split)
            reporter.say(
                f"{truncated} of {len(split)} {split.name} texts ({share:.1%}) are longer than "
                f"{encoder.max_length} tokens and were cut (data.max_length)"
            )
    return features


def prepare(
    recipe: ClassificationRecipe,
    checkpoint: Checkpoint,  # noqa: ARG001
    data: Data[FeatureRows],
    *,
    reporter: Reporter,  # noqa: ARG001
) -> Prepared[FeatureRows]:
    """A head for the features."""
    placement = _placement(recipe)
    head = data.processor.head(data.examples["train"]).to(placement.device)
    return Prepared(head, data, placement.reason, 0)


@dataclass(frozen=True)
class HeadScoring:
    """How the head is scored: by its logits on the features, which are the encoder's own."""

    data: Data[FeatureRows]
    head: Head
    device: torch.device

    def base(self, model: Any) -> dict[str, Scores]:  # noqa: ARG002
        """Nothing: a head that is new gives no answer."""
        return {}

    def kept(self, model: Head) -> dict[str, Scores]:
        """What a head gives the held-out splits."""
        model.to(self.device)
        return {
            name: scored(predict_logits(model, rows, device=self.device)[0].numpy(), rows.labels)
            for name, rows in self.data.examples.items()
            if name != "train"
        }


def scoring(recipe: ClassificationRecipe, prepared: Prepared[FeatureRows], *, reporter: Reporter) -> HeadScoring:  # noqa: ARG001
    """How the head is scored."""
    return HeadScoring(prepared.data, prepared.model, _placement(recipe).device)


def fit(
    recipe: ClassificationRecipe,
    run: Run,
    prepared: Prepared[FeatureRows],
    scoring: HeadScoring,
    *,
    resumed: SealedCheckpoint | None,  # noqa: ARG001
    reporter: Reporter,
) -> dict[str, Any]:
    """Fit the head: seconds, so that a run which was stopped begins again."""
    data, spec = prepared.data, recipe.training
    splits, rows = data.splits, data.examples
    counts = np.bincount(splits.train.labels, minlength=len(splits.label_names))
    probed = ProbeRows.of(num_train=len(splits.train), num_validation=len(splits.validation), seed=spec.seed)
    probe = HeadProbe(run, probed, train=data.probed, test=rows.get("test"))
    with reporter.track("fitting the head", total=count_steps(spec, num_rows=len(splits.train))) as advance:
        result = fit_head(
            prepared.model,
            rows["train"],
            rows["validation"],
            spec=spec,
            class_weights=class_weight_vector(spec.class_weights, label_names=splits.label_names, counts=counts),
            device=scoring.device,
            record=run.append_history,
            probe=probe,
            advance=advance,
        )
    probe.write()
    trained = sum(weight.numel() for weight in prepared.model.parameters() if weight.requires_grad)
    return replace(prepared, trained=trained).facts() | {"fit": result._asdict()}


def save(
    recipe: ClassificationRecipe,  # noqa: ARG001
    checkpoint: Checkpoint,  # noqa: ARG001
    prepared: Prepared[FeatureRows],
    scoring: HeadScoring,  # noqa: ARG001
    folder: Path,
) -> None:
    """Save the encoder and the head as one model."""
    prepared.data.processor.save(prepared.model.to("cpu"), folder)


def score_kept(
    recipe: ClassificationRecipe,  # noqa: ARG001
    folder: Path,  # noqa: ARG001
    scoring: HeadScoring,
    *,
    reporter: Reporter,  # noqa: ARG001
) -> Kept:
    """Score the head on the features, for the encoder would only give the same ones once more."""
    return Kept(scoring.kept(scoring.head), {})
