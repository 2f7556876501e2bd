"""A model of the same architecture as another, made small from its configuration alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.copies import copy_files
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import TOKENIZER_FILES

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

WIDTH, INNER, HEAD_WIDTH, HEADS, LAYERS = 32, 64, 8, 4, 2
MOST_POSITIONS, OTHER_VOCABULARIES = 16_384, 1_024

OWN_VOCABULARY = re.compile(r"(^|src_|tgt_|decoder_)vocab_size(_per_layer_input)?$")
OF_LAYERS = re.compile(r"(layers|n_layer|depth|num_blocks)$")
SIZES_BY_NAME: tuple[tuple[str, int], ...] = (
    (r"vocab", OTHER_VOCABULARIES),
    # counted by the text or a picture, not by the model's width
    (r"token|(patch|image|input|chunk|block|kernel|group|crop|pool|codebook|feature)_size|expan|conv_", 0),
    (r"(mamba|ssm)_d_state$|(ssm_)?state_size$|segment_means|landmarks|num_latents$", 16),
    (r"mamba_(n|num)_heads$|n_mamba_heads$", 2 * HEADS),
    (r"heads$|n_head$", HEADS),
    (r"n_groups$", 2),
    (r"qk_head_dim$", 2 * HEAD_WIDTH),
    (r"head_?(dim|size)$|d_head$|d_kv$|kv_channels$|dim_head$|rotary_dim$", HEAD_WIDTH),
    (r"rank$", HEAD_WIDTH),
    (r"experts_per_tok|moe_(topk|top_k|k)$|top_k_experts$", 2),
    (r"(n_group|expert_group|topk_group)$", 1),
    (r"experts$|expert_num$", HEADS),
    (r"ffn|intermediate|d_ff|dff|dim_ff|d_inner|n_inner|hidden_dim|mlp_dim|feed_forward|d_ssm$", INNER),
    (
        r"(hidden|embedding|embed|emb|width|bottleneck)_(size|dim)$|_dim$|n_embd|d_model|_width$|^dim$|hidden_size",
        WIDTH,
    ),
    (r"latents$|proj", WIDTH),
    (r"attention_window$", 16),
    (r"position_embeddings$|n_positions$|n_ctx$|max_seq_len$|rel_extent$", MOST_POSITIONS),
)
"""What a number of a configuration is at most, by the first pattern that is found in its name; 0: as it is."""


def miniature(config: Mapping[str, Any], *, vocab_size: int | None = None) -> dict[str, Any]:
    """The fields of a configuration that is small in all its sizes, and otherwise the same.

    Layers are chosen so that each kind which a list by layer names (sliding, full, linear, sparse, ...) is there once.

    Args:
        config: as in a config.json.
        vocab_size: of the small model, where it has another tokenizer.

    Example:
        >>> miniature({"hidden_size": 4096, "num_hidden_layers": 3, "layer_types": ["full", "full", "linear"]})
        {'hidden_size': 32, 'num_hidden_layers': 2, 'layer_types': ['full', 'linear']}
    """
    kept = _layers_kept(config)
    small = {name: _smaller(name, value, kept, vocab_size) for name, value in config.items()}
    for name, value in config.items():
        # keys and values are shared by as many heads as before, or by half of them
        if re.search(r"(key_value|kv)_heads$|kv_n_heads$", name) and isinstance(value, int):
            small[name] = HEADS if value in (config.get("num_attention_heads"), HEADS) else min(value, HEADS // 2)
    if "expand" in config and "num_heads" in config:
        small["num_heads"] = 2 * HEADS
    if "num_kv_shared_layers" in config:
        small["num_kv_shared_layers"] = 0
    return small


def _smaller(name: str, value: Any, kept: list[int], vocab_size: int | None) -> Any:
    if isinstance(value, Mapping):
        return _smaller_mapping(name, value, kept, vocab_size)
    if isinstance(value, list | tuple) and kept and len(value) > kept[-1]:
        value = [value[index] for index in kept] if _is_by_layer(name, value) else value
        return [_smaller(name, item, [], vocab_size) for item in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if OWN_VOCABULARY.search(name):
        return value if vocab_size is None else vocab_size
    if OF_LAYERS.search(name):
        return min(value, len(kept) or LAYERS)
    most = next((most for pattern, most in SIZES_BY_NAME if re.search(pattern, name)), 0)
    return min(value, most) if most else value


def _smaller_mapping(name: str, value: Mapping[Any, Any], kept: list[int], vocab_size: int | None) -> dict[Any, Any]:
    """A part's configuration made small, settings by the number of a layer renumbered; the rest as it is."""
    if value and all(str(key).isdecimal() for key in value) and isinstance(next(iter(value.values())), Mapping):
        of = {int(key): miniature(settings) for key, settings in value.items()}
        return {str(new): of[old] for new, old in enumerate(kept) if old in of}
    is_part = name.endswith("config") or "model_type" in value
    return miniature(value, vocab_size=vocab_size) if is_part else dict(value)


def _is_by_layer(name: str, value: list[Any] | tuple[Any, ...]) -> bool:
    return len(value) > HEADS or bool(re.search(r"layer|type|pattern|attention_window", name))


def _layers_kept(config: Mapping[str, Any]) -> list[int]:
    """Numbers of layers, at least two, that show every combination of what lists by layer say; none without lists."""
    count = next((value for name, value in config.items() if re.fullmatch(r"n(um)?(_hidden)?_layers?", name)), None)
    if not isinstance(count, int):
        return []
    found: list[Any] = [
        value
        for name, value in config.items()
        if isinstance(value, list | tuple) and len(value) == count and _is_by_layer(name, value)
    ]
    if not found:
        return []
    by_number = [value for value in config.values() if isinstance(value, Mapping) and value]
    numbered = [{int(key) for key in value} for value in by_number if all(str(key).isdecimal() for key in value)]
    seen: dict[str, int] = {}
    for index in range(count):
        kinds = [value[index] for value in found], [index in numbers for numbers in numbered]
        seen.setdefault(str(kinds), index)
    kept = sorted(seen.values())
    more = [index for index in range(count) if index not in kept]
    return sorted([*kept, *more[: max(0, LAYERS - len(kept))]])


def miniature_of(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """A small configuration of the same class, with the special tokens of a tokenizer that knows other ids."""
    small = miniature(config.to_dict(), vocab_size=len(tokenizer))
    return type(config).from_dict(_with_ids(small, tokenizer))


def _with_ids(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "sep", "cls")}
    ids["decoder_start_token_id"] = ids["forced_eos_token_id"] = tokenizer.eos_token_id
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and name.endswith("config"):
            value = _with_ids(value, tokenizer)
        found[name] = ids[name] if name in ids and value is not None else value
    return found


def make_miniature(real: Checkpoint, folder: Path, *, tokenizer: Path | None) -> None:
    """Write a small checkpoint with random weights of the architecture, the settings and the tokenizer of another.

    Any error: it cannot be made small; code of transformers fails in any way on sizes that it was not written for.

    Args:
        real: its configuration is read, and its tokenizer's files; not its weights.
        folder: that does not exist yet.
        tokenizer: folder of the one to take where it has none here.
    """
    import torch
    import transformers

    from ftkit.models.builtin.tiny import fill_weights, no_progress_bar
    from ftkit.models.reading.pretrained import read_config, read_tokenizer

    config = read_config(real, trust_remote_code=False)
    if tokenizer is None:
        small = type(config).from_dict(miniature(config.to_dict()))
    else:
        small = miniature_of(config, read_tokenizer(Checkpoint(str(tokenizer), tokenizer), trust_remote_code=False))
    model_class: Any = getattr(transformers, config.architectures[0])
    # the constructor draws from the global generator; that state is put back, and its weights are replaced
    with torch.random.fork_rng(devices=[]):
        model = model_class(small).float()
    fill_weights(model, name=config.model_type, bound=lambda _name, weight: (3.0 / weight.shape[-1]) ** 0.5)
    with no_progress_bar():
        model.save_pretrained(folder)
    names = (*TOKENIZER_FILES, *(("generation_config.json",) if tokenizer is None else ()))
    copy_files(tokenizer or real.folder, names, folder)
