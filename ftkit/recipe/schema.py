"""What a recipe may say. The docstring under each field is its reference manual and its entry in the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftkit.recipe.methods import FrozenMethod, FullMethod, LoraMethod, Method, PromptTuningMethod, Section

__all__ = [
    "DataSpec",
    "EvaluationSpec",
    "FrozenMethod",
    "FullMethod",
    "LoraMethod",
    "Method",
    "ModelSpec",
    "PromptTuningMethod",
    "Recipe",
    "Section",
    "TrainingSpec",
]

CLASSIFICATION_METRICS = (
    "accuracy",
    "f1_macro",
    "f1",
    "precision",
    "recall",
    "matthews",
    "roc_auc",
    "confusion",
    "ece",
)
LANGUAGE_METRICS = ("loss", "perplexity", "bits_per_byte", "token_accuracy")
METRICS = (*CLASSIFICATION_METRICS, *LANGUAGE_METRICS)
Metric = Annotated[str, Field(pattern=rf"^({'|'.join(METRICS)}|evaluate:.+)$")]


class ModelSpec(Section):
    """The base checkpoint."""

    name_or_path: str = Field(min_length=1)
    """Hub id, folder, or `builtin:NAME` (`ftkit builtin` lists them). A relative folder is relative to the recipe."""

    revision: str | None = None
    """Branch, tag or commit of a hub model."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of what is not trained: a frozen encoder, the base under adapters or a prompt. `auto`: bfloat16 where
    the processor computes in it, else float32. What is trained is kept in float32; for mixed precision see
    training.bf16."""

    gguf_file: str | None = None
    """GGUF file in that folder or hub repository (task causal_lm). Its weights are dequantised to float32 once and kept
    in the cache."""

    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed (task causal_lm). `auto`: document by document where examples lie end to end, PyTorch's
    scaled_dot_product_attention elsewhere."""

    trust_remote_code: bool = False
    """Run Python code that comes with the checkpoint. Leave it off unless you have read that code."""


class DataSpec(Section):
    """Where the examples come from and which columns hold what."""

    train_file: str | None = None
    """CSV, TSV, JSON, JSONL, Parquet or text file, relative to the recipe."""

    validation_file: str | None = None
    """Examples for choosing the best checkpoint. Without any, part of the training set is split off."""

    test_file: str | None = None
    """Examples looked at once, at the end."""

    dataset_name: str | None = None
    """Instead of files: a hub data set, `builtin:NAME`, or a folder that holds train, validation and test files."""

    dataset_config_name: str | None = None
    """Configuration of a hub data set."""

    train_split: str = "train"
    """Name of the training split of a data set."""

    validation_split: str | None = None
    """Name of the validation split; found by its usual names when absent."""

    test_split: str | None = None
    """Name of the test split; found by its usual name when absent."""

    validation_size: float = Field(default=0.1, gt=0.0)
    """Split off when there is no validation set: a share below 1, or a number of rows."""

    text_column: str | None = None
    """Column of the text; found when exactly one column looks like it."""

    prompt_column: str | None = None
    """Column of what the model is given (task causal_lm); with completion_column it is short for a template."""

    completion_column: str | None = None
    """Column of what the model is to answer (task causal_lm)."""

    messages_column: str | None = None
    """Column of chats (task causal_lm): lists of {role, content}; the assistant's turns are learnt."""

    template: str | None = Field(default=None, min_length=1)
    """Text made of columns (task causal_lm), such as "Question: {question}\\nAnswer:<learn> {answer}": what follows
    <learn> is learnt, without it everything is. `ftkit generate` sends the same text up to <learn>."""

    chat_template: str | None = Field(default=None, min_length=1)
    """How chats become text (task causal_lm): `plain` (words only, for bases that were never taught to chat), `chatml`,
    or a .jinja file. Default: the tokenizer's own."""

    completion_only_loss: bool = True
    """Learn completions and assistants' turns only, not what they answer (task causal_lm)."""

    packing: bool | Literal["auto"] = "auto"
    """Lay documents end to end instead of padding them (task causal_lm); attention never crosses from one into the
    next. `auto`: wherever that is shown to leave the model's outputs as they are."""

    document_separator: str | None = Field(default=None, min_length=1)
    """What stands between the documents of a text file, such as "\\n\\n" or "<|endoftext|>" (task causal_lm). Default:
    a text file is one document."""

    text_pair_column: str | None = None
    """Column of the second text, for tasks on pairs (entailment, paraphrase)."""

    label_column: str | None = None
    """Column of the label; found when exactly one column looks like it."""

    label_names: list[str | int] | None = None
    """The labels in the order they get in the model. Default: sorted as they occur in the training set."""

    max_length: int | None = Field(default=None, ge=4)
    """Tokens kept of each example, special tokens included; longer documents of a language model are cut into pieces of
    that length. Default: what the model allows, at most 512 (classification) or 1,024 (causal_lm)."""

    max_train_samples: int | None = Field(default=None, ge=1)
    """Use only that many training rows, drawn with the seed."""

    max_eval_samples: int | None = Field(default=None, ge=1)
    """Use only that many validation and test rows each, drawn with the seed."""

    encoding: str = "utf-8"
    """Encoding of text files, as Python names it (`cp1252`, `latin-1`, `utf-16`)."""

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Field separator of a CSV file. Default: comma, or tab for .tsv."""

    on_bad_row: Literal["error", "skip"] = "error"
    """`error`: the first broken rows stop the run and are shown. `skip`: they are left out, counted and
    listed in the run."""


class TrainingSpec(Section):
    """How it is trained: names as in transformers.TrainingArguments."""

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

    per_device_eval_batch_size: int = Field(default=64, ge=1)
    """Examples a batch when evaluating (task classification; language models are scored in batches of tokens)."""

    max_tokens_per_batch: int | None = Field(default=None, ge=16)
    """Tokens a step on each device instead of examples (task causal_lm): as many examples as fit."""

    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before a step."""

    optim: str = "adamw_torch"
    """Optimizer, by its transformers name (a frozen head is fitted with AdamW)."""

    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    """Shape of the learning rate over the run."""

    warmup_steps: float = Field(ge=0)
    """Steps of warm-up; below 1, the share of all steps."""

    weight_decay: Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """AdamW's decoupled weight decay. For a linear head on frozen features: the strength of an L2 penalty on its
    weights; `auto` trains several strengths side by side and keeps the one with the best validation score."""

    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this norm; 0 leaves them."""

    label_smoothing_factor: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target's probability spread over all labels."""

    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    """Weight of each class in the loss: `balanced` is n / (num_classes * n_class), or a weight by label name."""

    eval_strategy: Literal["epoch", "steps"] = "epoch"
    """When the validation set is scored."""

    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between evaluations, with eval_strategy: steps."""

    save_total_limit: int = Field(default=2, ge=1)
    """Checkpoints kept (`full` and `lora`; a frozen head needs none)."""

    load_best_model_at_end: bool = True
    """Keep the checkpoint with the best validation score instead of the last."""

    metric_for_best_model: Literal["loss", "accuracy", "f1_macro"] = "loss"
    """What `best` means, on the validation set."""

    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after that many evaluations without a better score. Default: never."""

    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seed of everything random: splits, initial weights, order of examples, dropout."""

    bf16: bool | Literal["auto"]
    """Mixed precision in bfloat16 (not for frozen encoders). `auto`: where the processor computes in it."""

    fp16: bool = False
    """Mixed precision in float16; needs a GPU."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""

    dataloader_num_workers: int = Field(default=0, ge=0)
    """Processes that prepare batches (`full` and `lora`)."""

    use_cpu: bool = False
    """Stay on the CPU although there is an accelerator."""

    logging_steps: int = Field(default=10, ge=1)
    """Steps between training losses in history.jsonl (`full` and `lora`)."""

    report_to: Literal["none", "tensorboard", "wandb", "trackio", "mlflow"] = "none"
    """Experiment tracker (`full` and `lora`); nothing is sent anywhere unless it is named here."""

    extra: dict[str, Any] = Field(default_factory=dict)
    """Any other field of transformers.TrainingArguments (`full` and `lora`)."""


class EvaluationSpec(Section):
    """What is measured at the end, on validation and test."""

    metrics: list[Metric] = Field(min_length=1)
    """Classification: accuracy, f1_macro, f1, precision, recall, matthews, roc_auc, confusion, ece, or `evaluate:NAME`
    of that library. Language models: loss, perplexity, bits_per_byte, token_accuracy."""

    positive_label: str | int | None = None
    """Class that f1, precision and recall are about in a task of two classes. Default: the second label."""

    num_resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples behind each 95 % interval."""


class Recipe(Section):
    """A whole recipe: what to train, on what, how."""

    task: Literal["classification", "causal_lm"]
    """classification: one label for each text or pair of texts. causal_lm: a language model goes on with a text."""

    model: ModelSpec
    """The base checkpoint."""

    method: Method
    """What is trained: `frozen` (the head of a classifier only), `full`, `lora` or, of a language model,
    `prompt_tuning`."""

    data: DataSpec
    """The examples."""

    training: TrainingSpec
    """How it is trained."""

    evaluation: EvaluationSpec
    """What is measured."""
