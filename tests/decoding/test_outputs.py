"""Laws of what an encoder-decoder writes: greedy is the argmax, beams are transformers' own, a batch is its sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import pytest
import torch
import transformers
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig

from ftkit.decoding.continuing import Continuation
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.outputs import source_positions, write_outputs
from ftkit.methods.prefix_tuning import PrefixTuningMethod, attach_prefix_tuning
from ftkit.methods.prompt_tuning import PromptTuningMethod, attach_prompt_tuning
from tests.fixtures.tiers import slow_but

TinyPairs = Callable[..., tuple[Any, Any]]

FAMILIES = ("t5", "bart")
KINDS = ("full", "lora", "prompt_tuning", "prefix_tuning")
FEW = (("t5", "full"), ("bart", "lora"), ("t5", "prompt_tuning"), ("bart", "prefix_tuning"))
SOURCES = [[5, 6, 7, 300, 301, 1], [40, 41, 1], [*range(100, 130), 1], [50, 51, 1], [9] * 12]
NOTHING = frozenset({100_000})


def written(
    model: Any, tokenizer: Any, decoding: Decoding, sources: Sequence[list[int]] = SOURCES, **options: Any
) -> list[Continuation]:
    return write_outputs(model, tokenizer, sources, decoding, **({"stop_ids": NOTHING} | options))


def likeliest(model: Any, source: Sequence[int], count: int) -> list[int]:
    """The likeliest tokens one after the other, everything read again for each, without a cache."""
    first = model.generation_config.forced_bos_token_id
    ids = [] if first is None else [first]
    inputs = {"input_ids": torch.tensor([list(source)]), "attention_mask": torch.ones(1, len(source), dtype=torch.long)}
    while len(ids) < count:
        decoder = torch.tensor([[model.config.decoder_start_token_id, *ids]])
        with torch.inference_mode():
            logits = model(**inputs, decoder_input_ids=decoder, use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    with torch.inference_mode():
        taught = model(**inputs, labels=torch.tensor([ids]), use_cache=False).logits[0].argmax(dim=1).tolist()
    begin = 0 if first is None else 1
    assert taught[begin:] == ids[begin:], "as labels, each is the likeliest after those before it"
    return ids


@pytest.mark.parametrize(("family", "kind"), slow_but(FEW, product(FAMILIES, KINDS)))
def test_greedy_is_the_argmax_one_by_one_and_in_a_padded_batch(family: str, kind: str, tiny_pairs: TinyPairs) -> None:
    model, tokenizer = tiny_pairs(family, kind)
    expected = [tokenizer.decode(likeliest(model, source, 8), skip_special_tokens=True) for source in SOURCES]
    assert len(set(expected)) > 2, "what is written depends on what is read"
    found = written(model, tokenizer, Decoding(max_new_tokens=8))
    assert [one.text for one in found] == expected
    assert {one.num_tokens for one in found} == {8}
    assert written(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, top_k=1)) == found
    assert written(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, typical_p=1e-9, top_k=1)) == found


@pytest.mark.parametrize(
    ("family", "kind", "num_beams"),
    slow_but(
        [("t5", "full", 2), ("bart", "full", 1), ("t5", "prompt_tuning", 1), ("bart", "prefix_tuning", 2)],
        product(FAMILIES, ["full", "prompt_tuning", "prefix_tuning"], [1, 2]),
    ),
)
def test_neither_batch_nor_order_nor_padding_changes_an_output(
    family: str, kind: str, num_beams: int, tiny_pairs: TinyPairs
) -> None:
    model, tokenizer = tiny_pairs(family, kind)
    decoding = Decoding(max_new_tokens=8, num_beams=num_beams)
    stop_ids = {tokenizer.eos_token_id}
    whole = written(model, tokenizer, decoding, stop_ids=stop_ids)
    assert written(model, tokenizer, decoding, stop_ids=stop_ids, max_batch_tokens=1) == whole
    assert written(model, tokenizer, decoding, stop_ids=stop_ids, max_batch_tokens=90) == whole
    order = [3, 0, 4, 2, 1]
    shuffled = written(model, tokenizer, decoding, [SOURCES[row] for row in order], stop_ids=stop_ids)
    assert shuffled == [whole[row] for row in order]


@pytest.mark.parametrize(("family", "kind"), slow_but(FEW, product(FAMILIES, KINDS)))
def test_beams_find_what_those_of_transformers_find(family: str, kind: str, tiny_pairs: TinyPairs) -> None:
    model, tokenizer = tiny_pairs(family, kind)
    knobs: dict[str, Any] = {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 2}
    expected = []
    for source in SOURCES:
        ids = model.generate(
            input_ids=torch.tensor([source]),
            attention_mask=torch.ones(1, len(source)),
            max_new_tokens=8,
            do_sample=False,
            forced_eos_token_id=None,
            **knobs,
        )
        expected.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    found = written(model, tokenizer, Decoding(max_new_tokens=8, **knobs), stop_ids={tokenizer.eos_token_id})
    assert [one.text for one in found] == expected
    assert [one.text for one in written(model, tokenizer, Decoding(max_new_tokens=8))] != expected


@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_beams_as_tokens_find_the_likeliest_pair(
    family: str, tiny_pairs: TinyPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny_pairs(family)
    monkeypatch.setattr(model.generation_config, "forced_bos_token_id", None)
    size, source = len(tokenizer), torch.tensor(SOURCES[:1])
    start = model.config.decoder_start_token_id
    with torch.inference_mode():
        encoded = model.get_encoder()(input_ids=source)
        first = model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([[start]])).logits[0, -1].log_softmax(0)
        pairs = torch.tensor([[start, index] for index in range(size)])
        states = transformers.modeling_outputs.BaseModelOutput(encoded.last_hidden_state.expand(size, -1, -1))
        second = model(encoder_outputs=states, decoder_input_ids=pairs).logits[:, -1, :size].log_softmax(1)
    best = int((first[:size, None] + second).argmax())
    expected = tokenizer.decode([best // size, best % size], skip_special_tokens=True)
    found = written(model, tokenizer, Decoding(max_new_tokens=2, num_beams=size), SOURCES[:1])
    assert found[0].text == expected


@pytest.mark.parametrize(("family", "kind"), [("t5", "full"), ("bart", "lora"), ("t5", "prompt_tuning")])
def test_settings_stored_in_the_checkpoint_decide_nothing_but_what_is_the_architectures(
    family: str, kind: str, tiny_pairs: TinyPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny_pairs(family, kind)
    base = model if kind == "full" else model.get_base_model()
    start, bos = (getattr(base.generation_config, f"{name}_token_id") for name in ("decoder_start", "forced_bos"))
    plain = written(model, tokenizer, Decoding(max_new_tokens=8))
    stored = {"do_sample": True, "temperature": 3.0, "num_beams": 2, "max_length": 3, "forced_eos_token_id": 7}
    changed = GenerationConfig(
        decoder_start_token_id=start, forced_bos_token_id=bos, suppress_tokens=[1, 2, 3], min_length=5, **stored
    )
    monkeypatch.setattr(base, "generation_config", changed)
    assert written(model, tokenizer, Decoding(max_new_tokens=8)) == plain
    assert base.generation_config is changed
    first = 500
    banned = [[index] for index in likeliest(model, SOURCES[0], 8) if index != bos]
    changed = GenerationConfig(decoder_start_token_id=start, forced_bos_token_id=first, bad_words_ids=banned)
    monkeypatch.setattr(base, "generation_config", changed)
    found = written(model, tokenizer, Decoding(max_new_tokens=8))
    assert all(one.text.startswith(tokenizer.decode([first])) for one in found)
    assert not any(tokenizer.decode(index) in found[0].text for index in banned)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_output_ends_before_its_first_stop_token_and_says_that_it_stopped(
    family: str, tiny_pairs: TinyPairs
) -> None:
    model, tokenizer = tiny_pairs(family)
    new = likeliest(model, SOURCES[2], 8)
    end = next(place for place in range(2, 8) if new[place] not in new[:place])
    stop_ids = frozenset({new[end]})
    expected = tokenizer.decode(new[:end], skip_special_tokens=True)
    for sources, row in ((SOURCES[2:3], 0), (SOURCES, 2)):
        found = written(model, tokenizer, Decoding(max_new_tokens=8), sources, stop_ids=stop_ids)[row]
        assert found == Continuation(text=expected, num_tokens=end, stopped=True)
    cut = written(model, tokenizer, Decoding(max_new_tokens=end), SOURCES[2:3], stop_ids=stop_ids)[0]
    assert (cut.num_tokens, cut.stopped) == (end, False)


@pytest.mark.parametrize("kind", ["full", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_pieces_that_are_streamed_are_the_text(family: str, kind: str, tiny_pairs: TinyPairs) -> None:
    model, tokenizer = tiny_pairs(family, kind)
    pieces: list[str] = []
    decoding = Decoding(max_new_tokens=20, do_sample=True)
    found = written(model, tokenizer, decoding, SOURCES[:1], write=pieces.append)
    assert "".join(pieces) == found[0].text
    assert len(pieces) > 5
    pieces.clear()
    written(model, tokenizer, Decoding(max_new_tokens=3), write=pieces.append)
    written(model, tokenizer, Decoding(max_new_tokens=3, num_beams=2), SOURCES[:1], write=pieces.append)
    assert pieces == [], "several sources or beams are not streamed"


def test_the_same_seed_is_the_same_sample_another_seed_is_not_and_torch_is_left_alone(tiny_pairs: TinyPairs) -> None:
    model, tokenizer = tiny_pairs("t5")
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, again, other = (
        written(model, tokenizer, Decoding(max_new_tokens=8, do_sample=True, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert torch.equal(torch.random.get_rng_state(), before)
    thrice = written(
        model, tokenizer, Decoding(max_new_tokens=8, do_sample=True), [[40, 41, 1]] * 3, max_batch_tokens=1
    )
    assert len({one.text for one in thrice}) == 3, "a source given three times is sampled three times"


def test_runs_of_tokens_that_may_occur_once_do(tiny_pairs: TinyPairs) -> None:
    model, tokenizer = tiny_pairs("t5")
    for size, source in ((1, SOURCES[1]), (2, SOURCES[0])):
        plain, found = (
            tokenizer.encode(written(model, tokenizer, Decoding(max_new_tokens=12, **knob), [source])[0].text)[:-1]
            for knob in ({}, {"no_repeat_ngram_size": size})
        )
        for ids, repeats in ((plain, True), (found, False)):
            runs = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
            assert (len(set(runs)) < len(runs)) == repeats


@pytest.mark.parametrize("wrong", [{"typical_p": 0.0}, {"typical_p": 1.1}, {"no_repeat_ngram_size": -1}])
def test_a_knob_out_of_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Decoding(**wrong)


def test_bart_fills_its_positions_and_goes_no_further(tiny_pairs: TinyPairs) -> None:
    def made(method: Any = None) -> Any:
        torch.manual_seed(0)
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        sizes |= {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 24}
        model: Any = BartForConditionalGeneration(BartConfig(vocab_size=len(tokenizer), **sizes)).eval()
        if isinstance(method, PromptTuningMethod):
            return attach_prompt_tuning(model, method, tokenizer).eval()
        return model if method is None else attach_prefix_tuning(model, method).eval()

    _, tokenizer = tiny_pairs("bart")
    prompt = PromptTuningMethod(type="prompt_tuning", num_virtual_tokens=5)
    prefix = PrefixTuningMethod(type="prefix_tuning", num_virtual_tokens=5)
    for method, source, output in ((None, 24, 24), (prompt, 19, 24), (prefix, 24, 19)):
        model = made(method)
        assert source_positions(model) == source
        found = written(model, tokenizer, Decoding(max_new_tokens=100), [[7] * source])
        assert (found[0].num_tokens, found[0].stopped) == (output, False)
    assert source_positions(tiny_pairs("t5")[0]) is None


def test_progress_counts_every_source_once(tiny_pairs: TinyPairs) -> None:
    counted: list[int] = []
    written(*tiny_pairs("t5"), Decoding(max_new_tokens=2), advance=counted.append, max_batch_tokens=64)
    assert sum(counted) == len(SOURCES)
    assert len(counted) > 1


def test_transformers_and_peft_have_nothing_to_warn_of(
    tiny_pairs: TinyPairs, silence: Callable[[], AbstractContextManager[None]]
) -> None:
    # made before: peft warns of its own code where it puts a prompt on a model
    made = [tiny_pairs(family, kind) for kind in KINDS for family in FAMILIES]
    with silence():
        for decoding in (
            Decoding(max_new_tokens=2),
            Decoding(max_new_tokens=2, do_sample=True, top_k=3, min_p=0.1, typical_p=0.9),
            Decoding(max_new_tokens=2, num_beams=2, repetition_penalty=1.2, early_stopping=True),
        ):
            for model, tokenizer in made:
                written(model, tokenizer, decoding)
