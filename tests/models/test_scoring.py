from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.kernels.document_attention import DOCUMENTS, register_document_attention
from ftkit.models.kernels.fused import use_fused_operations
from ftkit.models.scoring import TokenBatch, score_candidates, score_tokens
from tests.fixtures.tiers import slow_but

CPU = torch.device("cpu")
register_document_attention()


def load(family="llama", *, chunked=True):
    model = AutoModelForCausalLM.from_pretrained(resolve(f"builtin:tiny-{family}"), attn_implementation=DOCUMENTS)
    model.config.use_cache = False
    if chunked:
        assert compute_loss_in_chunks(model)
    return model


class Made:
    """Sequences with their learnt and special tokens, made up."""

    def __init__(self, num_sequences=9, vocab_size=200):
        generator = np.random.default_rng(4)
        self.ids = [generator.integers(5, vocab_size, length) for length in generator.integers(2, 40, num_sequences)]
        self.learnt = [generator.random(len(ids)) < 0.6 for ids in self.ids]
        self.special = [generator.random(len(ids)) < 0.2 for ids in self.ids]
        for learnt in self.learnt:
            learnt[0], learnt[1] = False, True

    def labels(self, row):
        return np.where(self.learnt[row], self.ids[row], -100)

    def batch(self, rows, inputs):
        owners = np.concatenate([np.full(self.learnt[row].sum(), row) for row in rows])
        return TokenBatch(inputs, owners, np.concatenate([self.special[row][self.learnt[row]] for row in rows]))

    def padded(self, rows):
        length = max(len(self.ids[row]) for row in rows)
        inputs = {
            "input_ids": [np.pad(self.ids[row], (0, length - len(self.ids[row]))) for row in rows],
            "attention_mask": [np.arange(length) < len(self.ids[row]) for row in rows],
            "labels": [
                np.pad(self.labels(row), (0, length - len(self.ids[row])), constant_values=-100) for row in rows
            ],
        }
        return self.batch(rows, {name: np.stack(values).astype(np.int64) for name, values in inputs.items()})

    def flat(self, rows):
        inputs = {
            "input_ids": [self.ids[row] for row in rows],
            "position_ids": [np.arange(len(self.ids[row])) for row in rows],
            "labels": [self.labels(row) for row in rows],
        }
        return self.batch(rows, {name: np.concatenate(values)[None] for name, values in inputs.items()})


def few_lines(model, made):
    """What the scores must be: one sequence at a time, from all logits."""
    rows = []
    for ids, learnt, special in zip(made.ids, made.learnt, made.special, strict=True):
        with torch.no_grad():
            logits = model.eval()(input_ids=torch.from_numpy(ids)[None]).logits[0, -len(ids) :].double()
        nll = -torch.log_softmax(logits[:-1], dim=-1)[range(len(ids) - 1), ids[1:]].numpy()
        hits = logits[:-1].argmax(-1).numpy() == ids[1:]
        rows.append((nll[learnt[1:]], hits[learnt[1:]], nll[(learnt & ~special)[1:]]))
    return rows


def assert_scores(found, rows):
    nll, hits, text = zip(*rows, strict=True)
    np.testing.assert_allclose(found.nll, [one.sum() for one in nll], rtol=1e-5)
    np.testing.assert_allclose(found.text_nll, [one.sum() for one in text], rtol=1e-5, atol=1e-6)
    assert found.num_targets.tolist() == [len(one) for one in nll]
    assert found.num_correct.tolist() == [one.sum() for one in hits]
    assert found.nll.dtype == found.text_nll.dtype == np.float64
    assert found.num_targets.dtype == found.num_correct.dtype == np.int64


LAYOUTS = {
    "one at a time": lambda made: [made.padded([row]) for row in range(9)],
    "padded": lambda made: [made.padded([3, 0, 7]), made.padded([8, 1, 2, 4]), made.padded([5, 6])],
    "flat": lambda made: [made.flat([3, 0, 7, 8]), made.flat([1]), made.flat([6, 2, 4, 5])],
}


@pytest.mark.parametrize(
    ("family", "layout", "chunked"),
    slow_but(
        [*product(["gpt2", "gemma3"], LAYOUTS, [True]), ("llama", "padded", False)],
        product(["gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3"], LAYOUTS, [True, False]),
    ),
)
def test_scores_are_those_of_a_few_lines_however_the_sequences_are_laid_out(family, layout, chunked):
    model, made = load(family, chunked=chunked), Made()
    expected = few_lines(model, made)
    found = score_tokens(model, LAYOUTS[layout](made), num_sequences=9, device=CPU, per_token=True)
    assert_scores(found, expected)
    np.testing.assert_allclose(found.token_nll, np.concatenate([nll for nll, _, _ in expected]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", init_lora_weights=False),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    ],
)
def test_adapters_and_learnt_prompts_take_part(config, chunked):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(load(chunked=chunked), config)
    made, plain = Made(), few_lines(load(), Made())
    expected = few_lines(model, made)
    found = score_tokens(model, LAYOUTS["padded"](made), num_sequences=9, device=CPU)
    assert_scores(found, expected)
    assert abs(found.nll[0] - plain[0][0].sum()) > 1e-3
    assert found.token_nll is None


def test_a_model_that_is_sure_of_nothing_scores_the_logarithm_of_its_vocabulary():
    model, made = load("olmo2"), Made()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    found = score_tokens(model, LAYOUTS["flat"](made), num_sequences=9, device=CPU)
    np.testing.assert_allclose(found.nll / found.num_targets, np.log(model.config.vocab_size), rtol=1e-6)


def test_modes_are_given_back_and_no_gradient_is_kept():
    model, made = load(), Made()
    model.train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]
    score_tokens(model, LAYOUTS["flat"](made), num_sequences=9, device=CPU)
    assert [module.training for module in model.modules()] == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_is_off_while_scoring():
    model, made = load("gpt2"), Made()
    model.train()
    first, second = (score_tokens(model, LAYOUTS["flat"](made), num_sequences=9, device=CPU) for _ in range(2))
    assert np.array_equal(first.nll, second.nll)


def test_progress_counts_sequences_and_a_sequence_without_a_batch_scores_nothing():
    counted, made = [], Made()
    found = score_tokens(
        load(), [made.flat([0, 2]), made.flat([1])], num_sequences=5, device=CPU, advance=counted.append
    )
    assert counted == [2, 1]
    assert found.nll[:3].min() > 0
    assert found.nll[3:].tolist() == found.num_targets[3:].tolist() == [0, 0]
    nothing = score_tokens(load(), [], num_sequences=2, device=CPU, per_token=True)
    assert nothing.nll.tolist() == [0, 0]
    assert len(nothing.token_nll) == 0


def test_labels_that_cannot_be_scored_are_refused():
    made = Made()
    batch = made.flat([0, 1])
    batch.inputs["labels"][0, 0] = 7
    with pytest.raises(ValueError, match="first token"):
        score_tokens(load(), [batch], num_sequences=9, device=CPU)
    batch = made.flat([0, 1])._replace(sequences=np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="one for each"):
        score_tokens(load(), [batch], num_sequences=9, device=CPU)


PAIR_ADAPTERS = {
    "none": None,
    # peft writes into what it is given
    "lora": lambda: LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules="all-linear", init_lora_weights=False),
    "prompt": lambda: PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3),
    "prefix": lambda: PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3),
}
CANDIDATES = [[70, 71, 72, 1], [9, 1], [70, 71, 1], [300, 301, 302, 303, 304, 1]]


def load_pairs(family, adapter="none", *, fused=False, chunked=True):
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_pretrained(resolve(f"builtin:tiny-{family}"))
    if PAIR_ADAPTERS[adapter] is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(model, PAIR_ADAPTERS[adapter]())
    if fused:
        use_fused_operations(model)
    if chunked:
        assert compute_loss_in_chunks(model)
    return model


class MadePairs:
    """Sources with targets, made up, and special tokens among the targets."""

    def __init__(self, num_pairs=7):
        generator = np.random.default_rng(5)
        self.sources = [generator.integers(5, 600, length) for length in generator.integers(2, 30, num_pairs)]
        self.targets = [generator.integers(5, 600, length) for length in generator.integers(1, 20, num_pairs)]
        self.special = [generator.random(len(ids)) < 0.3 for ids in self.targets]

    def padded_sources(self, rows):
        length = max(len(self.sources[row]) for row in rows)
        return {
            "input_ids": np.stack([np.pad(self.sources[row], (0, length - len(self.sources[row]))) for row in rows]),
            "attention_mask": np.stack([np.arange(length) < len(self.sources[row]) for row in rows]).astype(np.int64),
        }

    def padded(self, rows):
        length = max(len(self.targets[row]) for row in rows)
        labels = [np.pad(self.targets[row], (0, length - len(self.targets[row])), constant_values=-100) for row in rows]
        owners = np.concatenate([np.full(len(self.targets[row]), row) for row in rows])
        special = np.concatenate([self.special[row] for row in rows])
        return TokenBatch(self.padded_sources(rows) | {"labels": np.stack(labels)}, owners, special)


def row_by_row(model, source, target):
    """Nll of a target's tokens, and which are the likeliest, from all logits of a source by itself."""
    ids, labels = torch.from_numpy(source)[None], torch.tensor(list(target))[None]
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).logits[0].double()
    nll = -logits.log_softmax(-1).gather(1, labels[0][:, None])[:, 0].numpy()
    return nll, (logits.argmax(-1) == labels[0]).numpy()


HOW_PAIRS_ARE_SCORED = slow_but(
    # as training does it, by every adapter; and as transformers alone would
    [
        ("t5", "none", False, False),
        *((*one, True, True) for one in zip(["t5", "bart"] * 2, PAIR_ADAPTERS, strict=True)),
    ],
    [(*one, way, way) for one in product(["t5", "bart"], PAIR_ADAPTERS) for way in (False, True)],
)


@pytest.mark.parametrize(("family", "adapter", "chunked", "fused"), HOW_PAIRS_ARE_SCORED)
def test_targets_of_encoder_decoders_are_scored_from_their_first_token_on(family, adapter, chunked, fused):
    plain, made = load_pairs(family, adapter, chunked=False), MadePairs()
    expected = []
    for source, target, special in zip(made.sources, made.targets, made.special, strict=True):
        nll, hits = row_by_row(plain, source, target)
        expected.append((nll, hits, nll[~special]))
    model = load_pairs(family, adapter, chunked=chunked, fused=fused)
    for layout in ([[row] for row in range(7)], [[3, 0, 6], [5, 1, 2, 4]]):
        found = score_tokens(model, [made.padded(rows) for rows in layout], num_sequences=7, device=CPU, per_token=True)
        assert_scores(found, expected)
        np.testing.assert_allclose(
            found.token_nll, np.concatenate([nll for nll, _, _ in expected]), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(("family", "adapter", "chunked", "fused"), HOW_PAIRS_ARE_SCORED)
def test_candidates_are_scored_as_if_each_were_read_by_itself(family, adapter, chunked, fused):
    plain, made = load_pairs(family, adapter, chunked=False), MadePairs()
    expected = [[-row_by_row(plain, source, ids)[0].sum() for ids in CANDIDATES] for source in made.sources]
    model, counted = load_pairs(family, adapter, chunked=chunked, fused=fused), []
    batches = [(np.array(rows), made.padded_sources(rows)) for rows in ([3, 0, 6], [5], [1, 2, 4])]
    runs = []
    base = model.get_base_model() if adapter != "none" else model
    base.get_encoder().register_forward_hook(lambda *_: runs.append(1))
    model.train()
    found = score_candidates(model, batches, CANDIDATES, num_rows=7, device=CPU, advance=counted.append)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert found.dtype == np.float64
    assert counted == [3, 1, 3]
    assert len(runs) == len(batches), "the encoder reads a batch once, whatever the number of candidates"
    assert model.training, "the mode is given back"
    again = score_candidates(model, batches, CANDIDATES[:1], num_rows=7, device=CPU)
    np.testing.assert_allclose(again[:, 0], found[:, 0], rtol=1e-6)


def test_an_encoder_decoder_that_is_sure_of_nothing_scores_the_logarithm_of_its_vocabulary():
    model, made = load_pairs("bart"), MadePairs()
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    found = score_tokens(model, [made.padded(range(7))], num_sequences=7, device=CPU)
    np.testing.assert_allclose(found.nll / found.num_targets, np.log(model.config.vocab_size), rtol=1e-6)
