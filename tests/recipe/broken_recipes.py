"""Broken recipes made from a valid one, each by a seed, with what was broken."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

VALID = (
    """\
# yaml-language-server: $schema=ftkit.schema.json
task: classification
model:
  name_or_path: builtin:tiny-bert
  dtype: auto
method:
  type: lora
  r: 4
  lora_alpha: 8
  lora_dropout: 0.1
  target_modules: [query, value]
  use_rslora: true
data:
  train_file: train.csv
  validation_size: 0.2
  text_column: text
  label_column: label
  label_names: [yes, no]
  max_length: 64
  max_train_samples: 100
  on_bad_row: skip
training:
  num_train_epochs: 2
  learning_rate: 2e-4
  per_device_train_batch_size: 8
  gradient_accumulation_steps: 2
  lr_scheduler_type: linear
  warmup_steps: 0.1
  weight_decay: 0.01
  eval_strategy: steps
  eval_steps: 50
  early_stopping_patience: 3
  metric_for_best_model: f1_macro
  class_weights: {yes: 1.0, no: 2.0}
  seed: 7
  bf16: true
  report_to: none
  extra:
    adam_beta2: 0.98
evaluation:
  metrics:
    - accuracy
    - f1
    - evaluate:mauve
  positive_label: yes
  num_resamples: 200
""",
    """\
task: classification
model: {name_or_path: "builtin:minilm", revision: null, trust_remote_code: false}
method: {type: frozen, pooling: mean}
data:
  dataset_name: builtin:docstrings
  max_eval_samples: 100
  label_names:
  - a
  - 2
training:
  output_dir: ../runs/quick
  max_steps: 100
  label_smoothing_factor: 0.1
  load_best_model_at_end: true
  class_weights: balanced
  use_cpu: true
  max_grad_norm: 0.5
  per_device_eval_batch_size: 32
""",
    """\
task: causal_lm
model:
  name_or_path: builtin:tiny-llama
  attn_implementation: sdpa
method:
  type: lora
  init_lora_weights: gaussian
  lora_plus_ratio: 16
  modules_to_save: [lm_head]
  layers_to_transform: [0, 1]
data:
  train_file: train.csv
  template: "Q: {question}\\nA:<learn> {answer}"
  packing: auto
  completion_only_loss: false
training:
  max_tokens_per_batch: 4096
  bf16: auto
evaluation:
  metrics: [perplexity, bits_per_byte]
""",
    """\
task: seq2seq
model:
  name_or_path: builtin:tiny-t5
method:
  type: prefix_tuning
  num_virtual_tokens: 8
data:
  train_file: train.csv
  source_column: question
  target_column: answer
  references_column: right
  source_prefix: "answer: "
  max_target_length: 32
training:
  metric_for_best_model: chrf
  max_tokens_per_batch: 2048
evaluation:
  metrics: [loss, exact_match, rougeL]
  score_base: false
generation:
  max_new_tokens: 40
  num_beams: 4
  do_sample: true
  temperature: 0.7
  top_k: 40
  top_p: 0.9
  min_p: 0.05
  typical_p: 0.95
  repetition_penalty: 1.1
  no_repeat_ngram_size: 3
  length_penalty: 0.8
  early_stopping: true
""",
    """\
task: seq2seq
model: {name_or_path: "builtin:tiny-bart"}
method:
  type: prompt_tuning
  prompt_tuning_init: text
  prompt_tuning_init_text: Tell what it is about.
data:
  train_file: train.csv
  labels_as_text: true
  text_column: text
  text_pair_column: other
  label_column: label
training: {lr_scheduler_type: linear}
evaluation:
  metrics: [accuracy, f1, generated_accuracy, no_label]
  positive_label: yes
""",
)


@dataclass(frozen=True)
class Broken:
    """A broken recipe.

    Attributes:
        text: the recipe (bytes: it may not even be text).
        kind: how it was broken.
        line: line of the break, from 1; 0 where no single line is to blame.
        key: the key that was broken, as it was before.
        typo: what the key became, for a typo.
    """

    text: bytes
    kind: str
    line: int = 0
    key: str = ""
    typo: str = ""


def broken_recipe(seed: int) -> Broken:
    """One broken recipe; half of them have a one-edit typo in a key."""
    random_ = random.Random(seed)
    kind = random_.choices(
        ("typo", "wrong_type", "moved", "duplicated", "junk", "bytes", "cut", "swapped"), (50, 15, 8, 8, 8, 5, 3, 3)
    )[0]
    lines = random_.choice(VALID).splitlines()
    return _BREAKS[kind](lines, random_)


def _key_lines(lines: list[str]) -> list[tuple[int, str]]:
    """(index, key) of the lines that hold a schema key in block style."""
    found = []
    for index, line in enumerate(lines):
        key = line.strip().partition(":")[0]
        free = key in ("adam_beta2", "- evaluate")
        if ":" in line and not line.startswith("#") and key.replace("_", "").isalnum() and not free:
            found.append((index, key))
    return found


def one_edit(word: str, random_: random.Random) -> str:
    """The word with one letter dropped, doubled, replaced, inserted, or two neighbours swapped."""
    place = random_.randrange(len(word))
    letter = random_.choice(string.ascii_lowercase + "_")
    edits = [
        word[:place] + word[place + 1 :],
        word[:place] + word[place] + word[place:],
        word[:place] + letter + word[place + 1 :],
        word[:place] + letter + word[place:],
        word[:place] + word[place + 1 : place + 2] + word[place : place + 1] + word[place + 2 :],
    ]
    edited = random_.choice(edits)
    return edited if edited and edited != word else one_edit(word, random_)


def _typo(lines: list[str], random_: random.Random) -> Broken:
    index, key = random_.choice(_key_lines(lines))
    while (typo := one_edit(key, random_)) in {known for _, known in _key_lines(lines)}:
        pass
    lines[index] = lines[index].replace(key, typo, 1)
    return Broken(_join(lines), "typo", index + 1, key, typo)


JUNK_VALUES = (
    "[1, [2, {a: b}]]", "{a: {b: c}}", "null", "true", "maybe", "-1", "1e400", ".nan", "'2e-5'", "0x1G", "2024-01-01",
    "!!python/name:os.system", "&a x", "*a", "[]", "{}", "''", "1_000", "~", "-0.0", "9" * 500, '"\\0"', '"\\ud800"',
    "|\n    text", "None", "1,5", "10%", "@x", "`x`", "%x", "? x", "- x", ": x", "yes", "0o9", "💥",
)  # fmt: skip


def _wrong_type(lines: list[str], random_: random.Random) -> Broken:
    index, key = random_.choice(_key_lines(lines))
    head = lines[index].partition(":")[0]
    lines[index] = f"{head}: {random_.choice(JUNK_VALUES)}"
    return Broken(_join(lines), "wrong_type", index + 1, key)


def _moved(lines: list[str], random_: random.Random) -> Broken:
    """A key out of its section, to the top level or below another."""
    inner = [(index, key) for index, key in _key_lines(lines) if lines[index].startswith("  ")]
    index, key = random_.choice(inner)
    line = lines.pop(index)
    heads = [i for i, other in enumerate(lines) if other.endswith(":") and not other.startswith(" ")]
    target = random_.choice(heads)
    lines.insert(*random_.choice([(target + 1, line), (len(lines), line.strip())]))
    return Broken(_join(lines), "moved", 0, key)


def _duplicated(lines: list[str], random_: random.Random) -> Broken:
    index, key = random_.choice(_key_lines(lines))
    lines.insert(index + random_.choice((0, 1)), lines[index])
    return Broken(_join(lines), "duplicated", 0, key)


def _junk(lines: list[str], random_: random.Random) -> Broken:
    depth = random_.choice((3, 17, 200, 5000))
    deep = random_.choice(("[" * depth, "{a: " * depth, "[" * depth + "]" * depth, "- " * depth + "x"))
    wide = "[" + ", ".join(["1"] * 30000) + "]"
    aliases = "[" + ", ".join(["*a"] * 9) + "]"
    index = random_.randrange(len(lines) + 1)
    junk = random_.choice((f"x: {deep}", f"  x: {wide}", f"a: &a {aliases}", "---", "...", "\t", "%YAML 1.1", "<<: {}"))
    lines.insert(index, junk)
    return Broken(_join(lines), "junk")


def _bytes(lines: list[str], random_: random.Random) -> Broken:
    data = bytearray(_join(lines))
    for _ in range(random_.randrange(1, 6)):
        data[random_.randrange(len(data))] = random_.randrange(256)
    return Broken(bytes(data) if random_.random() < 0.8 else random_.randbytes(300), "bytes")


def _cut(lines: list[str], random_: random.Random) -> Broken:
    data = _join(lines)
    return Broken(data[: random_.randrange(len(data))], "cut")


def _swapped(lines: list[str], random_: random.Random) -> Broken:
    first, second = random_.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    return Broken(_join(lines), "swapped")


def _join(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("utf-8")


_BREAKS = {
    "typo": _typo,
    "wrong_type": _wrong_type,
    "moved": _moved,
    "duplicated": _duplicated,
    "junk": _junk,
    "bytes": _bytes,
    "cut": _cut,
    "swapped": _swapped,
}
