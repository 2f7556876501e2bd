"""A classification head on a frozen encoder: encode once, fit a head on what came out, save a standard folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Splits
from ftkit.data.mixture.shares import label_counts, mixing_told
from ftkit.encoders.base_head import base_head
from ftkit.encoders.features import Encoder, split_features
from ftkit.encoders.fit import fit_head
from ftkit.encoders.heads import Head
from ftkit.encoders.optimization import class_weight_vector, count_steps
from ftkit.encoders.plans import choose_plan
from ftkit.encoders.rows import FeatureRows
from ftkit.encoders.scores import HeadProbe, predict_logits
from ftkit.encoders.store import Features
from ftkit.inputs.unknown import SAMPLE_TEXTS, unknown_warning_by_files
from ftkit.methods.frozen import FrozenMethod
from ftkit.metrics.scores import Scores
from ftkit.models.checkpoint import Checkpoint, resolve_pooling
from ftkit.models.placement import Placement, place
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.disk import refuse_little_space_for_model
from ftkit.runs.run import Run
from ftkit.tasks.classification.examples import LongCount, window_counts
from ftkit.tasks.classification.recipe import ClassificationRecipe, ClassificationTraining
from ftkit.tasks.classification.scores import scored
from ftkit.training.probes import ProbeRows, probe_rows
from ftkit.training.way import Data, Kept


def features_way(
    recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> FrozenHead:
    """Run the encoder over every split, where it has not been run before; says what was reused and cut."""
    assert isinstance(recipe.method, FrozenMethod)
    assert recipe.training.output_dir is not None, "reading fills it"
    model_bytes = sum(file.stat().st_size for file in checkpoint.weight_files)
    refuse_little_space_for_model(Run(Path(recipe.training.output_dir)), model_bytes)
    pooling = resolve_pooling(checkpoint, recipe.method.pooling)
    placement = place(recipe.model.dtype, use_cpu=recipe.training.use_cpu)
    reporter.say(f"encoder {checkpoint.name}, pooling {pooling}, on {placement.reason}")
    if pooling.kind == "cls" and (brought := base_head(checkpoint, splits.label_names)) is not None:
        reporter.say(brought.note)
    plan = choose_plan(recipe, splits, checkpoint=checkpoint, pooling=pooling, placement=placement)
    features = _encode(plan.encoder, splits, reporter=reporter)
    rows = {
        split.name: FeatureRows(
            (found := features[split.name]).vectors, split.labels, offsets=found.offsets, averages=plan.is_linear
        )
        for split in splits.apart()
    }
    mixing = mixing_told(splits, np.arange(len(splits.train)), reporter.say)
    rows["train"] = replace(rows["train"], folds=splits.folds, mixing=mixing)
    data = Data(
        splits=splits,
        processor=plan,
        examples=rows,
        probed=rows["train"].take(probe_rows(len(splits.train), seed=recipe.training.seed)),
        limits={"pooling": str(pooling), "max_length": plan.encoder.max_length},
        counts={
            "features": {name: {"folder": str(f.folder), "reused": f.reused} for name, f in features.items()},
            "truncated": {name: f.num_truncated for name, f in features.items()},
            **window_counts(plan.encoder.long_texts, {name: len(f.vectors) for name, f in features.items()}),
        },
        mixing=mixing,
    )
    one, num_folds = plan.head(rows["train"]), rows["train"].num_folds
    head: Head = one.repeated(num_folds + 1) if num_folds else one
    return FrozenHead(recipe.training, data, head.to(placement.device), placement, reporter)


def _encode(encoder: Encoder, splits: Splits, *, reporter: Reporter) -> dict[str, Features]:
    for split in splits.apart():
        some = np.arange(0, len(split), max(1, len(split) // SAMPLE_TEXTS))
        texts = split.with_table(split.table.take(some)).joined_texts
        if warning := unknown_warning_by_files(encoder.checkpoint.folder, texts, whose=f"of the {split.name} texts"):
            reporter.say(f"warning: {warning}")
    features = {split.name: split_features(encoder, split, reporter=reporter) for split in splits.apart()}
    reused = [name for name, found in features.items() if found.reused]
    if reused:
        reporter.say(
            f"features of {', '.join(reused)} were stored by an earlier run: the encoder did not run over them"
        )
    for split in splits.apart():
        if truncated := features[split.name].num_truncated:
            windows = len(features[split.name].vectors)
            counted = LongCount(split.name, num_rows=len(split), num_long=truncated, num_windows=windows)
            reporter.say(counted.in_words(encoder.long_texts, max_length=encoder.max_length))
    return features


@dataclass
class FrozenHead:
    """How a head is fitted and scored, on the stored outputs of an encoder that never changes.

    Attributes:
        spec: the training section.
        data: of the run; its processor is the plan by which head and encoder are one model.
        head: to be fitted.
        placement: of both.
        reporter: hears of progress.
        out_of_fold: logits (N, K) of the training rows, of the fit whose weights are kept; None without folds.
    """

    spec: ClassificationTraining
    data: Data[FeatureRows]
    head: Head
    placement: Placement
    reporter: Reporter
    out_of_fold: npt.NDArray[np.float32] | None = None

    def prepare(self) -> Head:
        """The head, which was made for the features."""
        return self.head

    def score_base(self, model: Head) -> dict[str, Scores]:  # noqa: ARG002
        """Nothing: a head that is new gives no answer."""
        return {}

    def fit(
        self,
        model: Head,
        run: Run,
        *,
        resumed: SealedCheckpoint | None,  # noqa: ARG002
        until: float | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Fit the head: seconds, so that a run which was stopped begins again."""
        spec, splits, rows = self.spec, self.data.splits, self.data.examples
        counts = label_counts(splits)
        probed = ProbeRows.of(num_train=len(splits.train), num_validation=len(splits.validation), seed=spec.seed)
        probe = HeadProbe(run, probed, train=self.data.probed, test=rows.get("test"))
        num_steps = count_steps(spec, num_rows=len(splits.train))
        with self.reporter.track("fitting the head", total=num_steps) as advance:
            result = fit_head(
                model,
                rows["train"],
                self._held_out(),
                spec=spec,
                class_weights=class_weight_vector(spec.class_weights, label_names=splits.label_names, counts=counts),
                device=self.placement.device,
                record=run.append_history,
                probe=probe,
                advance=advance,
            )
        self.out_of_fold = probe.out_of_fold
        probe.write()
        trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        return self.data.facts(placement=self.placement.reason, trained=trained) | {"fit": result._asdict()}

    def _held_out(self) -> FeatureRows | None:
        """The validation rows, of which there may be none; None where training rows are folded."""
        rows = self.data.examples
        if self.data.splits.folds is not None:
            return None
        return rows.get("validation", rows["train"].take(np.zeros(0, dtype=np.int64)))

    def save(self, model: Head, folder: Path) -> None:
        """Save the encoder and the head as one model."""
        self.data.processor.save(model.to("cpu"), folder)

    def score_kept(self, folder: Path) -> Kept:  # noqa: ARG002
        """Score the head on the features, for the encoder would only give the same ones once more."""
        device, rows = self.placement.device, self.data.examples
        head = self.head.to(device)
        in_folds, splits = self.out_of_fold is not None, self.data.splits.all()
        scored_rows = {name: one for name, one in rows.items() if in_folds or name != "train"}
        logits = {name: predict_logits(head, one, device=device)[0].numpy() for name, one in scored_rows.items()}
        if self.out_of_fold is not None:
            # the kept head has learnt from these rows
            logits["validation"] = self.out_of_fold
        return Kept({one.name: scored(logits[one.name], one.labels) for one in splits if one.name in logits}, {})
