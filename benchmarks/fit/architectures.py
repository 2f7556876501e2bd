"""Shapes and tokenizers of the bases: a Llama, a BERT and a T5, each with a byte-level vocabulary of local text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VOCABULARY = 1_200
POSITION_DEVIATION = 3.0
"""Of the initial position biases of the T5."""
SPECIALS = {
    "causal_lm": ["<|begin|>", "<|end|>"],
    "classification": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "seq2seq": ["<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(12))],
}
NAMES: dict[str, dict[str, str]] = {
    "causal_lm": {"bos_token": "<|begin|>", "eos_token": "<|end|>"},
    "classification": {
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    },
    "seq2seq": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}  # fmt: skip
TEMPLATES = {
    "causal_lm": "<|begin|> $A",
    "classification": "[CLS] $A [SEP]",
    "seq2seq": "$A </s>",
}


def make_tokenizer(task: str, texts: Sequence[str]) -> Any:
    """A byte-level BPE of 1,200 tokens with the special tokens of a task's family, learnt from the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    specials = SPECIALS[task]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    template = TEMPLATES[task]
    ids = [(word, tokenizer.token_to_id(word)) for word in template.split() if word != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=ids)
    holes = {"extra_special_tokens": specials[3:]} if task == "seq2seq" else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **NAMES[task], **holes)


def make_model(task: str, tokenizer: Any) -> Any:
    """An untrained model of a task's family; weights come from torch's global generator."""
    import transformers

    size = len(tokenizer)
    if task == "causal_lm":
        llama = transformers.LlamaConfig(
            vocab_size=size, hidden_size=96, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=256, tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, dtype="float32",
        )  # fmt: skip
        return transformers.LlamaForCausalLM(llama)
    if task == "classification":
        bert = transformers.BertConfig(
            vocab_size=size, hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=128, pad_token_id=tokenizer.pad_token_id, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, dtype="float32",
        )  # fmt: skip
        return transformers.BertForMaskedLM(bert)
    t5 = transformers.T5Config(
        vocab_size=size, d_model=96, d_kv=24, d_ff=192, num_layers=2, num_heads=4, dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id, dtype="float32",
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(t5)
    for name, weights in model.named_parameters():
        if name.endswith("relative_attention_bias.weight"):
            # T5's own start near nought and take thousands of steps to tell a word's neighbours apart
            weights.data.normal_(std=POSITION_DEVIATION)
    return model
