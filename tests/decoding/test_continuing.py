"""Laws of generation: greedy is the argmax, a batch is its prompts one by one, a seed is a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from ftkit.decoding.continuing import Continuation, continue_prompts, position_limit, stop_tokens
from ftkit.decoding.knobs import Decoding
from tests.fixtures.tiers import slow_but

TinyLM = Callable[..., tuple[Any, Any]]

DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
PROMPTS = [[5, 6, 7, 300, 301], [40, 41], [*range(100, 120)], [50, 51]]
NOTHING = frozenset({100_000})


def argmax(model: Any, prompt: Sequence[int], count: int) -> list[int]:
    """The likeliest tokens one after the other, the whole text read again for each."""
    ids = list(prompt)
    for _ in range(count):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


def texts(model: Any, tokenizer: Any, decoding: Decoding, prompts: Sequence[list[int]] = PROMPTS) -> list[str]:
    return [found.text for found in continue_prompts(model, tokenizer, prompts, decoding, stop_ids=NOTHING)]


@pytest.mark.parametrize(
    ("family", "kind"),
    slow_but(
        [*product(["llama", "gemma3"], ["full"]), ("gpt2", "lora"), ("gemma3", "prompt_tuning")],
        product(DECODERS, ["full", "lora", "prompt_tuning"]),
    ),
)
def test_greedy_is_the_argmax_one_by_one_and_in_a_padded_batch(family: str, kind: str, tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm(family, kind)
    expected = [tokenizer.decode(argmax(model, prompt, 10), skip_special_tokens=True) for prompt in PROMPTS]
    decoding = Decoding(max_new_tokens=10)
    assert texts(model, tokenizer, decoding) == expected
    assert [texts(model, tokenizer, decoding, [prompt])[0] for prompt in PROMPTS] == expected


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_as_many_beams_as_tokens_find_the_likeliest_pair(family: str, tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm(family)
    size = len(tokenizer)
    with torch.inference_mode():
        first = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1].log_softmax(0)
        pairs = torch.tensor([[*PROMPTS[0], index] for index in range(size)])
        second = model(input_ids=pairs).logits[:, -1].log_softmax(1)
    best = int((first[:, None] + second).argmax())
    expected = tokenizer.decode([best // size, best % size], skip_special_tokens=True)
    assert texts(model, tokenizer, Decoding(max_new_tokens=2, num_beams=size), PROMPTS[:1]) == [expected]


def test_the_same_seed_is_the_same_sample_another_seed_is_not_and_torch_is_left_alone(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("llama")
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, again, other = (
        texts(model, tokenizer, Decoding(max_new_tokens=12, do_sample=True, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_prompt_given_twice_is_sampled_twice_even_in_batches_of_one(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("llama")
    decoding = Decoding(max_new_tokens=12, do_sample=True)
    prompts = [[40, 41]] * 3
    found = continue_prompts(model, tokenizer, prompts, decoding, stop_ids=NOTHING, max_batch_tokens=1)
    assert len({continuation.text for continuation in found}) == 3


def test_drawing_from_the_one_likeliest_token_is_greedy(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("olmo2")
    greedy = texts(model, tokenizer, Decoding(max_new_tokens=8))
    assert texts(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, top_k=1)) == greedy
    assert texts(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, top_p=1e-6)) == greedy
    assert texts(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, min_p=1.0)) == greedy
    assert texts(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, temperature=1e-4)) == greedy


def test_sampling_draws_from_the_model_itself_with_nothing_cut_off(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("llama")
    with torch.inference_mode():
        probability = model(input_ids=torch.tensor([[40, 41]])).logits[0, -1].softmax(0)
    drawn = continue_prompts(
        model, tokenizer, [[40, 41]] * 3000, Decoding(max_new_tokens=1, do_sample=True), stop_ids=NOTHING
    )
    likeliest = {tokenizer.decode([index]) for index in probability.topk(50).indices.tolist()}
    beyond = [index for index in range(len(tokenizer)) if tokenizer.decode([index]) not in likeliest]
    expected = float(probability[beyond].sum())
    assert expected > 0.2, "a cut at 50 tokens must be seen"
    share = sum(found.text not in likeliest for found in drawn) / len(drawn)
    assert share == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_settings_stored_in_the_checkpoint_decide_nothing_and_are_left_in_place(kind: str, tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("llama", kind)
    plain = texts(model, tokenizer, Decoding(max_new_tokens=8))
    base = model.get_base_model() if kind == "lora" else model
    stored = GenerationConfig(do_sample=True, temperature=3.0, num_beams=2, max_length=3, suppress_tokens=[1, 2, 3])
    own, base.generation_config = base.generation_config, stored
    try:
        assert texts(model, tokenizer, Decoding(max_new_tokens=8)) == plain
        assert base.generation_config is stored
    finally:
        base.generation_config = own


def test_a_continuation_ends_before_its_first_stop_token_and_says_that_it_stopped(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("llama")
    new = argmax(model, PROMPTS[0], 8)
    end = next(place for place in range(3, 8) if new[place] not in new[:place])
    for prompts in (PROMPTS[:1], PROMPTS):
        found = continue_prompts(model, tokenizer, prompts, Decoding(max_new_tokens=8), stop_ids=frozenset({new[end]}))[
            0
        ]
        expected = tokenizer.decode(new[:end], skip_special_tokens=True)
        assert found == Continuation(text=expected, num_tokens=end, stopped=True)
    cut = continue_prompts(model, tokenizer, PROMPTS[:1], Decoding(max_new_tokens=end), stop_ids=frozenset({new[end]}))
    assert (cut[0].num_tokens, cut[0].stopped) == (end, False)


def test_stop_tokens_are_those_of_tokenizer_checkpoint_and_template(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("llama")
    own, model.generation_config = model.generation_config, GenerationConfig(eos_token_id=[7, 8])
    try:
        assert stop_tokens(model, tokenizer, 9, None) == {tokenizer.eos_token_id, 7, 8, 9}
    finally:
        model.generation_config = own


@pytest.mark.parametrize("family", DECODERS)
def test_the_pieces_that_are_streamed_are_the_text(family: str, tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm(family)
    pieces: list[str] = []
    decoding = Decoding(max_new_tokens=30, do_sample=True)
    found = continue_prompts(model, tokenizer, [PROMPTS[0]], decoding, stop_ids=NOTHING, write=pieces.append)
    assert "".join(pieces) == found[0].text
    assert len(pieces) > 5


def test_several_prompts_or_beams_are_not_streamed(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("gpt2")
    pieces: list[str] = []
    continue_prompts(model, tokenizer, PROMPTS, Decoding(max_new_tokens=3), stop_ids=NOTHING, write=pieces.append)
    beams = Decoding(max_new_tokens=3, num_beams=2)
    continue_prompts(model, tokenizer, PROMPTS[:1], beams, stop_ids=NOTHING, write=pieces.append)
    assert pieces == []


def test_a_character_of_several_tokens_is_held_back_until_it_is_whole(tiny_lm: TinyLM) -> None:
    from ftkit.decoding.text import NewText, Pieces

    _, tokenizer = tiny_lm("gpt2")
    text = "日本 é"
    ids = tokenizer(text).input_ids
    assert len(ids) > len(text)
    pieces: list[str] = []
    streamer = Pieces(NewText(tokenizer, [40]), pieces.append)
    streamer.put(torch.tensor([[40]]))
    for index in ids:
        streamer.put(torch.tensor([index]))
    streamer.end()
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_tokenizer_that_drops_the_first_space_loses_none_between_prompt_and_continuation() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from ftkit.decoding.text import NewText

    backend = Tokenizer(models.WordLevel({"▁once": 0, "▁upon": 1, "▁a": 2, "▁time": 3, "<unk>": 4}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    prompt = tokenizer("once upon").input_ids
    assert tokenizer.decode([2, 3]) == "a time"
    assert NewText(tokenizer, prompt).of([2, 3]) == " a time"


def test_the_positions_of_a_model_are_not_overrun(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("gpt2")
    assert position_limit(model) == 1024
    assert position_limit(tiny_lm("llama", "prompt_tuning")[0]) == 2048 - 4
    near = [[7] * 1020, [5, 6]]
    found = continue_prompts(model, tokenizer, near, Decoding(max_new_tokens=10), stop_ids=NOTHING)
    assert [continuation.num_tokens for continuation in found] == [4, 10]
    with pytest.raises(ValueError, match="a prompt of 1024 tokens; the model has positions for 1024"):
        continue_prompts(model, tokenizer, [[7] * 1024], Decoding(), stop_ids=NOTHING)
    with pytest.raises(ValueError, match="a prompt of 0 tokens"):
        continue_prompts(model, tokenizer, [[]], Decoding(), stop_ids=NOTHING)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"num_beams": 0},
        {"temperature": 0.0},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0.0},
    ],
)
def test_a_knob_out_of_its_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Decoding(**wrong)


def test_a_repetition_penalty_changes_what_is_repeated(tiny_lm: TinyLM) -> None:
    model, tokenizer = tiny_lm("gpt2")
    plain = texts(model, tokenizer, Decoding(max_new_tokens=20))
    assert texts(model, tokenizer, Decoding(max_new_tokens=20, repetition_penalty=5.0)) != plain


def test_transformers_has_nothing_to_warn_of(
    tiny_lm: TinyLM, silence: Callable[[], AbstractContextManager[None]]
) -> None:
    model, tokenizer = tiny_lm("qwen3", "lora")
    with silence():
        for decoding in (
            Decoding(max_new_tokens=2),
            Decoding(max_new_tokens=2, do_sample=True, top_k=3, min_p=0.1),
            Decoding(max_new_tokens=2, num_beams=2, repetition_penalty=1.2),
        ):
            texts(model, tokenizer, decoding)
