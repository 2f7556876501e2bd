"""What would be read back as another model is refused before it is trained, and refused where it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ftkit.errors import UserError
from ftkit.models.reading.adapter import put_adapter
from ftkit.models.trial import code_failures_told, refuse_what_cannot_run

INPUTS = {"input_ids": np.arange(3, 15).reshape(2, 6), "labels": np.arange(3, 15).reshape(2, 6)}
OWN_NAMES = ["q_proj", "o_proj"]


def laguna() -> Any:
    """A mixture of experts whose shared ones had another name once, which peft still puts in the place of the new."""
    from transformers import LagunaConfig, LagunaForCausalLM

    torch.manual_seed(0)
    experts = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "shared_expert_intermediate_size": 8}
    config = LagunaConfig(**sizes, **heads, **experts, mlp_layer_types=["sparse"])
    return LagunaForCausalLM(config)


def with_lora(targets: list[str]) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=targets, init_lora_weights=False)
    base = laguna()
    torch.manual_seed(1)
    return get_peft_model(base, config)


@pytest.mark.parametrize(("beside", "remedy"), [(OWN_NAMES, "[q_proj, o_proj]"), ([], "use another method")])
def test_an_adapter_that_peft_reads_back_under_other_names_is_refused_with_the_layers_that_hold(beside, remedy):
    with pytest.raises(UserError, match=r"other names, the first model\.layers\.0\.mlp\.shared_experts") as refused:
        refuse_what_cannot_run(with_lora([*beside, "up_proj"]), INPUTS, name="it", writes=False)
    assert remedy in str(refused.value)


def test_an_adapter_that_is_read_back_as_it_is_stays_as_it_is():
    model = with_lora(OWN_NAMES)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    refuse_what_cannot_run(model, INPUTS, name="it", writes=False)
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize(("targets", "holds"), [(OWN_NAMES, True), (["up_proj"], False)])
def test_a_saved_adapter_is_put_on_whole_or_refused(targets, holds, tmp_path):
    model = with_lora(targets)
    model.save_pretrained(tmp_path)
    if not holds:
        with pytest.raises(UserError, match="does not put 2 of the adapter's weights where they were"):
            put_adapter(laguna(), tmp_path, base_name="it")
        return
    tokens = torch.arange(3, 15)[None]
    with torch.no_grad():
        read = put_adapter(laguna(), tmp_path, base_name="it")(input_ids=tokens).logits
        assert read.equal(model(input_ids=tokens).logits)


def test_a_full_disk_is_no_fault_of_an_architecture():
    from safetensors import SafetensorError

    full = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(SafetensorError), code_failures_told(None, name="m", doing="merged"):
        raise SafetensorError(full)
    with (
        pytest.raises(UserError, match="its code in transformers fails"),
        code_failures_told(None, name="m", doing="x"),
    ):
        raise SafetensorError("Error while serializing: a tensor of no kind")
