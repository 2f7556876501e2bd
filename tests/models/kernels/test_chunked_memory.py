from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from ftkit.models.builtin.builtin import resolve
from ftkit.models.kernels import chunked_loss
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks

CONFIGS = {
    "lora": LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
    "prompt tuning": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.num_elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.num_elements = max(self.num_elements, tensor.numel())
        return result


@pytest.mark.parametrize("method", CONFIGS)
def test_no_tensor_is_as_large_as_the_logits_of_the_labelled_positions(method, monkeypatch):
    monkeypatch.setattr(chunked_loss, "LOGITS_AT_A_TIME", 5 * 300)
    model = AutoModelForCausalLM.from_pretrained(resolve("builtin:tiny-llama"))
    vocab_size = model.config.vocab_size
    model = get_peft_model(model, CONFIGS[method])
    ids = torch.randint(vocab_size, (12, 40), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.arange(40) < 15, -100)
    largest = []
    for chunked in (False, True):
        if chunked:
            assert compute_loss_in_chunks(model)
        with LargestTensor() as watched:
            model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
        largest.append(watched.num_elements)
    assert largest[0] >= ids.numel() * vocab_size, "the logits of all positions were seen"
    assert largest[1] < (labels != -100).sum() * vocab_size / 2
