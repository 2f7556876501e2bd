"""What each tiny checkpoint is made of: configuration, class and tokenizer, family by family.

Each mimics what a checkpoint of its family on the hub holds and lacks (a pooler, a language-model head, tied weights,
a pad token), because that decides which weights are new when a task's head is put on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.models.builtin import tiny_tokenizers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenizerRecipe = Callable[..., "PreTrainedTokenizerBase"]


@dataclass(frozen=True)
class TinyRecipe:
    """How to make the tiny checkpoint of a family.

    Attributes:
        model_class: name of the class of transformers whose weights are saved.
        tokenizer: makes the tokenizer, given `max_length`.
        max_length: tokens that the model takes, which is also the tokenizer's `model_max_length`.
        settings: of the configuration; the vocabulary and the special tokens come from the tokenizer.
        with_pooler: attribute of the base model that gets the pooler which the class itself leaves out.
    """

    model_class: str
    tokenizer: TokenizerRecipe
    max_length: int
    settings: dict[str, Any]
    with_pooler: str = ""


SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DECODER = SIZE | {"num_key_value_heads": 2, "max_position_embeddings": 2048}

TINY_RECIPES = {
    # bert-base-uncased: saved with both pretraining heads, and with the pooler that next-sentence prediction trained.
    "bert": TinyRecipe("BertForPreTraining", tiny_tokenizers.wordpiece, 512, SIZE | {"max_position_embeddings": 512}),
    # roberta-base, distilroberta-base: the masked-language model; the classification head is wholly new.
    # Positions start behind the padding id, hence two more than tokens.
    "roberta": TinyRecipe(
        "RobertaForMaskedLM",
        tiny_tokenizers.roberta_bpe,
        512,
        SIZE | {"max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    # distilbert-base-uncased: the masked-language model; no pooler, but classification adds a pre_classifier.
    "distilbert": TinyRecipe(
        "DistilBertForMaskedLM",
        tiny_tokenizers.wordpiece,
        512,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 512},
    ),
    # albert-base-v2: the masked-language model and a trained pooler, without the sentence-order head.
    # One layer, run twice; embeddings narrower than the hidden size.
    "albert": TinyRecipe(
        "AlbertForMaskedLM",
        tiny_tokenizers.albert_unigram,
        512,
        SIZE | {"embedding_size": 24, "max_position_embeddings": 512},
        with_pooler="albert",
    ),
    # answerdotai/ModernBERT-base: the masked-language model; one layer looks everywhere, one at its neighbourhood;
    # a classification head on it reads the mean of the tokens, where the class's own default is the first.
    "modernbert": TinyRecipe(
        "ModernBertForMaskedLM",
        tiny_tokenizers.modernbert_bpe,
        2048,
        SIZE
        | {"local_attention": 32, "classifier_pooling": "mean", "max_position_embeddings": 2048}
        | {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
    ),
    # google/electra-small-discriminator: replaced-token detection; embeddings narrower than the hidden size.
    "electra": TinyRecipe(
        "ElectraForPreTraining",
        tiny_tokenizers.wordpiece,
        512,
        SIZE | {"embedding_size": 24, "max_position_embeddings": 512},
    ),
    # microsoft/deberta-v3-small: no pooler, no absolute positions, position keys shared with the content's.
    "deberta-v2": TinyRecipe(
        "DebertaV2ForMaskedLM",
        tiny_tokenizers.deberta_unigram,
        512,
        SIZE
        | {"max_position_embeddings": 512, "type_vocab_size": 0, "position_biased_input": False}
        | {"relative_attention": True, "position_buckets": 32, "norm_rel_ebd": "layer_norm"}
        | {"share_att_key": True, "pos_att_type": "p2c|c2p"},
    ),
    # gpt2: head tied to the embeddings, no pad token.
    "gpt2": TinyRecipe(
        "GPT2LMHeadModel",
        tiny_tokenizers.gpt2_bpe,
        1024,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64, "n_positions": 1024},
    ),
    # allenai/OLMo-2-0425-1B: head of its own.
    "olmo2": TinyRecipe("Olmo2ForCausalLM", tiny_tokenizers.olmo2_bpe, 2048, DECODER | {"tie_word_embeddings": False}),
    # meta-llama/Llama-3.2-1B: tied head, no pad token.
    "llama": TinyRecipe("LlamaForCausalLM", tiny_tokenizers.llama_bpe, 2048, DECODER | {"tie_word_embeddings": True}),
    # google/gemma-3-270m: tied head, one layer with a sliding window and one without.
    "gemma3": TinyRecipe(
        "Gemma3ForCausalLM",
        tiny_tokenizers.gemma_bpe,
        2048,
        DECODER
        | {"head_dim": 8, "query_pre_attn_scalar": 8}
        | {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    # Qwen/Qwen3-0.6B: tied head.
    "qwen3": TinyRecipe(
        "Qwen3ForCausalLM", tiny_tokenizers.qwen3_bpe, 2048, DECODER | {"head_dim": 8, "tie_word_embeddings": True}
    ),
    # HuggingFaceTB/SmolLM3-3B: tied head; one layer without rotary positions (every fourth one there); the model has a
    # begin token that its tokenizer does not know as one.
    "smollm3": TinyRecipe(
        "SmolLM3ForCausalLM", tiny_tokenizers.smollm3_bpe, 2048, DECODER | {"no_rope_layers": [1, 0], "bos_token_id": 0}
    ),
    # google-t5/t5-small: head tied to the embeddings, its inputs scaled; decoding starts with the pad token.
    "t5": TinyRecipe(
        "T5ForConditionalGeneration",
        tiny_tokenizers.t5_unigram,
        512,
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    ),
    # facebook/bart-base: head tied to the embeddings; decoding starts with </s>.
    "bart": TinyRecipe(
        "BartForConditionalGeneration",
        tiny_tokenizers.roberta_bpe,
        512,
        {"d_model": 32, "max_position_embeddings": 512, "decoder_start_token_id": 2, "forced_bos_token_id": 0}
        | {"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
        | {"decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64},
    ),
}
