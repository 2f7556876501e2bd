"""One small run for each trainer, in which everything that a resume must bring back is at work: dropout, shuffling,
warm-up, two kept checkpoints, the best one, early stopping's patience, accumulation.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.outcomes import lines_of

NOUNS = ("lamp", "river", "engine", "garden", "letter", "window", "planet", "teapot")
VERBS = ("opens", "closes", "moves", "breaks", "holds")

TRAINING = """
training:
  num_train_epochs: 2
  per_device_train_batch_size: 4
  gradient_accumulation_steps: 2
  learning_rate: {rate}
  eval_strategy: steps
  eval_steps: 4
  logging_steps: 2
  save_total_limit: 2
  early_stopping_patience: 3
  seed: 7
  output_dir: runs/{name}
evaluation:
  num_resamples: 100
"""

FROZEN = """
task: classification
model: {name_or_path: builtin:tiny-bert}
data: {train_file: labelled.jsonl, validation_file: labelled-new.jsonl}
method: {type: frozen}
training: {num_train_epochs: 2, seed: 7, output_dir: runs/frozen}
evaluation: {num_resamples: 100}
"""

HEADS = {
    "classification": """
task: classification
model: {name_or_path: builtin:tiny-bert}
data: {train_file: labelled.jsonl, validation_file: labelled-new.jsonl}
method: {type: full}
""",
    "causal_lm": """
task: causal_lm
model: {name_or_path: builtin:tiny-gpt2}
data: {train_file: texts.jsonl, validation_file: texts-new.jsonl, text_column: text, max_length: 32}
method: {type: lora, r: 4, lora_dropout: 0.1}
""",
    "seq2seq": """
task: seq2seq
model: {name_or_path: builtin:tiny-t5}
data: {train_file: pairs.jsonl, validation_file: pairs-new.jsonl, source_column: source, target_column: target}
method: {type: prompt_tuning, num_virtual_tokens: 4}
generation: {max_new_tokens: 4}
""",
}
RATES = {"classification": "1e-3", "causal_lm": "5e-3", "seq2seq": "0.1"}
TASKS = tuple(HEADS)
KINDS = (*TASKS, "frozen")
"""The trainers that seal checkpoints, and the one that stores features."""


SHORT = ("training.max_steps=6", "training.eval_steps=2", "training.save_total_limit=1")
"""Overrides for a run of three saves and two rotations."""


def write_tiny_runs(folder: Path) -> None:
    """Data files and `TASK.yaml` for each task, into a folder; and `frozen.yaml`."""
    sentences = [f"the {noun} {verb} the {other}" for noun in NOUNS for verb in VERBS for other in NOUNS[:2]]
    labelled = [{"text": text, "label": text.split()[2]} for text in sentences]
    texts = [{"text": text} for text in sentences]
    pairs = [{"source": text, "target": " ".join(reversed(text.split()))} for text in sentences]
    for name, rows in (("labelled", labelled), ("texts", texts), ("pairs", pairs)):
        train = [row for number, row in enumerate(rows) if number % 5]
        (folder / f"{name}.jsonl").write_text(lines_of(train[:48]), encoding="utf-8")
        (folder / f"{name}-new.jsonl").write_text(lines_of(rows[::5][:10]), encoding="utf-8")
    for task, head in HEADS.items():
        recipe = head.lstrip() + TRAINING.format(rate=RATES[task], name=task)
        (folder / f"{task}.yaml").write_text(recipe, encoding="utf-8")
    (folder / "frozen.yaml").write_text(FROZEN.lstrip(), encoding="utf-8")
