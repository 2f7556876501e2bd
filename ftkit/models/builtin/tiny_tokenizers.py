"""Tokenizers of the tiny checkpoints: each of its family's real kind and special tokens, over one fixed vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftkit.models.builtin.tiny_vocabulary import (
    learn_byte_merges,
    learn_character_merges,
    unigram_pieces,
    wordpiece_vocab,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A plain ChatML template, for the families whose instruction-tuned checkpoints bring one.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def special_token(text: str, *, lstrip: bool = False) -> Any:
    """A token that no normaliser touches; `lstrip` swallows the space before it, as masks do in RoBERTa and BART.

    transformers takes it where its signatures say `str`.
    """
    from tokenizers import AddedToken

    return AddedToken(text, lstrip=lstrip, normalized=False, special=True)


def byte_level(
    specials: list[str], *, template: tuple[str, str] | None = None, normalization: str | None = None, **settings: Any
) -> PreTrainedTokenizerBase:
    """A byte-level BPE without a class of its own in transformers, as Llama 3, OLMo 2 and ModernBERT ship it.

    Args:
        specials: special tokens, which get the first ids in this order.
        template: what a text and what a pair of texts become, in the notation of `TemplateProcessing`.
        settings: of the tokenizer (`pad_token`, `model_max_length`, ...).
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    learnt = learn_byte_merges(specials)
    tokenizer = Tokenizer(models.BPE(vocab=learnt.vocab, merges=learnt.merges))
    tokenizer.add_special_tokens([special_token(text, lstrip=text == "[MASK]") for text in specials])
    if normalization == "NFC":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if template is not None:
        ids = [(token, learnt.vocab[token]) for token in specials if token in template[0]]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template[0], pair=template[1], special_tokens=ids
        )
    tokenizer_class: Any = PreTrainedTokenizerFast
    wrapped: PreTrainedTokenizerBase = tokenizer_class(tokenizer_object=tokenizer, **settings)
    return wrapped


def wordpiece(*, max_length: int) -> PreTrainedTokenizerBase:
    """BERT's lower-casing WordPiece: [CLS] text [SEP]; a word with a character it lacks becomes [UNK]."""
    from transformers import BertTokenizer

    return BertTokenizer(vocab=wordpiece_vocab(), model_max_length=max_length)


def albert_unigram(*, max_length: int) -> PreTrainedTokenizerBase:
    """ALBERT's SentencePiece Unigram: lower case, no accents, [CLS] text [SEP], pad 0 and unk 1."""
    from transformers import AlbertTokenizer

    specials = [(token, 0.0) for token in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
    vocab = [*specials, *unigram_pieces(lower_case=True)]
    mask = special_token("[MASK]", lstrip=True)
    return AlbertTokenizer(vocab=vocab, mask_token=mask, model_max_length=max_length)


def deberta_unigram(*, max_length: int) -> PreTrainedTokenizerBase:
    """DeBERTa-v3's cased Unigram: [CLS] text [SEP], pad 0, [UNK] 3, the mask at the end of the vocabulary."""
    from transformers import DebertaV2Tokenizer

    specials = [(token, 0.0) for token in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")]
    vocab = [*specials, *unigram_pieces(lower_case=False), ("[MASK]", 0.0)]
    return DebertaV2Tokenizer(vocab=vocab, unk_id=3, model_max_length=max_length)


def t5_unigram(*, max_length: int) -> PreTrainedTokenizerBase:
    """T5's cased Unigram: text </s>, pad 0, and the hundred sentinels at the end in reverse order."""
    from transformers import T5Tokenizer

    specials = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    sentinels = [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    vocab = [*specials, *unigram_pieces(lower_case=False), *sentinels]
    return T5Tokenizer(vocab=vocab, extra_ids=100, model_max_length=max_length)


def roberta_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """RoBERTa's and BART's byte-level BPE: <s> text </s>, pairs joined by </s></s>, no token types."""
    from transformers import RobertaTokenizer

    learnt = learn_byte_merges(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    mask = special_token("<mask>", lstrip=True)
    return RobertaTokenizer(**learnt._asdict(), mask_token=mask, model_max_length=max_length)


def modernbert_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """ModernBERT's byte-level BPE with BERT's special tokens around it."""
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return byte_level(
        list(names.values()),
        normalization="NFC",
        template=("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0"),
        model_max_length=max_length,
        **{f"{role}_token": token for role, token in names.items()},
    )


def gpt2_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """GPT-2's byte-level BPE: one special token for begin, end and unknown, and no pad token."""
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer(**learn_byte_merges(["<|endoftext|>"])._asdict(), model_max_length=max_length)


def olmo2_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """OLMo 2's byte-level BPE: GPT-2's token for begin, end and unknown, a pad token of its own, nothing added."""
    end = "<|endoftext|>"
    specials = [end, "<|pad|>"]
    return byte_level(
        specials, model_max_length=max_length, bos_token=end, eos_token=end, unk_token=end, pad_token="<|pad|>"
    )


def llama_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """Llama 3's byte-level BPE: a begin token before every text, padding on the left, no pad token."""
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    return byte_level(
        [begin, end],
        template=(f"{begin}:0 $A:0", f"{begin}:0 $A:0 {begin}:1 $B:1"),
        model_max_length=max_length,
        bos_token=begin,
        eos_token=end,
        padding_side="left",
    )


def gemma_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """Gemma's BPE over characters with bytes as fallback: <bos> before every text, padding on the left."""
    from tokenizers import processors
    from transformers import GemmaTokenizer

    turns = ["<start_of_turn>", "<end_of_turn>"]
    learnt = learn_character_merges(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *turns])
    tokenizer = GemmaTokenizer(**learnt._asdict(), extra_special_tokens=turns, model_max_length=max_length)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos>:0 $A:0", pair="<bos>:0 $A:0 <bos>:1 $B:1", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    return tokenizer


def qwen3_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """Qwen3's byte-level BPE: no begin token, <|im_end|> ends a turn, <|endoftext|> pads; ChatML."""
    from transformers import Qwen2Tokenizer

    learnt = learn_byte_merges(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return Qwen2Tokenizer(
        **learnt._asdict(),
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_length,
    )


def smollm3_bpe(*, max_length: int) -> PreTrainedTokenizerBase:
    """SmolLM3's byte-level BPE: Llama's kind, no begin token; <|im_end|> both ends a turn and pads; ChatML."""
    return byte_level(
        ["<|begin_of_text|>", "<|im_start|>", "<|im_end|>"],
        model_max_length=max_length,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        extra_special_tokens=["<|begin_of_text|>", "<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )
