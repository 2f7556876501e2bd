"""`builtin:untrained-t5`: a small T5 with initial weights, for where no trained one is to be had.

Unlike the tiny checkpoints it is large enough to learn something: commands, short descriptions, captions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.models.builtin.tiny import build
from ftkit.models.builtin.tiny_recipes import TinyRecipe
from ftkit.models.builtin.untrained_words import WORD_START, word_pieces

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

MAX_LENGTH = 512
POSITION_DEVIATION = 3.0
"""Standard deviation of the initial position biases.

T5's own start near nought, from where Adafactor's large steps soon move them. AdamW at 1e-3 needs thousands of steps
for it, and until then no head can look at a neighbour: after 2 epochs of `builtin:commands`, 5 % of the outputs are
right where this deviation brings over 40 %.
"""
SPECIALS = ("<pad>", "</s>", "<unk>")


def build_untrained(folder: Path) -> None:
    """Fill the empty folder with the checkpoint, the same bytes on every machine."""
    build(SMALL_T5, folder, name="untrained", bound=initial_bound)


def word_tokenizer(*, max_length: int) -> PreTrainedTokenizerBase:
    """A cased Unigram over words, parts of words, characters and bytes: text </s>, no text without a spelling."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    # far below any spelling from characters, so that a text that reads <0x41> does not become the letter A
    bytes_ = [(f"<0x{byte:02X}>", -99.0) for byte in range(256)]
    vocab = [*((token, 0.0) for token in SPECIALS), *word_pieces(), *bytes_]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(WORD_START, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(list(SPECIALS))
    make: Any = PreTrainedTokenizerFast
    wrapped: PreTrainedTokenizerBase = make(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=max_length,
    )
    return wrapped


def initial_bound(name: str, weight: torch.Tensor) -> float:
    """Bound of uniform numbers of the variance that T5 starts a matrix with.

    Source: the initialisation of Mesh TensorFlow's T5, as in transformers: 1 / fan-in for projections, and for queries
    also divided by their width, since T5 does not scale the products of queries and keys; 1 for the embeddings.
    """
    variance = 1.0 / weight.shape[-1]
    if name.endswith("shared.weight"):
        variance = 1.0
    elif name.endswith(".q.weight"):
        variance /= SMALL_T5.settings["d_kv"]
    elif name.endswith("relative_attention_bias.weight"):
        variance = POSITION_DEVIATION**2
    return float((3.0 * variance) ** 0.5)


SMALL_T5 = TinyRecipe(
    "T5ForConditionalGeneration",
    word_tokenizer,
    MAX_LENGTH,
    {
        "d_model": 128,
        "d_kv": 32,
        "d_ff": 256,
        "num_layers": 2,
        "num_heads": 4,
        # from nothing, on rows that are seen a few times each, dropout only slows
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    },
)
