from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

from ftkit.models.builtin import resolve
from ftkit.models.chunked_loss import compute_loss_in_chunks
from ftkit.models.document_attention import DOCUMENTS, register_document_attention
from ftkit.scoring import TokenBatch, score_tokens

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


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", ["gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3"])
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
