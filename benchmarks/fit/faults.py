"""How each condition is planted: task, method, corpus, strength. Chosen so that the truth checks confirm it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One way to plant a condition; its fields are those of `Plant`.

    Attributes:
        faults: one of them for each run, in turn.
        scales: whether the set's scale applies to the number of training rows.
        num_validation: None for the set's own.
    """

    task: str
    corpus: str
    method: Mapping[str, Any]
    training: Mapping[str, Any]
    num_train: int
    num_validation: int | None = None
    faults: Sequence[Mapping[str, float]] = ()
    cure: Mapping[str, Any] = field(default_factory=dict)
    scales: bool = True
    model: str | None = None


FULL: Mapping[str, Any] = {"type": "full"}
FROZEN: Mapping[str, Any] = {"type": "frozen", "pooling": "mean"}


def lora(rank: int, **settings: Any) -> dict[str, Any]:
    """LoRA on all linear layers, scaled by two."""
    return {"type": "lora", "r": rank, "lora_alpha": 2 * rank, **settings}


def training(
    epochs: float, rate: float, batch: int = 16, *, evaluations: int | None = None, **more: Any
) -> dict[str, Any]:
    """A training section.

    Args:
        epochs: passes.
        rate: peak.
        batch: rows a step.
        evaluations: steps between them; by default after every epoch.
        more: other keys.
    """
    when = {} if evaluations is None else {"eval_strategy": "steps", "eval_steps": evaluations}
    section = {
        "num_train_epochs": epochs,
        "learning_rate": rate,
        "per_device_train_batch_size": batch,
        "warmup_steps": 0.05,
    }
    return {**section, **when, **more}


# fmt: off
HEALTHY = [
    Arm("classification", "english:{packages}", FROZEN, training(40, 1e-2, 256), 320, model="builtin:minilm"),
    Arm("causal_lm", "mixed", FULL, training(5, 4e-4, 4), 240),
    Arm("classification", "topics:3", FULL, training(6, 8e-4, evaluations=30), 400),
    Arm("classification", "english:{packages}", FROZEN, training(80, 5e-3, 128, evaluations=40, weight_decay=0.1), 260,
        model="builtin:minilm"),
    Arm("causal_lm", "mixed", lora(8), training(5, 3e-3, 4), 240),
    Arm("classification", "english:{packages}", FROZEN, training(80, 1e-2, 256, evaluations=10), 200,
        model="builtin:minilm"),
    Arm("seq2seq", "mixture", FULL, training(7, 1.2e-3, 32, evaluations=14), 300),
    Arm("causal_lm", "mixed", FULL, training(6, 3.5e-4, 4), 200),
    Arm("classification", "topics:2", lora(8), training(10, 2.5e-3, evaluations=40), 400),
    Arm("classification", "english:{packages}", FROZEN, training(50, 1e-2, 64, evaluations=40), 240,
        model="builtin:minilm"),
    Arm("causal_lm", "mixed", FULL, training(5, 3.5e-4, 4), 280),
]
FAULTY = {
    "overfit": [
        Arm("causal_lm", "dialect", FULL, training(60, 2e-3, 4, evaluations=15), 32, scales=False),
        Arm("classification", "topics:4", FULL, training(60, 1e-3, 8, evaluations=30, load_best_model_at_end=False), 40,
            scales=False),
        Arm("seq2seq", "loose", FULL, training(50, 2e-3, 8, evaluations=25, load_best_model_at_end=False), 40,
            scales=False),
    ],
    "not_converged": [
        Arm("causal_lm", "mixed", lora(8), training(6, 4e-5, 4), 240, cure={"learning_rate": 4e-3}),
        Arm("classification", "topics:3", FULL, training(8, 1e-5), 300, cure={"learning_rate": 1e-3}),
        Arm("seq2seq", "mapping", FULL, training(0.4, 1e-3, evaluations=2), 300, cure={"num_train_epochs": 6}),
    ],
    "forgetting": [
        Arm("causal_lm", "dialect", FULL, training(4, 6e-3, 4), 300),
        Arm("seq2seq", "mapping", FULL, training(6, 6e-3), 300),
        Arm("causal_lm", "foreign:{alphabet}", FULL, training(4, 5e-3, 4), 240),
    ],
    "capacity": [
        Arm("classification", "markers", FROZEN, training(80, 1e-2, 64, evaluations=20, weight_decay=0.001), 400,
            cure={"num_train_epochs": 12, "learning_rate": 1e-3, "per_device_train_batch_size": 16}),
        Arm("causal_lm", "dialect", lora(1, target_modules=["q_proj"]), training(8, 1e-2, 4), 240,
            cure={"learning_rate": 2e-3}),
        Arm("seq2seq", "mapping", lora(1, target_modules=["q"]), training(8, 1e-2), 300,
            cure={"learning_rate": 1e-3}),
    ],
    "domain_gap": [
        Arm("causal_lm", "foreign:{alphabet}", FULL, training(80, 1e-3, 2, evaluations=24), 5),
        Arm("causal_lm", "foreign:{alphabet}", FULL, training(96, 8e-4, 2, evaluations=24), 5),
        Arm("seq2seq", "alien:{alphabet}", FULL, training(12, 1e-3, 8, evaluations=12), 32),
    ],
    "memorised": [
        Arm("causal_lm", "mixed", FULL, training(4, 2e-3, 4, load_best_model_at_end=False), 200,
            faults=[{"canaries": 50}]),
        Arm("seq2seq", "mapping", FULL, training(4, 2e-3), 240, faults=[{"canaries": 50}]),
    ],
    "leakage": [
        Arm("classification", "topics:3", FULL, training(8, 1e-3), 360,
            faults=[{"leak": 0.1}, {"near": 0.3}, {"leak": 1.0}]),
        Arm("causal_lm", "mixed", lora(8), training(4, 4e-3, 4), 300,
            faults=[{"leak": 0.3}, {"leak": 0.1}, {"near": 0.3}]),
        Arm("seq2seq", "mapping", lora(16), training(6, 6e-3), 400,
            faults=[{"near": 1.0}, {"leak": 0.3}, {"leak": 0.1}]),
    ],
    "label_noise": [
        Arm("classification", "topics:3", FULL, training(5, 1e-3), 800, faults=[{"noise": 0.2}, {"noise": 0.4}]),
        Arm("classification", "topics:2", lora(8), training(5, 4e-3), 600, faults=[{"noise": 0.2}]),
        Arm("classification", "topics:4", FROZEN, training(60, 1e-2, 64, evaluations=10, weight_decay=0.001), 900,
            faults=[{"noise": 0.4}, {"noise": 0.2}]),
    ],
    "class_collapse": [
        Arm("classification", "topics:2", FULL, training(4, 5e-2), 300, 600, faults=[{"minority": 0.05}]),
        Arm("classification", "topics:2", FULL, training(4, 1e-1), 300),
        Arm("classification", "topics:3", lora(8), training(4, 0.3), 300),
    ],
    "too_little_data": [
        Arm("classification", "topics:3", FULL, training(8, 1e-3), 200, 10),
        Arm("causal_lm", "mixed", lora(8), training(4, 4e-3, 4), 200, 25),
        Arm("seq2seq", "mapping", lora(16), training(6, 6e-3), 200, 40),
    ],
}
# fmt: on
