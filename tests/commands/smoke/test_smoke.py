import json
from pathlib import Path

import pytest

from ftkit.commands.check import check_data
from ftkit.commands.smoke import smoke
from ftkit.commands.smoke.specimen import ROWS_READ
from ftkit.errors import EXIT_OK, EXIT_USER, UserError
from ftkit.models.families import FAMILIES
from ftkit.progress import Silent
from ftkit.tasks.causal_lm import scores as causal_lm_scores
from ftkit.tasks.classification import scores as classification_scores
from ftkit.tasks.seq2seq import scores as seq2seq_scores
from ftkit.tasks.table import read_recipe
from tests.fixtures.architectures import make_checkpoint
from tests.fixtures.tiers import slow

WORDS = {"praise": "splendid charming film", "blame": "dull endless film"}


def write_rows(path: Path, num_rows: int = 40, *, sort: bool = False) -> Path:
    labels = [list(WORDS)[index % 2] for index in range(num_rows)]
    rows = [f"{WORDS[label]} number {index},{label}" for index, label in enumerate(sorted(labels) if sort else labels)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def write_recipe(
    folder: Path, *, model="google-bert/bert-base-uncased", method="type: full", data=None, rest=""
) -> Path:
    if data is None:
        data = f"train_file: {write_rows(folder / 'rows.csv').name}"
    path = folder / "mine.yaml"
    path.write_text(
        f"task: classification\nmodel: {{name_or_path: {model}}}\nmethod: {{{method}}}\ndata: {{{data}}}\n{rest}"
    )
    return path


def tried(path: Path, *overrides: str) -> str:
    return "\n".join(smoke.smoke_test(path, overrides, new_process=False))


@pytest.mark.slow
def test_the_command_exits_0_and_leaves_nothing_behind(tmp_path, forge):
    temporary, place = tmp_path / "tmp", tmp_path / "place"
    temporary.mkdir()
    place.mkdir()
    path = write_recipe(place, method="type: lora", rest="training: {output_dir: out}\n")
    before = sorted(place.iterdir())
    done = forge.run("train", str(path), "--smoke", env={"TMPDIR": str(temporary)}, apart=True)
    assert done.code == EXIT_OK, done.errors()
    assert "read back in a new process" in done.output()
    assert "builtin:tiny-bert in place of google-bert/bert-base-uncased" in done.output()
    assert "2 labels: blame, praise" in done.output()
    assert "not checked:" in done.output()
    assert sorted(place.iterdir()) == before
    assert not (tmp_path / "out").exists()
    assert not any(entry.name.startswith("ftkit-smoke") for entry in temporary.iterdir())


def test_the_command_exits_2_with_the_line_of_a_broken_row(tmp_path, forge):
    rows = write_rows(tmp_path / "rows.csv")
    rows.write_text(rows.read_text() + "only one field\n")
    done = forge.run("train", str(write_recipe(tmp_path, data="train_file: rows.csv")), "--smoke", apart=True)
    assert done.code == EXIT_USER
    assert "rows.csv:42 1 field where the header has 2" in done.errors()
    assert "Traceback" not in done.errors()


def test_a_file_that_does_not_exist_is_the_error_of_the_real_run(tmp_path):
    with pytest.raises(UserError, match=r"mine\.yaml:4:\d+ data\.train_file: no such file"):
        tried(write_recipe(tmp_path, data="train_file: nowhere.csv"))


@pytest.mark.parametrize("pooling", ["auto", "mean", *map(slow, ("cls", "max", "first_token"))])
def test_every_pooling_of_a_frozen_encoder_goes_the_whole_way(tmp_path, pooling):
    said = tried(write_recipe(tmp_path, method=f"type: frozen, pooling: {pooling}"))
    assert "trained: method frozen, 2 steps" in said


def test_auto_follows_the_pooling_files_of_a_real_folder(tmp_path):
    from ftkit.models.builtin.builtin import resolve

    real = tmp_path / "real"
    (real / "1_Pooling").mkdir(parents=True)
    for file in Path(resolve("builtin:tiny-bert")).iterdir():
        (real / file.name).write_bytes(file.read_bytes())
    modules = [{"type": f"sentence_transformers.models.{name}", "path": path} for name, path in
               (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))]  # fmt: skip
    (real / "modules.json").write_text(json.dumps(modules))
    (real / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    reporter = Silent()
    path = write_recipe(tmp_path, model="./real", method="type: frozen")
    lines = smoke.smoke_test(path, reporter=reporter, new_process=False)
    assert any("pooling mean, normalised" in message for message in reporter.messages)
    assert any("real made small, from its own configuration" in line for line in lines)


def test_a_recipe_for_a_gpu_with_a_tracker_and_hub_metrics_passes_and_says_what_it_leaves_out(tmp_path):
    rest = """training:
  class_weights: {praise: 1, blame: 2.5}
  early_stopping_patience: 1
  metric_for_best_model: f1_macro
  eval_strategy: steps
  eval_steps: 500
  warmup_steps: 100
  gradient_accumulation_steps: 8
  fp16: true
  report_to: wandb
  extra: {torch_compile: true, adam_beta2: 0.98}
evaluation: {metrics: [f1, roc_auc, confusion, "evaluate:mcc"], positive_label: praise}
"""
    data = f"train_file: {write_rows(tmp_path / 'rows.csv').name}, label_names: [praise, blame], max_length: 700"
    said = tried(write_recipe(tmp_path, data=data, rest=rest))
    assert "2 labels: praise, blame" in said
    assert "max_length 512 instead of 700" in said
    assert "report_to none instead of wandb" in said
    assert "fp16 false instead of true" in said
    assert "without torch_compile of training.extra" in said
    assert "without evaluate:mcc" in said
    assert "measured: f1, roc_auc, confusion" in said


def test_a_metric_that_lies_on_this_machine_is_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path, rest='evaluation: {metrics: ["evaluate:./nowhere"]}\n')
    with pytest.raises(UserError, match="nowhere: no such metric"):
        tried(path)


def test_an_unknown_field_of_training_arguments_fails(tmp_path):
    with pytest.raises(UserError, match=r"adam_beta3 is no field of TrainingArguments; did you mean adam_beta"):
        tried(write_recipe(tmp_path, rest="training: {extra: {adam_beta3: 1}}\n"))


def test_a_model_of_no_known_family_is_refused_with_the_families_that_are_known(tmp_path):
    with pytest.raises(UserError, match="google/vit-base-patch16-224") as caught:
        tried(write_recipe(tmp_path, model="google/vit-base-patch16-224"))
    assert all(family in str(caught.value) for family in FAMILIES)


def test_a_data_set_that_is_not_on_this_machine_is_made_up_with_the_names_of_the_recipe(tmp_path):
    data = "dataset_name: nobody/nothing, text_column: premise, text_pair_column: hypothesis, label_column: verdict"
    said = tried(write_recipe(tmp_path, data=data, rest="training: {class_weights: {no: 1, yes: 3}}\n"))
    assert "nobody/nothing is not on this machine, so rows were made up for it" in said
    assert "2 labels: no, yes" in said


def test_layers_that_another_architecture_names_are_replaced_and_a_misspelt_one_is_not(tmp_path):
    method = "type: lora, target_modules: [q, v]"
    said = tried(write_recipe(tmp_path, model="sentence-transformers/all-mpnet-base-v2", method=method))
    assert "target_modules all-linear instead of q, v" in said
    with pytest.raises(UserError, match="this model has no qeury; did you mean query"):
        tried(write_recipe(tmp_path, method="type: lora, target_modules: [qeury]"))


def test_of_a_file_of_very_many_rows_sorted_by_label_the_first_are_read_and_both_labels_are_there(tmp_path):
    write_rows(tmp_path / "rows.csv", 3 * ROWS_READ, sort=True)
    said = tried(write_recipe(tmp_path, data="train_file: rows.csv", method="type: frozen"))
    assert f"the first {ROWS_READ:,} rows of it" in said
    assert "2 labels: blame, praise" in said


def test_a_failure_names_the_rows_that_were_looked_at_when_there_are_more(tmp_path):
    write_rows(tmp_path / "rows.csv", ROWS_READ + 10)
    (tmp_path / "validation.csv").write_text("text,label\nnobody knows,unheard\n")
    with pytest.raises(UserError, match=r"validation\.csv:2 .*unheard") as caught:
        tried(write_recipe(tmp_path, data="train_file: rows.csv, validation_file: validation.csv"))
    assert f"only the first {ROWS_READ:,} rows" in str(caught.value)


def test_long_texts_are_cut_for_prediction_where_they_were_cut_in_training(tmp_path):
    rows = [f"{WORDS[label]} {index} {'and so on ' * 60},{label}" for index in range(20) for label in WORDS]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    for method in ("type: frozen", "type: full"):
        path = write_recipe(tmp_path, data="train_file: rows.csv, max_length: 16", method=method)
        assert "get the logits that the trained model gave them" in tried(path)


def test_a_saved_model_that_differs_from_the_trained_one_fails(tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    def damaged(run, *arguments, **options):
        file = run / "model" / "model.safetensors"
        weights = load_file(file)
        weights["classifier.weight"] = weights["classifier.weight"] * 2
        save_file(weights, file, metadata={"format": "pt"})
        return read_back(run, *arguments, **options)

    read_back = classification_scores.read_back
    monkeypatch.setattr(classification_scores, "read_back", damaged)
    with pytest.raises(UserError, match="gives other logits than the trained one"):
        tried(write_recipe(tmp_path))


def test_nothing_of_the_tiny_model_is_stored_in_the_cache(tmp_path, monkeypatch):
    path = write_recipe(tmp_path, method="type: frozen")
    tried(path)
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    tried(path)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["builtin"]


def write_language_recipe(folder: Path, *, model: str, data: str, method: str = "type: lora") -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"task: causal_lm\nmodel: {{name_or_path: {model}}}\nmethod: {{{method}}}\ndata: {{{data}}}\n")
    return path


@pytest.mark.parametrize(
    "data",
    [
        slow("dataset_name: someone/answers, prompt_column: q, completion_column: a"),
        slow("dataset_name: someone/stories, text_column: story"),
        slow("dataset_name: someone/chats, messages_column: turns"),
        "dataset_name: someone/tables, template: '{place} in {year}:<learn> {people}'",
    ],
)
def test_a_hub_data_set_of_a_language_model_is_made_up_in_the_columns_that_the_recipe_names(tmp_path, data):
    said = tried(write_language_recipe(tmp_path, model="Qwen/Qwen3-0.6B", data=data))
    assert "builtin:tiny-qwen3 in place of Qwen/Qwen3-0.6B" in said
    assert "so rows were made up for it" in said
    assert "examples get the losses that were written into the run" in said
    assert "generated: " in said


def test_chats_get_a_plain_template_where_the_stand_in_has_none_and_layers_that_it_has(tmp_path):
    data = "dataset_name: someone/chats, messages_column: turns"
    method = "type: lora, target_modules: [c_attn], layers_to_transform: [11]"
    said = tried(write_language_recipe(tmp_path, model="openai-community/gpt2", data=data, method=method))
    assert "chat_template plain instead of the tokenizer's own" in said
    assert "layers_to_transform [0]" in said


@pytest.mark.slow
def test_a_saved_language_model_that_differs_from_what_was_measured_fails(tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    def damaged(run, *arguments, **options):
        file = run / "model" / "model.safetensors"
        save_file({name: weight * 1.5 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
        return read_back(run, *arguments, **options)

    read_back = causal_lm_scores.read_back
    monkeypatch.setattr(causal_lm_scores, "read_back", damaged)
    data = "dataset_name: someone/stories, text_column: story"
    with pytest.raises(UserError, match="gives other losses than the trained one"):
        tried(write_language_recipe(tmp_path, model="builtin:tiny-llama", data=data, method="type: full"))


def write_pair_recipe(folder: Path, *, model: str, data: str, method: str, rest: str = "") -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"task: seq2seq\nmodel: {{name_or_path: {model}}}\nmethod: {{{method}}}\ndata: {{{data}}}\n{rest}")
    return path


@pytest.mark.parametrize(
    ("model", "method", "data"),
    [
        slow(
            "google/flan-t5-small", "type: prompt_tuning, num_virtual_tokens: 30", "source_column: q, target_column: a"
        ),
        ("facebook/bart-base", "type: prefix_tuning", "template: '{article}<learn>{summary}'"),
        slow("google-t5/t5-small", "type: full", "source_column: en, target_column: de, references_column: more"),
        slow("google-t5/t5-small", "type: lora", "text_column: review, label_column: verdict, labels_as_text: true"),
    ],
)
def test_a_hub_data_set_of_sources_and_targets_is_made_up_and_learnt_by_every_method(tmp_path, model, method, data):
    path = write_pair_recipe(tmp_path, model=model, data=f"dataset_name: someone/pairs, {data}", method=method)
    said = tried(path)
    assert f"in place of {model}" in said
    assert "so rows were made up for it" in said
    assert "examples get the losses that were written into the run" in said
    assert "generated: " in said


def test_a_saved_encoder_decoder_that_differs_from_what_was_measured_fails(tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    def damaged(run, *arguments, **options):
        file = run / "model" / "adapter_model.safetensors"
        save_file({name: weight + 1 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
        return read_back(run, *arguments, **options)

    read_back = seq2seq_scores.read_back
    monkeypatch.setattr(seq2seq_scores, "read_back", damaged)
    data = "dataset_name: someone/pairs, source_column: q, target_column: a"
    with pytest.raises(UserError, match="gives other losses than the trained one"):
        tried(write_pair_recipe(tmp_path, model="google/flan-t5-small", data=data, method="type: prompt_tuning"))


def test_a_model_that_lies_here_is_tried_in_its_own_architecture_with_its_own_tokenizer(tmp_path):
    base = tmp_path / "led"
    assert make_checkpoint("seq2seq", "led", base)
    data = "dataset_name: someone/pairs, source_column: q, target_column: a"
    path = write_pair_recipe(tmp_path, model=str(base), data=data, method="type: lora")
    said = tried(path)
    assert f"model: {base} made small, from its own configuration" in said
    assert "not tried:" not in said


def test_an_architecture_that_cannot_be_made_small_is_said_not_to_be_tried(tmp_path):
    base = tmp_path / "own"
    make_checkpoint("causal_lm", "gpt_neo", base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["OwnForCausalLM"]}))
    data = "dataset_name: someone/stories, text_column: story"
    said = tried(write_language_recipe(tmp_path, model=str(base), data=data))
    assert f"not tried: the architecture of {base} (it cannot be made small: AttributeError: " in said
    assert "which may fail where builtin:tiny-gpt2 does not" in said


def test_a_chat_that_its_template_refuses_is_told_as_check_tells_it(tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [{"messages": [{**turns[0], "content": f"Hi {row}" if row != 7 else "bad"}, turns[1]]} for row in range(20)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "strict.jinja").write_text(
        "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no bad words') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    path = tmp_path / "chats.yaml"
    path.write_text(
        "task: causal_lm\nmodel: {name_or_path: builtin:tiny-qwen3}\nmethod: {type: lora}\n"
        "data: {train_file: chats.jsonl, messages_column: messages, chat_template: strict.jinja}\n"
    )
    with pytest.raises(UserError, match="no bad words") as checked:
        check_data(read_recipe(path))
    with pytest.raises(UserError) as smoked:
        tried(path)
    assert "chats.jsonl:8 " in checked.value.problem
    assert smoked.value.problem == checked.value.problem
