"""A classification head on a frozen encoder: encode once, fit a head on what came out, save a standard folder."""

from __future__ import annotations

import numpy as np

from ftkit.data.dataset import Splits
from ftkit.encoders.feature_rows import FeatureRows
from ftkit.encoders.features import Encoder, split_features
from ftkit.encoders.fit import fit_head, predict_logits
from ftkit.encoders.head_probe import HeadProbe
from ftkit.encoders.optimization import class_weight_vector, count_steps
from ftkit.encoders.plans import choose_plan
from ftkit.encoders.store import Features
from ftkit.methods.frozen import FrozenMethod
from ftkit.models.checkpoint import Checkpoint, resolve_pooling
from ftkit.models.placement import place
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run
from ftkit.training.outcome import Trained
from ftkit.training.probes import ProbeLog, ProbeRows


def train_frozen(recipe: Recipe, splits: Splits, run: Run, *, checkpoint: Checkpoint, reporter: Reporter) -> Trained:
    """Train a classification head on a frozen encoder.

    Args:
        recipe: with method.type frozen.
        splits: train, validation and perhaps test.
        run: gets history.jsonl and model/.
        checkpoint: the encoder.
        reporter: hears what was chosen.

    Returns:
        Logits of validation and test, and facts for the manifest and the model card.
    """
    assert isinstance(recipe.method, FrozenMethod)
    pooling = resolve_pooling(checkpoint, recipe.method.pooling)
    placement = place(recipe.model.dtype, use_cpu=recipe.training.use_cpu)
    reporter.say(f"encoder {checkpoint.name}, pooling {pooling}, on {placement.reason}")
    plan = choose_plan(recipe, splits, checkpoint=checkpoint, pooling=pooling, placement=placement)

    features = _encode(plan.encoder, splits, reporter=reporter)
    rows = {split.name: FeatureRows(features[split.name].vectors, split.labels) for split in splits.all()}
    head = plan.head(rows["train"]).to(placement.device)
    counts = np.bincount(splits.train.labels, minlength=len(splits.label_names))
    weights = class_weight_vector(recipe.training.class_weights, label_names=splits.label_names, counts=counts)
    probe = _probe(recipe, splits, run, rows=rows)
    with reporter.track("fitting the head", total=count_steps(recipe.training, num_rows=len(splits.train))) as advance:
        result = fit_head(
            head,
            rows["train"],
            rows["validation"],
            spec=recipe.training,
            class_weights=weights,
            device=placement.device,
            record=run.append_history,
            probe=probe,
            advance=advance,
        )
    probe.write()
    scored = {split.name: rows[split.name] for split in splits.all()[1:]}
    logits = {name: predict_logits(head, found, device=placement.device)[0].numpy() for name, found in scored.items()}
    staging = run.staging_dir()
    plan.save(head.to("cpu"), staging)
    run.replace_model(staging)

    trained = sum(parameter.numel() for parameter in head.parameters() if parameter.requires_grad)
    facts = {
        "pooling": str(pooling),
        "max_length": plan.encoder.max_length,
        "placement": placement.reason,
        "trained_parameters": trained,
        "features": {name: {"folder": str(f.folder), "reused": f.reused} for name, f in features.items()},
        "truncated": {name: f.num_truncated for name, f in features.items()},
        "fit": result._asdict(),
    }
    return Trained(logits=logits, facts=facts)


def _probe(recipe: Recipe, splits: Splits, run: Run, *, rows: dict[str, FeatureRows]) -> HeadProbe:
    num_train, num_validation = len(splits.train), len(splits.validation)
    chosen = ProbeRows.of(num_train=num_train, num_validation=num_validation, seed=recipe.training.seed)
    return HeadProbe(ProbeLog(run), chosen, train=rows["train"], test=rows.get("test"))


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
