import json
import os
import subprocess
import sys

import pytest

from ftkit.models.families import FAMILIES, MODEL_TYPES, family_of

NAMES = {
    "google-bert/bert-base-uncased": "bert",
    "sentence-transformers/all-MiniLM-L6-v2": "bert",
    "BAAI/bge-small-en": "bert",
    "BAAI/bge-small-en-v1.5": "bert",
    "intfloat/e5-small": "bert",
    "thenlper/gte-base": "bert",
    "dslim/bert-base-NER": "bert",
    "prajjwal1/bert-tiny": "bert",
    "FacebookAI/roberta-base": "roberta",
    "FacebookAI/xlm-roberta-base": "roberta",
    "distilbert/distilroberta-base": "roberta",
    "distilroberta": "roberta",
    "sentence-transformers/all-mpnet-base-v2": "roberta",
    "almanach/camembert-base": "roberta",
    "distilbert/distilbert-base-uncased": "distilbert",
    "albert/albert-base-v2": "albert",
    "answerdotai/ModernBERT-base": "modernbert",
    "google/electra-small-discriminator": "electra",
    "microsoft/deberta-v3-small": "deberta-v2",
    "microsoft/deberta-base": "deberta-v2",
    "openai-community/gpt2": "gpt2",
    "distilbert/distilgpt2": "gpt2",
    "EleutherAI/pythia-70m": "gpt2",
    "facebook/opt-125m": "gpt2",
    "allenai/OLMo-2-0425-1B": "olmo2",
    "HuggingFaceTB/SmolLM2-135M": "llama",
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "meta-llama/Llama-3.2-1B": "llama",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "llama",
    "mistralai/Mistral-7B-v0.3": "llama",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "qwen3",
    "Qwen/Qwen2.5-0.5B": "qwen3",
    "Qwen/Qwen3-0.6B": "qwen3",
    "google/gemma-3-270m": "gemma3",
    "google/flan-t5-small": "t5",
    "google-t5/t5-small": "t5",
    "google/mt5-small": "t5",
    "Salesforce/codet5-small": "t5",
    "facebook/bart-base": "bart",
    "facebook/mbart-large-50": "bart",
    "Helsinki-NLP/opus-mt-en-de": "bart",
    "google/pegasus-xsum": "bart",
    "builtin:minilm": "bert",
    "builtin:tiny-deberta-v2": "deberta-v2",
}


@pytest.fixture(autouse=True)
def no_hub_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize(("name", "family"), NAMES.items())
def test_a_well_known_name_tells_its_family(name, family):
    assert family_of(name) == family


@pytest.mark.parametrize(
    "name",
    [
        "google/vit-base-patch16-224",
        "openai/whisper-tiny",
        "openai/clip-vit-base-patch32",
        "me/my-model",
        "",
        "builtin:nothing",
    ],
)
def test_a_name_of_no_text_family_is_unknown(name):
    assert family_of(name) is None


def test_the_configuration_of_a_folder_counts_more_than_its_name(tmp_path):
    folder = tmp_path / "my-roberta"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert family_of(str(folder)) == "qwen3"


def test_an_unlisted_decoder_is_taken_for_a_llama_and_a_vision_model_for_nothing(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "brand_new", "architectures": ["BrandNewForCausalLM"]}))
    assert family_of(str(tmp_path)) == "llama"
    config.write_text(json.dumps({"model_type": "brand_new", "architectures": ["BrandNewForMaskedLM"]}))
    assert family_of(str(tmp_path)) == "bert"
    config.write_text(json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]}))
    assert family_of(str(tmp_path)) is None


def test_an_adapter_stands_for_its_base_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "google/flan-t5-small"}))
    assert family_of(str(tmp_path)) == "t5"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"model_type": 3, "architectures": null}', "\x00"])
def test_a_broken_configuration_is_no_crash(tmp_path, content):
    folder = tmp_path / "thing"
    folder.mkdir()
    (folder / "config.json").write_text(content)
    assert family_of(str(folder)) is None


def test_the_hub_cache_tells_what_a_name_does_not(tmp_path):
    repository = tmp_path / "hub" / "models--someone--secret-sauce"
    snapshot = repository / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    (snapshot / "config.json").write_text(json.dumps({"model_type": "deberta"}))
    assert family_of("someone/secret-sauce") == "deberta-v2"


def test_every_model_type_is_one_of_transformers_and_stands_in_one_family():
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    listed = [name for types in MODEL_TYPES.values() for name in types.split()]
    assert len(listed) == len(set(listed)) > 100
    assert set(listed) <= set(CONFIG_MAPPING_NAMES)
    assert set(MODEL_TYPES) == set(FAMILIES)


def test_telling_a_family_imports_no_torch_and_no_transformers():
    code = (
        "import sys; from ftkit.models.families import family_of; family_of('google/flan-t5-small'); "
        "from ftkit.models.builtin.builtin import describe_builtin_models; describe_builtin_models(); "
        "assert not {'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
