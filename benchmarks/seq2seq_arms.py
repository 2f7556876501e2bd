"""One arm of the seq2seq benchmark, in a process of its own: `seq2seq_arms.py settings.json result.json`.

The Trainer arms are what a user of transformers and peft writes after `run_summarization.py`; the ftkit arms are
`ftkit train` as a function. All finetune the same checkpoint on the same pairs, count tokens of text on both sides and
never padding, and are scored on the same held-out pairs by the same few lines.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from causal_arms import Result, Settings, make_clock, shared_arguments
from seq2seq_data import read_rows, tokenized

VIRTUAL_TOKENS = 20
BATCH_OF_RUN_SUMMARIZATION = 8


def count_pairs(batch: Any) -> int:
    """Tokens of sources and of targets, without padding."""
    return int(batch["attention_mask"].sum()) + int((batch["labels"] != -100).sum())


def held_out_loss(model: Any, settings: Settings) -> float:
    """Nats a target token of the held-out pairs, one pair at a time, from all logits in float32."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    was_training, total, num_targets = model.training, 0.0, 0
    model.eval()
    with torch.no_grad():
        for row in read_rows(Path(settings["validation"])):
            pair = {name: torch.tensor([ids]) for name, ids in tokenized(tokenizer, row).items()}
            labels = pair.pop("labels")
            start = torch.zeros(1, 1, dtype=torch.int64)
            mask = torch.ones_like(pair["input_ids"])
            shifted = torch.cat([start, labels[:, :-1]], dim=1)
            logits = model(**pair, attention_mask=mask, decoder_input_ids=shifted).logits[0].float()
            total += torch.nn.functional.cross_entropy(logits, labels[0], reduction="sum").item()
            num_targets += labels.numel()
    model.train(was_training)
    return total / num_targets


def load_model(settings: Settings) -> tuple[Any, Any]:
    """The checkpoint, with a prompt where one is to be tuned, and its tokenizer."""
    import torch
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(settings["model"], dtype=torch.float32)
    torch.manual_seed(settings["seed"])
    if settings["method"] == "prompt_tuning":
        config = PromptTuningConfig(
            task_type="SEQ_2_SEQ_LM", num_virtual_tokens=VIRTUAL_TOKENS, num_transformer_submodules=1
        )
        model = get_peft_model(model, config)
    return model, AutoTokenizer.from_pretrained(settings["model"])


def trainer(settings: Settings) -> Result:
    """Seq2SeqTrainer with DataCollatorForSeq2Seq, as `run_summarization.py` puts them together."""
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

    model, tokenizer = load_model(settings)
    clock = make_clock(settings, count=count_pairs, score=held_out_loss)
    collate = DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=-100)
    arguments = Seq2SeqTrainingArguments(
        per_device_train_batch_size=settings["batch_size"],
        bf16=settings["bf16"],
        train_sampling_strategy="group_by_length" if settings["grouped"] else "random",
        remove_unused_columns=False,
        **shared_arguments(settings),
    )
    Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=[tokenized(tokenizer, row) for row in read_rows(Path(settings["train"]))],
        data_collator=clock.counting(collate),
        callbacks=[clock],
    ).train()
    return clock.result()


def ftkit(settings: Settings) -> Result:
    """`ftkit train`, with a clock added to its Trainer."""
    from ftkit.commands.train import train
    from ftkit.tasks.seq2seq import train as seq2seq

    clock = make_clock(settings, count=count_pairs, score=held_out_loss)
    make_trainer = seq2seq.make_trainer

    def make_trainer_with_clock(*arguments: Any, **options: Any) -> Any:
        made = make_trainer(*arguments, **options)
        made._collate = clock.counting(made._collate)
        made.add_callback(clock)
        return made

    seq2seq.make_trainer = make_trainer_with_clock
    trained = train(Path(settings["recipe"]), settings["overrides"])
    return clock.result() | {"placement": trained.run.manifest()["training"]["placement"]}


def trainer_generates(settings: Settings) -> Result:
    """`predict_with_generate`: batches of 8 in the order of the file, float32."""
    import numpy as np
    from transformers import DataCollatorForSeq2Seq, GenerationConfig, Seq2SeqTrainer, Seq2SeqTrainingArguments

    model, tokenizer = load_model(settings)
    model.generation_config = GenerationConfig(
        max_new_tokens=settings["max_new_tokens"],
        num_beams=settings["num_beams"],
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=0,
    )
    arguments = Seq2SeqTrainingArguments(
        output_dir=settings["output_dir"],
        per_device_eval_batch_size=BATCH_OF_RUN_SUMMARIZATION,
        predict_with_generate=True,
        remove_unused_columns=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    made = Seq2SeqTrainer(
        model=model,
        args=arguments,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=-100),
        processing_class=tokenizer,
    )
    rows = [tokenized(tokenizer, row) for row in read_rows(Path(settings["generated"]))]
    start = time.perf_counter()
    found = made.predict(rows).predictions
    seconds = time.perf_counter() - start
    ids = np.where(found == -100, tokenizer.pad_token_id, found)
    return {"seconds": seconds, "outputs": tokenizer.batch_decode(ids, skip_special_tokens=True)}


def ftkit_generates(settings: Settings) -> Result:
    """The same sources as `ftkit train` writes for them when it measures, in float32."""
    import pyarrow as pa
    import torch

    from ftkit.data.dataset import Split
    from ftkit.decoding.knobs import Decoding
    from ftkit.inputs.pairs import tokenize_pairs
    from ftkit.models.checkpoint import Checkpoint
    from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq
    from ftkit.progress import Silent
    from ftkit.tasks.seq2seq.outputs import write_split

    checkpoint = Checkpoint(settings["model"], Path(settings["model"]))
    model, tokenizer = load_seq2seq(checkpoint, dtype=torch.float32), load_tokenizer_for_seq2seq(checkpoint)
    rows = read_rows(Path(settings["generated"]))
    table = pa.table({"prompt": [row["source"] for row in rows], "completion": [row["target"] for row in rows]})
    split = Split("test", table, settings["generated"])
    decoding = Decoding(max_new_tokens=settings["max_new_tokens"], num_beams=settings["num_beams"])
    start = time.perf_counter()
    tokens = tokenize_pairs(tokenizer, split, max_length=512, max_target_length=512)
    stop_ids = {int(tokenizer.eos_token_id)}
    found = write_split(model, tokenizer, split, tokens, decoding, stop_ids=stop_ids, reporter=Silent(), what="writing")
    return {"seconds": time.perf_counter() - start, "outputs": found.texts_of_rows(split)}


KINDS: dict[str, Callable[[Settings], Result]] = {
    "trainer": trainer,
    "ftkit": ftkit,
    "trainer_generates": trainer_generates,
    "ftkit_generates": ftkit_generates,
}


def main() -> None:
    warnings.simplefilter("ignore")
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    result = KINDS[settings["kind"]](settings)
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
