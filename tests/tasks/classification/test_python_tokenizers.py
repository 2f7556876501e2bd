"""Tokenizers without a fast form are trained with; a folder without words is refused before anything is trained."""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.commands.check import check_data
from ftkit.commands.predict import predict
from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.tasks.table import read_recipe
from ftkit.training.outcome import TrainResult
from tests.fixtures.tiers import slow

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def japanese(folder: Path) -> None:
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_letters, *string.digits, "(", ")"]
    (folder / "vocab.txt").write_text("\n".join(words))
    options = {"word_tokenizer_type": "basic", "subword_tokenizer_type": "character"}
    transformers.BertJapaneseTokenizer(str(folder / "vocab.txt"), **options).save_pretrained(folder)
    transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=len(words), **SIZES)).save_pretrained(folder)


def canine(folder: Path) -> None:
    import transformers

    transformers.CanineTokenizer(model_max_length=64).save_pretrained(folder)
    config = transformers.CanineConfig(**SIZES, num_hash_buckets=64, local_transformer_stride=16)
    transformers.CanineModel(config).save_pretrained(folder)


def phobert(folder: Path) -> None:
    import transformers

    pieces = [*string.ascii_lowercase, *(f"{letter}@@" for letter in string.ascii_lowercase), "th@@"]
    (folder / "vocab.txt").write_text("\n".join(f"{piece} 10" for piece in pieces))
    (folder / "bpe.codes").write_text("#version: 0.2\nt h 10\n")
    tokenizer = transformers.PhobertTokenizer(str(folder / "vocab.txt"), str(folder / "bpe.codes"))
    tokenizer.save_pretrained(folder)
    config = transformers.RobertaConfig(vocab_size=len(tokenizer), **SIZES, pad_token_id=1, bos_token_id=0)
    transformers.RobertaForMaskedLM(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (japanese, "frozen"),
        slow(japanese, "full"),
        slow(canine, "full"),
        slow(phobert, "lora"),
        slow(phobert, "frozen"),
    ],
)
def test_one_without_a_fast_form_is_trained_with_and_labels_as_it_was_measured(
    make: Callable[[Path], None], method: str, classifier_recipe: Callable[..., TrainResult], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    make(tmp_path / "model")
    result = classifier_recipe(
        tmp_path,
        "run",
        model__name_or_path=tmp_path / "model",
        method__type=method,
        data__max_length=24,
        training__num_train_epochs=1,
    )
    lines = result.run.predictions_file("validation").read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    found = list(predict(result.run.path, [row["text"] for row in rows], use_cpu=True))
    assert [row["label"] for row in found] == [row["label"] for row in rows]


def test_a_folder_without_a_tokenizer_is_refused_by_check_and_before_training(
    classifier_recipe: Callable[..., TrainResult], rows: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(resolve("builtin:tiny-bert"), tmp_path / "model")
    for file in folder.glob("*"):
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    with pytest.raises(UserError, match="has no vocabulary"):
        classifier_recipe(tmp_path, "run", model__name_or_path=folder, method__type="full")
    with pytest.raises(UserError, match="has no vocabulary"):
        check_data(read_recipe(tmp_path / "run.yaml", [f"model.name_or_path={folder}"]))


def test_a_model_of_sound_is_refused_by_check_in_one_sentence(rows: tuple[Path, Path], tmp_path: Path) -> None:
    import transformers

    config = transformers.HubertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,),
        conv_stride=(2,),
        conv_kernel=(2,),
        num_feat_extract_layers=1,
    )
    transformers.HubertModel(config).save_pretrained(tmp_path / "hubert")
    (tmp_path / "c.yaml").write_text(
        f"task: classification\nmodel: {{name_or_path: {tmp_path / 'hubert'}}}\nmethod: {{type: full}}\n"
        f"data: {{train_file: {rows[0]}}}\n"
    )
    with pytest.raises(UserError, match="the model_type of this one is hubert"):
        check_data(read_recipe(tmp_path / "c.yaml"))
