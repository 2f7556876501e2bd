"""What Trainer reads back from a checkpoint is the whole model, whatever names its weights have when published."""

from __future__ import annotations

import json

import pytest

from ftkit.errors import RunError
from tests.fixtures.architectures import make_checkpoint

TWO_STEPS = {
    "method__type": "full",
    "training__max_steps": 2,
    "training__eval_strategy": "steps",
    "training__eval_steps": 1,
    "training__learning_rate": 0.5,
    "training__lr_scheduler_type": "constant",
    "training__warmup_steps": 0,
}
"""A run whose first step is better than its last."""


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """A decoder whose experts lie in one tensor in memory, and in one each in a published checkpoint."""
    folder = tmp_path_factory.mktemp("qwen3_moe")
    assert make_checkpoint("causal_lm", "qwen3_moe", folder)
    return folder


def test_the_best_model_of_a_mixture_of_experts_is_the_one_that_was_scored(train_lm, experts):
    run = train_lm(model__name_or_path=experts, **TWO_STEPS)
    lines = [json.loads(line) for line in run.run.history_file.read_text().splitlines()]
    losses = [line["validation_loss"] for line in lines if line["step"] and line.get("validation_loss") is not None]
    assert losses.index(min(losses)) < len(losses) - 1, "the last one is the best, so nothing is read back"
    assert run.metrics["validation"]["loss"]["value"] == pytest.approx(min(losses), rel=1e-5)


def test_a_checkpoint_that_lacks_weights_is_not_gone_on_with(train_lm, experts, monkeypatch):
    from transformers import Trainer

    from ftkit.training.sealed_trainer import SealedTrainer

    monkeypatch.setattr(SealedTrainer, "_save", Trainer._save)
    with pytest.raises(RunError, match=r"does not hold the weights of this model: .*experts"):
        train_lm(model__name_or_path=experts, **TWO_STEPS)


def test_what_an_architecture_computes_anew_instead_of_saving_it_is_not_lacking():
    from types import SimpleNamespace

    from transformers import MarianConfig, MarianMTModel

    from ftkit.training.resume import refuse_other_weights

    sides = {f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    config = MarianConfig(vocab_size=8, d_model=4, max_position_embeddings=8, pad_token_id=0, **sides)
    model, positions = MarianMTModel(config), "model.encoder.embed_positions.weight"
    refuse_other_weights(model, SimpleNamespace(missing_keys=[positions], unexpected_keys=[]))
    lacking = [positions, "model.encoder.layers.0.fc1.weight"]
    with pytest.raises(RunError, match="fc1"):
        refuse_other_weights(model, SimpleNamespace(missing_keys=lacking, unexpected_keys=[]))
