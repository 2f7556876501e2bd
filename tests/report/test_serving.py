"""The command by which vLLM serves an adapter, and why it does not serve another."""

import pytest

from ftkit.report.serving import command, refusal

LORA = {"peft_type": "LORA", "r": 8, "base_model_name_or_path": "someone/llama"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (LORA, ""),
        (LORA | {"r": 512}, ""),
        (LORA | {"r": 513}, "vllm serves no adapters with a rank above 512: export it with --merge for that"),
        (LORA | {"use_dora": True}, "vllm serves no adapters with use_dora: export it with --merge for that"),
        (LORA | {"use_dora": True, "modules_to_save": ["lm_head"]}, "vllm serves no adapters with use_dora or modules_"
         "to_save: export it with --merge for that"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, "vllm serves no tuned prompts: peft loads it"),
        ({"peft_type": "IA3"}, "vllm serves no IA3 adapters: peft loads it"),
    ],
)  # fmt: skip
def test_adapters_that_vllm_does_not_serve_are_told_why(settings, said):
    assert refusal(settings) == said


@pytest.mark.parametrize(
    ("rank", "more"), [(8, ""), (16, ""), (17, " --max-lora-rank 32"), (300, " --max-lora-rank 320")]
)
def test_a_rank_above_vllms_own_limit_is_named_in_a_step_that_it_takes(rank, more, tmp_path):
    said = command(LORA | {"r": rank}, name="harbour", folder=tmp_path, at="model")
    assert said == f"vllm serve someone/llama --enable-lora{more} --lora-modules harbour=model"


def test_the_template_that_it_was_trained_with_and_what_ends_an_answer_are_named_where_they_lie(tmp_path):
    for name in ("chat_template.jinja", "generation_config.json"):
        (tmp_path / name).touch()
    said = command(LORA, name="harbour", folder=tmp_path, at="my run/model")
    assert said.endswith(
        " --enable-lora --generation-config 'my run/model' --chat-template 'my run/model/chat_template.jinja' "
        "--lora-modules 'harbour=my run/model'"
    )
