"""Which tiny checkpoint stands for a model: told from its configuration, or from its name where there is none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftkit.errors import UserError
from ftkit.models.builtin.builtin import BUILTIN_MODELS, PREFIX, TINY_MODELS
from ftkit.models.builtin.gguf import architecture_of
from ftkit.storage import read_json_object

FAMILIES = tuple(TINY_MODELS)
"""Every family with a tiny checkpoint: encoders, then decoders, then encoder-decoders."""


def family_of(name_or_path: str, *, gguf_file: str | None = None) -> str | None:
    """The family whose tiny checkpoint stands for a model.

    Asked in this order: the configuration in the folder, the configuration in the hub's cache on this machine, the
    name. Nothing is downloaded. A folder or hub id of an adapter stands for its base model; the first bytes of a GGUF
    file in the folder name its architecture.

    Returns:
        One of `FAMILIES`, or None when the model is not of any.

    Example:
        >>> family_of("HuggingFaceTB/SmolLM2-135M"), family_of("google/vit-base-patch16-224")
        ('llama', None)
    """
    if name_or_path.startswith(PREFIX):
        model = BUILTIN_MODELS.get(name_or_path.removeprefix(PREFIX))
        return model.family if model else None
    for folder in config_folders(name_or_path):
        if gguf_file is not None:
            architecture = architecture_of(folder / gguf_file)
            return family_of_config({"model_type": architecture}) if architecture else family_of_name(gguf_file)
        config = read_object(folder / "config.json")
        if config:
            return family_of_config(config)
        base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
        if isinstance(base, str) and base != name_or_path:
            return family_of(base)
    return family_of_name(name_or_path) or (family_of_name(gguf_file) if gguf_file else None)


def config_folders(name_or_path: str) -> Iterator[Path]:
    """Folders on this machine that may hold the configuration: the folder itself, or the hub cache's snapshots."""
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        yield path
        return
    repository = hub_cache() / ("models--" + name_or_path.strip("/").replace("/", "--"))
    try:
        yield repository / "snapshots" / (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return


def hub_cache() -> Path:
    """Where huggingface_hub keeps its files, by the environment variables that it documents."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file, empty when there is none to be read."""
    try:
        return read_json_object(path)
    except UserError:
        return {}


def family_of_config(config: dict[str, Any]) -> str | None:
    """The family of a `config.json`: by its `model_type`, else by what kind of head its class has.

    An unlisted decoder is taken for a llama and an unlisted masked-language model for a bert: the smoke test then runs
    the same task with another body.
    """
    model_type = str(config.get("model_type", "")).lower()
    for family, types in MODEL_TYPES.items():
        if model_type in types.split():
            return family
    classes = [str(name) for name in config.get("architectures") or ()]
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in classes):
        return "llama"
    if any(name.endswith("ForMaskedLM") for name in classes):
        return "bert"
    return None


def family_of_name(name: str) -> str | None:
    """The family of a model known only by its name: the first pattern found in the part behind the owner."""
    base = name.rstrip("/").rsplit("/", 1)[-1].lower()
    for pattern, family in NAME_PATTERNS:
        if re.search(pattern, base):
            return family
    return None


# family -> every `model_type` of transformers that its tiny checkpoint stands for
MODEL_TYPES = {
    "bert": "bert mobilebert convbert squeezebert megatron-bert big_bird ernie nomic_bert funnel roc_bert xlnet "
    "rembert roformer splinter bert-generation canine fnet mra nystromformer yoso",
    "roberta": "roberta xlm-roberta xlm-roberta-xl camembert mpnet longformer roberta-prelayernorm data2vec-text ibert "
    "luke xmod esm esmc gte jina_embeddings_v3 xlm flaubert",
    "distilbert": "distilbert",
    "albert": "albert",
    "modernbert": "modernbert eurobert",
    "electra": "electra",
    "deberta-v2": "deberta deberta-v2",
    "gpt2": "gpt2 gpt_neo gpt_neox gptj gpt_bigcode opt bloom codegen phi openai-gpt xglm biogpt ctrl gpt-sw3 mpt "
    "falcon starcoder2 gpt_neox_japanese stablelm",
    "olmo2": "olmo olmo2 olmo3 olmoe olmo_hybrid flex_olmo",
    "llama": "llama mistral mixtral ministral ministral3 granite granitemoe cohere cohere2 phi3 phimoe nemotron "
    "deepseek_v2 deepseek_v3 glm glm4 glm4_moe helium arcee apertus ernie4_5 exaone4 hunyuan_v1_dense lfm2 "
    "seed_oss persimmon jais2 bitnet diffllama doge dots1 vaultgemma minimax modernbert-decoder gpt_oss llama4_text",
    "gemma3": "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text gemma4 gemma4_text recurrent_gemma",
    "qwen3": "qwen2 qwen3 qwen2_moe qwen3_moe qwen3_next qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text",
    "smollm3": "smollm3",
    "t5": "t5 mt5 umt5 longt5 switch_transformers t5gemma",
    "bart": "bart mbart pegasus pegasus_x bigbird_pegasus marian m2m_100 nllb-moe led blenderbot "
    "blenderbot-small fsmt plbart mvp prophetnet encoder-decoder",
}

# Looked for in the lower-cased name behind the owner, first match wins: the special before the general.
NAME_PATTERNS: tuple[tuple[str, str | None], ...] = (
    (r"(^|-)vi?t(mae)?-|clip|whisper|wav2vec|hubert|resnet|diffusion|detr\b|blip|vision|-vl\b|audio|speech", None),
    (r"deberta", "deberta-v2"),
    (r"distilroberta|roberta|xlm-r\b|camembert|mpnet|longformer|codebert|bertweet|phobert|bge-m3", "roberta"),
    (r"multilingual-e5-(base|large)|esm2|legal-?roberta|splade-roberta", "roberta"),
    (r"modernbert|eurobert|ettin-encoder|gte-.*modern", "modernbert"),
    (r"distil-?(m?bert|usebert)", "distilbert"),
    (r"albert", "albert"),
    (r"electra", "electra"),
    (r"pegasus|marian|opus-mt|nllb|m2m100|blenderbot|(^|-)led-|bart(?!ender)", "bart"),
    (r"(^|[-_])(m|u|by|flan-|long)?-?t5|^t0|code-?t5|t5gemma", "t5"),
    (r"deepseek-r1-distill-qwen|qwen|qwq", "qwen3"),
    (r"smollm-?3", "smollm3"),
    (r"gemma", "gemma3"),
    (r"olmo", "olmo2"),
    (r"smollm|llama|mistral|mixtral|ministral|vicuna|alpaca|zephyr|granite|phi-[34]|stories\d+[km]|falcon3", "llama"),
    (r"deepseek|command-r|\byi-\d|gpt-oss|hermes", "llama"),
    (r"gpt|opt-\d|bloom|pythia|phi-|falcon|starcoder|codegen|galactica|cerebras", "gpt2"),
    (r"bert|minilm|bge-|(^|-)e5-|gte-|(^|-)uae-|arctic-embed|mxbai-embed|nomic-embed|paraphrase-|ernie", "bert"),
)
