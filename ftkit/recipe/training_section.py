"""The `training` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftkit.methods.section import Section


class TrainingSpec(Section):
    """How it is trained, by names as in transformers.TrainingArguments: the keys that every task reads."""

    output_dir: str | None = None
    """The run directory, relative to the recipe. Default: `runs/<name of the recipe>` where the command is typed."""

    num_train_epochs: float = Field(gt=0)
    """Passes over the training set."""

    max_steps: int | None = Field(default=None, ge=1)
    """Stop after that many optimizer steps, whatever num_train_epochs says."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate."""

    per_device_train_batch_size: int = Field(ge=1)
    """Examples a step on each device."""

    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before a step."""

    optim: str = "adamw_torch"
    """Optimizer, by its transformers name (a frozen head is fitted with AdamW)."""

    layer_lr_decay: float = Field(default=1.0, gt=0, le=1)
    """Method full: each layer learns at that many times the rate of the one above it, embeddings slowest, what lies
    outside the layers at the peak (Howard and Ruder 2018); 0.65 to 0.95 are usual."""

    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "constant",
        "constant_with_warmup",
        "cosine_with_restarts",
        "polynomial",
        "inverse_sqrt",
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "warmup_stable_decay",
        "reduce_lr_on_plateau",
        "greedy",
    ]
    """Shape of the learning rate over the run: every schedule of transformers. The last two follow the validation score
    (`full`, `lora`, tuned prompts)."""

    lr_scheduler_kwargs: dict[str, Any] = Field(default_factory=dict)
    """What the schedule is told besides: {min_lr_rate: 0.1} for cosine_with_min_lr, {num_decay_steps: 0.2}, a share of
    all steps, for warmup_stable_decay, which need it."""

    warmup_steps: float = Field(ge=0)
    """Steps of warm-up; below 1, the share of all steps."""

    weight_decay: Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """AdamW's decoupled weight decay. For a linear head on frozen features: the strength of an L2 penalty on its
    weights; `auto` trains several strengths side by side and keeps the one with the best validation score."""

    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this norm; 0 leaves them."""

    label_smoothing_factor: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each target's probability that is spread over all labels, or over the vocabulary, in the loss that is
    trained (Szegedy et al. 2016). Losses that are measured, and choose the best model, are plain."""

    eval_strategy: Literal["epoch", "steps", "no"] = "epoch"
    """When the validation set is scored; `no`: before the first step and after the last one alone."""

    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between evaluations, with eval_strategy: steps."""

    eval_margin_of_error: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Score only so many validation rows while training that the 95 % interval of what chooses the best step (loss,
    accuracy, exact_match, token_f1) reaches no further to either side; the rows of 1,000 examples or fewer are all
    scored. The final scores are of all rows. Default: all rows at each evaluation."""

    save_strategy: Literal["evaluation", "epoch", "steps", "minutes", "no"] = "evaluation"
    """When a checkpoint is sealed (a frozen head needs none): with every evaluation, or apart from them. Whatever it
    says, the best so far is sealed where load_best_model_at_end looks for it, and so is the step at which a run is
    asked to stop."""

    save_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints, with save_strategy: steps."""

    save_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Minutes between checkpoints, with save_strategy: minutes: the most that kill -9 or a power cut can lose, besides
    the step and the scoring under way."""

    save_total_limit: int = Field(default=2, ge=1)
    """Checkpoints kept (`full` and `lora`; a frozen head needs none)."""

    load_best_model_at_end: bool = True
    """Keep the checkpoint with the best validation score instead of the last."""

    metric_for_best_model: Literal[
        "loss",
        "accuracy",
        "f1_macro",
        "f1_weighted",
        "balanced_accuracy",
        "cohen_kappa",
        "matthews",
        "roc_auc",
        "exact_match",
        "token_f1",
        "bleu",
        "chrf",
        "rouge1",
        "rouge2",
        "rougeL",
        "rougeLsum",
    ] = "loss"
    """What `best` means, on the validation set; `loss` is weighed as training.class_weights says. Task seq2seq: with a
    metric of texts every evaluation generates, which takes its time."""

    refit: bool = False
    """Once the best step is found on validation, train once more from the start on all rows, those of validation (split
    off, or a file's) among them, for as many epochs; that model is kept. It takes about the time once more. Validation
    is scored before; test, where there is one, by the model that is kept (not for frozen heads)."""

    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after that many evaluations without a better score. Default: never."""

    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seed of everything random: splits, initial weights, order of examples, dropout."""

    bf16: bool | Literal["auto"]
    """Mixed precision in bfloat16 (not for frozen encoders). `auto`: where the processor computes in it."""

    fp16: bool = False
    """Mixed precision in float16; needs a GPU."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower (not with prefix_tuning)."""

    auto_find_batch_size: bool = False
    """When memory runs out, halve per_device_train_batch_size and double gradient_accumulation_steps, which leaves the
    step as it is, and go on (`full`, `lora`, tuned prompts; not with max_tokens_per_batch)."""

    dataloader_num_workers: int = Field(default=0, ge=0)
    """Processes that prepare batches (`full` and `lora`)."""

    use_cpu: bool = False
    """Stay on the CPU although there is an accelerator."""

    logging_steps: int = Field(default=10, ge=1)
    """Steps between training losses in history.jsonl (`full` and `lora`)."""

    report_to: Literal["none", "tensorboard", "wandb", "trackio", "mlflow"] = "none"
    """Experiment tracker (`full` and `lora`); nothing is sent anywhere unless it is named here."""

    extra: dict[str, Any] = Field(default_factory=dict)
    """Other fields of transformers.TrainingArguments (`full` and `lora`): those of the optimizer, of logging and of how
    batches are loaded, such as adam_beta2. Those that a run would not survive are refused, with the reason."""

    def rows_scored_at_once(self) -> int | None:
        """Examples a batch when evaluating; None where such a batch is counted otherwise."""
        return None

    def token_budget(self) -> int | None:
        """Tokens a step on each device; None where examples are counted."""
        return None

    def weighs_classes(self) -> str | dict[str, float]:
        """How the loss weighs classes; `none` where there are none, or all count the same."""
        return "none"
