from pathlib import Path

import pytest

from ftkit.models.builtin.builtin import BUILTIN_MODELS, TINY_MODELS, resolve

ENCODERS = ("bert", "roberta", "distilbert", "albert", "modernbert", "electra", "deberta-v2")
DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
ENCODER_DECODERS = ("t5", "bart")
TEXTS = ["The movie was great, I loved it!", "a terrible waste of time and money"]

# What classification has to make anew on a real checkpoint of the family, hence on its stand-in.
NEW_FOR_CLASSIFICATION = {
    "bert": {"classifier"},
    "roberta": {"classifier.dense", "classifier.out_proj"},
    "distilbert": {"pre_classifier", "classifier"},
    "albert": {"classifier"},
    "modernbert": {"classifier"},
    "electra": {"classifier.dense", "classifier.out_proj"},
    "deberta-v2": {"pooler.dense", "classifier"},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of this file's own, filled as its tests ask for checkpoints."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTKIT_CACHE", str(folder))
        yield folder


def tiny(family):
    folder = resolve(f"builtin:tiny-{family}")
    assert isinstance(folder, Path)
    return folder


@pytest.mark.parametrize("family", TINY_MODELS)
def test_a_folder_is_small_and_of_the_size_that_is_listed(cache, family):
    files = list(tiny(family).iterdir())
    size = sum(path.stat().st_size for path in files)
    assert size <= 500_000
    assert size == pytest.approx(BUILTIN_MODELS[f"tiny-{family}"].num_bytes, rel=0.05)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {p.name for p in files}


@pytest.mark.parametrize("family", TINY_MODELS)
def test_nothing_in_a_folder_tells_where_it_was_made(cache, family):
    for path in tiny(family).iterdir():
        assert str(cache).encode() not in path.read_bytes()


def test_building_leaves_the_random_state_and_the_progress_bars_of_the_caller_alone(tmp_path, monkeypatch, capfd):
    import torch
    import transformers

    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    tiny("bert")
    assert torch.equal(torch.get_rng_state(), before)
    assert transformers.utils.logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", ENCODERS)
def test_a_tiny_encoder_lacks_for_classification_what_the_real_one_lacks(cache, family):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny(family))
    model, report = AutoModelForSequenceClassification.from_pretrained(tiny(family), output_loading_info=True)
    assert {key.rsplit(".", 1)[0] for key in report["missing_keys"]} == NEW_FOR_CLASSIFICATION[family]
    assert not report["mismatched_keys"]
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        features = model.eval().base_model(**batch).last_hidden_state[:, 0]
        assert model(**batch).logits.isfinite().all()
    # The first token, which most heads read, differs visibly from text to text.
    assert (features[0] - features[1]).abs().mean() > 0.1


@pytest.mark.parametrize("family", [family for family in ENCODERS if family != "electra"])
def test_a_tiny_encoder_brings_its_whole_masked_language_model(cache, family):
    from transformers import AutoModelForMaskedLM

    model, report = AutoModelForMaskedLM.from_pretrained(tiny(family), output_loading_info=True)
    assert not report["missing_keys"]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("family", DECODERS)
def test_a_tiny_decoder_loads_whole_and_generates(cache, family):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny(family))
    model, report = AutoModelForCausalLM.from_pretrained(tiny(family), output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (family != "olmo2")
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert (tokenizer.pad_token is None) == (family in {"gpt2", "llama"})
    ids = tokenizer(TEXTS[0], return_tensors="pt").input_ids
    assert (ids[0, 0] == tokenizer.bos_token_id) == (family in {"llama", "gemma3"})
    with torch.inference_mode():
        made = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    assert made.shape[1] > ids.shape[1]


@pytest.mark.parametrize("family", ENCODER_DECODERS)
def test_a_tiny_encoder_decoder_loads_whole_and_generates(cache, family):
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny(family))
    model, report = AutoModelForSeq2SeqLM.from_pretrained(tiny(family), output_loading_info=True)
    assert not report["missing_keys"]
    batch = tokenizer(TEXTS, text_target=TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert model(**batch).loss.isfinite()
        assert model.generate(batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=4).shape[0] == 2


@pytest.mark.parametrize("family", TINY_MODELS)
def test_a_tokenizer_takes_any_text_and_cuts_it_at_what_the_model_takes(cache, family):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny(family))
    for text in [
        "",
        " ",
        "\x00\x01",
        "日本語 😀👩‍👩‍👧 Ünïcödé",
        "\u202e\ufeff\U0010ffff",
        "I'd say: [MASK] </s> <|x|>",
    ]:
        assert all(0 <= i < len(tokenizer) for i in tokenizer(text).input_ids)
    english = tokenizer(TEXTS[0], add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in english
    assert tokenizer.decode(english).lower().split() == TEXTS[0].lower().split()
    long = tokenizer("word " * 5000, truncation=True, return_tensors="pt")
    assert long.input_ids.shape[1] == tokenizer.model_max_length
    model = AutoModel.from_pretrained(tiny(family)).eval()
    if family in ENCODER_DECODERS:
        model = model.get_encoder()
    with torch.inference_mode():
        assert model(**long).last_hidden_state.isfinite().all()


def test_a_linear_head_learns_from_the_random_features(cache):
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    good, bad = ["great", "love", "best", "funny"], ["bad", "worst", "boring", "awful"]
    filler = ["the", "film", "was", "a", "story", "about", "people", "and", "their", "life", "in", "that", "city"]
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 800)
    texts = [
        " ".join([*random.choice(filler, 6), random.choice(good if label else bad), *random.choice(filler, 2)])
        for label in labels
    ]
    for family in ENCODERS:
        tokenizer, model = AutoTokenizer.from_pretrained(tiny(family)), AutoModel.from_pretrained(tiny(family)).eval()
        with torch.inference_mode():
            features = model(**tokenizer(texts, padding=True, return_tensors="pt")).last_hidden_state[:, 0].numpy()
        design = np.c_[features, np.ones(len(features))]
        weights = np.linalg.lstsq(design[:400], 2.0 * labels[:400] - 1, rcond=None)[0]
        accuracy = np.mean((design[400:] @ weights > 0) == labels[400:])
        assert accuracy > 0.6, family
