"""What the golden record is made of: a recipe for each task and method, and recipes that are wrong.

Data forms, model families and options are spread over the recipes, so that few runs
meet many of them.
"""

from __future__ import annotations

from collections.abc import Mapping

TRAINING = """
training:
  {steps}
  per_device_train_batch_size: 8
  learning_rate: {rate}
  eval_strategy: steps
  eval_steps: 3
  logging_steps: 2
  seed: 7
  use_cpu: true
  bf16: false
  output_dir: runs/{name}{extra}
evaluation: {{num_resamples: 100{evaluation}}}
"""
LABELLED = "train_file: labelled.csv, validation_file: labelled-new.csv, test_file: labelled-test.csv"
PAIRED = "train_file: pairs.jsonl, validation_file: pairs-new.jsonl, max_length: 24"
TEXT_METRICS = ", metrics: [loss, perplexity, exact_match, token_f1, edit_distance, bleu, chrf, rouge1, rougeLsum]"


def recipe(name: str, head: str, *, rate: str, steps: int = 6, extra: str = "", evaluation: str = "") -> str:
    """A whole recipe: its head, and the training that all share."""
    values = {"name": name, "rate": rate, "steps": f"max_steps: {steps}", "evaluation": evaluation}
    return head.strip() + TRAINING.format(extra=f"\n  {extra}" if extra else "", **values)


RECIPES: dict[str, str] = {
    "classification/mean": f"""task: classification
model: {{name_or_path: builtin:tiny-bert, dtype: float32}}
method: {{type: frozen, pooling: mean}}
data: {{{LABELLED}, max_length: 16}}
training: {{num_train_epochs: 8, early_stopping_patience: 3, seed: 7, use_cpu: true, output_dir: runs/mean}}
evaluation: {{num_resamples: 100, metrics: [accuracy, f1_macro, roc_auc, ece, matthews, confusion]}}
""",
    "classification/cls": """task: classification
model: {name_or_path: builtin:tiny-roberta, dtype: float32}
method: {type: frozen, pooling: cls}
data: {train_file: labelled.csv, text_column: text, text_pair_column: other, label_column: label, validation_size: 0.3}
training: {num_train_epochs: 5, class_weights: balanced, seed: 7, use_cpu: true, output_dir: runs/cls}
evaluation: {num_resamples: 100, metrics: [accuracy, precision, recall, f1], positive_label: land}
""",
    "classification/lora": recipe(
        "lora",
        f"""task: classification
model: {{name_or_path: builtin:tiny-distilbert}}
method: {{type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.1}}
data: {{{LABELLED}}}
""",
        rate="5e-3",
        extra="label_smoothing_factor: 0.1",
    ),
    "classification/full": recipe(
        "full",
        f"""task: classification
model: {{name_or_path: builtin:tiny-bert}}
method: {{type: full}}
data: {{{LABELLED}, max_length: 12, drop_duplicates: true}}
""",
        rate="1e-3",
        extra="metric_for_best_model: accuracy",
    ),
    "classification/auto": """task: classification
model: {name_or_path: builtin:tiny-deberta-v2}
data: {train_file: labelled.tsv, on_bad_row: skip, max_train_samples: 40}
training: {num_train_epochs: 3, use_cpu: true, output_dir: runs/auto}
""",
    "causal_lm/full": recipe(
        "full",
        """task: causal_lm
model: {name_or_path: builtin:tiny-gpt2}
method: {type: full}
data: {train_file: texts.jsonl, validation_file: texts-new.jsonl, text_column: text, max_length: 32}
""",
        rate="5e-3",
    ),
    "causal_lm/lora": recipe(
        "lora",
        """task: causal_lm
model: {name_or_path: builtin:tiny-llama, dtype: float32}
method: {type: lora, r: 4, lora_dropout: 0.1, lora_plus_ratio: 4}
data: {train_file: chats.jsonl, validation_file: chats-new.jsonl, messages_column: talk, chat_template: plain}
""",
        rate="5e-3",
        extra="gradient_accumulation_steps: 2",
    ),
    "causal_lm/prompt": recipe(
        "prompt",
        """task: causal_lm
model: {name_or_path: builtin:tiny-qwen3, dtype: float32}
method: {type: prompt_tuning, num_virtual_tokens: 4}
data:
  train_file: answers.jsonl
  validation_file: answers-new.jsonl
  template: "{question} ({place})\\n<learn>{answer}"
""",
        rate="0.1",
    ),
    "causal_lm/auto": """task: causal_lm
model: {name_or_path: builtin:tiny-olmo2}
data: {train_file: notes.txt, max_length: 24}
training: {max_tokens_per_batch: 96, gradient_checkpointing: true, use_cpu: true, max_steps: 4, output_dir: runs/auto}
""",
    "seq2seq/full": recipe(
        "full",
        f"""task: seq2seq
model: {{name_or_path: builtin:tiny-t5}}
method: {{type: full}}
data: {{{PAIRED}, source_column: source, target_column: target, references_column: right, source_prefix: "turn: "}}
generation: {{max_new_tokens: 5}}
""",
        rate="1e-2",
        extra="metric_for_best_model: chrf",
        evaluation=TEXT_METRICS,
    ),
    "seq2seq/lora": recipe(
        "lora",
        f"""task: seq2seq
model: {{name_or_path: builtin:tiny-bart, dtype: float32}}
method: {{type: lora, r: 4}}
data: {{{PAIRED}, template: "say {{source}}<learn>{{target}}"}}
generation: {{max_new_tokens: 5, num_beams: 2, length_penalty: 0.8}}
""",
        rate="1e-2",
    ),
    "seq2seq/prompt": recipe(
        "prompt",
        f"""task: seq2seq
model: {{name_or_path: builtin:tiny-t5, dtype: float32}}
method: {{type: prompt_tuning, num_virtual_tokens: 4, prompt_tuning_init: text, prompt_tuning_init_text: turn it round}}
data: {{{PAIRED}, source_column: source, target_column: target}}
generation: {{max_new_tokens: 4}}
""",
        rate="0.3",
    ),
    "seq2seq/prefix": recipe(
        "prefix",
        f"""task: seq2seq
model: {{name_or_path: builtin:tiny-t5, dtype: float32}}
method: {{type: prefix_tuning, num_virtual_tokens: 4}}
data: {{{PAIRED}, source_column: source, target_column: target}}
generation: {{max_new_tokens: 4}}
""",
        rate="0.1",
        evaluation=", score_base: false",
    ),
    "seq2seq/auto": """task: seq2seq
model: {name_or_path: builtin:tiny-bart}
method: {type: lora}
data: {train_file: pairs.json, max_target_length: 8}
training: {max_tokens_per_batch: 96, use_cpu: true, max_steps: 4, output_dir: runs/auto}
generation: {do_sample: true, temperature: 0.9, max_new_tokens: 3}
""",
    "seq2seq/labels": recipe(
        "labels",
        f"""task: seq2seq
model: {{name_or_path: builtin:tiny-t5}}
method: {{type: full}}
data: {{{LABELLED}, labels_as_text: true, text_column: text, label_column: label}}
""",
        rate="1e-2",
    ),
}
"""Task and short name -> recipe. Those called auto leave all they can to the defaults: precision, columns, splits."""

_CLASSIFY = {"task": "classification", "model.name_or_path": "builtin:tiny-bert", "data.train_file": "labelled.csv"}
_FROZEN, _LORA = _CLASSIFY | {"method.type": "frozen"}, _CLASSIFY | {"method.type": "lora"}
_CAUSAL = {"task": "causal_lm", "model.name_or_path": "builtin:tiny-gpt2", "data.train_file": "texts.jsonl"}
_PAIRS = {"task": "seq2seq", "model.name_or_path": "builtin:tiny-t5", "data.train_file": "pairs.jsonl"}
_LABELS = _PAIRS | {"data.labels_as_text": True, "data.train_file": "labelled.csv"}

BROKEN: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
    "spelling-lr": (_CLASSIFY, {"training.lr": 1e-3}),
    "spelling-top": (_CLASSIFY, {"lora_rank": 4}),
    "spelling-pairs": (_PAIRS, {"data.max_source_length": 9, "generation.max_length": 3}),
    "typo": (_CLASSIFY, {"training.learning_rat": 1e-3, "data.text_colum": "text"}),
    "wrong-type": (_CLASSIFY, {"training.seed": "seven", "training.learning_rate": -1, "data.validation_size": [1]}),
    "unknown-task": (_CLASSIFY, {"task": "regression"}),
    "foreign-task": (_CAUSAL, {"task": "clm"}),
    "unknown-method": (_CLASSIFY, {"method.type": "qlora"}),
    "method-prompt": (_CLASSIFY, {"method.type": "prompt_tuning"}),
    "method-frozen-causal": (_CAUSAL, {"method.type": "frozen"}),
    "method-frozen-pairs": (_PAIRS, {"method.type": "frozen"}),
    "method-prefix": (_CAUSAL, {"method.type": "prefix_tuning"}),
    "method-key": (_FROZEN, {"method.r": 4}),
    "key-packing": (_CLASSIFY, {"data.packing": True, "data.template": "a<learn>b"}),
    "key-pair": (_CAUSAL, {"data.text_pair_column": "other", "generation.num_beams": 2}),
    "key-messages": (_PAIRS, {"data.messages_column": "talk", "training.class_weights": "balanced"}),
    "metric-classify": (_CLASSIFY, {"evaluation.metrics": ["perplexity"]}),
    "metric-causal": (_CAUSAL, {"evaluation.metrics": ["accuracy", "perplexity", "perplexity"]}),
    "metric-pairs": (_PAIRS, {"evaluation.metrics": ["f1_macro"]}),
    "metric-labels": (_LABELS, {"evaluation.metrics": ["bleu"]}),
    "metric-best": (_CLASSIFY, {"training.metric_for_best_model": "chrf"}),
    "metric-positive": (_CLASSIFY, {"data.label_names": ["a", "b"], "evaluation.positive_label": "c"}),
    "no-data": (_CLASSIFY, {"data.train_file": None}),
    "no-file": (_CLASSIFY, {"data.train_file": "labeled.csv"}),
    "two-forms": (_CAUSAL, {"data.text_column": "text", "data.template": "{text}<learn>{text}"}),
    "half-form": (_PAIRS, {"data.source_column": "source"}),
    "template": (_PAIRS, {"data.template": "{source} {target}"}),
    "labels-form": (_LABELS, {"data.source_column": "text"}),
    "knobs": (_PAIRS, {"generation.temperature": 0.5, "generation.length_penalty": 2.0}),
    "steps": (_CLASSIFY, {"training.warmup_steps": 1.5, "training.eval_strategy": "no"}),
    "extra": (_LORA, {"training.extra": {"learning_rate": 1, "adam_bet": 2}}),
    "dtype": (_CLASSIFY, {"method.type": "full", "model.dtype": "float16"}),
    "frozen-batch": (_FROZEN, {"training.gradient_accumulation_steps": 4, "training.weight_decay": -2}),
    "adapters": (_CAUSAL, {"method.type": "lora", "method.init_lora_weights": "pissa", "method.use_dora": True}),
}
"""Name -> a recipe as dotted keys, and what is wrong with it; found without a look at the data."""

UNFIT: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
    "column-label": (_FROZEN, {"data.label_column": "labl"}),
    "column-text": (_CAUSAL, {"data.text_column": "body"}),
    "column-template": (_CAUSAL, {"data.template": "{ask}<learn>{text}"}),
    "column-pairs": (_PAIRS, {"data.source_column": "src", "data.target_column": "target"}),
    "column-none": (_PAIRS, {"data.train_file": "texts.jsonl"}),
    "label-names": (_FROZEN, {"data.label_names": ["tool", "land"]}),
    "base-decoder": (_CAUSAL, {"model.name_or_path": "builtin:tiny-t5"}),
    "base-encoder": (_CAUSAL, {"model.name_or_path": "builtin:tiny-bert"}),
    "base-pairs": (_PAIRS, {"model.name_or_path": "builtin:tiny-gpt2"}),
    "base-classify": (_CLASSIFY, {"model.name_or_path": "builtin:tiny-t5"}),
    "base-unknown": (_CLASSIFY, {"model.name_or_path": "builtin:tiny-brt"}),
    "base-hub": (_CLASSIFY, {"model.name_or_path": "no/such-model"}),
    "max-length": (_CLASSIFY, {"data.max_length": 100000}),
    "targets": (_LORA, {"method.target_modules": ["nope"]}),
}
"""As `BROKEN`; found by a look at data or model."""


def nested(keys: Mapping[str, object]) -> dict[str, object]:
    """Dotted keys as a recipe (which is YAML, and so JSON too)."""
    found: dict[str, object] = {}
    for dotted, value in keys.items():
        section, _, key = dotted.rpartition(".")
        part = found.setdefault(section, {}) if section else found
        assert isinstance(part, dict)
        part[key] = value
    return found
