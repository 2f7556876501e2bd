"""Defaults that depend on the method: a head on frozen features wants another learning rate than a whole encoder."""

from __future__ import annotations

METHOD_DEFAULTS: dict[str, dict[str, object]] = {
    "frozen": {
        "training.num_train_epochs": 100,
        "training.learning_rate": 1e-2,
        "training.per_device_train_batch_size": 256,
        "training.lr_scheduler_type": "cosine",
        "training.warmup_steps": 0,
        "training.weight_decay": "auto",
    },
    "full": {
        "training.num_train_epochs": 3,
        "training.learning_rate": 2e-5,
        "training.per_device_train_batch_size": 16,
        "training.lr_scheduler_type": "linear",
        "training.warmup_steps": 0.06,
        "training.weight_decay": 0.01,
    },
    "lora": {
        "training.num_train_epochs": 5,
        "training.learning_rate": 2e-4,
        "training.per_device_train_batch_size": 16,
        "training.lr_scheduler_type": "linear",
        "training.warmup_steps": 0.06,
        "training.weight_decay": 0.0,
    },
}
"""Method type -> dotted key -> value where the recipe says nothing. Filled in before validation."""
