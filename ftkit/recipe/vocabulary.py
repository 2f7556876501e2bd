"""Spellings of older versions and of other tools, each answered with today's key. None of them is ever accepted.

Those of keys that one task reads stand in that task's recipe.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Today(NamedTuple):
    """What a foreign or old key is called here.

    Attributes:
        key: dotted path of today's key, empty when there is none.
        note: what else has to change, or why there is no such key.
    """

    key: str
    note: str = ""


WORDS: tuple[tuple[str, ...], ...] = (
    (
        "model.name_or_path",
        "base_model model_name model_name_or_path model_id model_path pretrained_model_name_or_path checkpoint "
        "backbone",
    ),
    ("model.revision", "model_revision"),
    (
        "model.adapter",
        "adapter_name_or_path adapter_path adapter_model lora_model_dir lora_weights lora_path peft_model_id",
        "a run, or a folder of peft's",
    ),
    ("model.dtype", "torch_dtype"),
    ("model.dtype", "precision", "mixed precision is training.bf16 or training.fp16"),
    ("", "tokenizer tokenizer_name processing_class", "the tokenizer of model.name_or_path is used"),
    ("method.type", "finetuning_type peft_type strategy"),
    ("method.type", "freeze_backbone freeze_encoder freeze_base_model", "write method.type: frozen"),
    ("model.freeze", "unfrozen_parameters trainable_modules", "the other way round: name what stays as it is"),
    ("model.freeze", "freeze_layers frozen_layers freeze_modules freeze_patterns freeze_parameters freeze_embeddings"),
    ("training.layer_lr_decay", "layerwise_lr_decay layer_wise_lr_decay layer_decay llrd lr_layer_decay"),
    ("method.type", "use_peft use_lora peft", "write method.type: lora"),
    ("method.type", "lora", "write method.type: lora, and r, lora_alpha, ... beside it"),
    ("method.r", "lora_rank lora_r rank"),
    ("method.lora_alpha", "alpha"),
    ("method.target_modules", "lora_target lora_target_modules"),
    ("method.target_modules", "lora_target_linear", "write method.target_modules: all-linear"),
    ("method.use_dora", "peft_use_dora"),
    ("method.use_rslora", "peft_use_rslora"),
    ("method.lora_plus_ratio", "loraplus_lr_ratio lora_plus_lr_ratio"),
    ("method.layers_to_transform", "lora_layers_to_transform"),
    ("", "layers_pattern", "the list of layers is found by itself; method.layers_to_transform has their numbers"),
    ("method.rank_pattern", "lora_rank_pattern"),
    ("method.alpha_pattern", "lora_alpha_pattern"),
    ("method.modules_to_save", "lora_modules_to_save additional_target"),
    ("", "load_in_4bit load_in_8bit", "quantised training is not in this version"),
    ("model.attn_implementation", "use_flash_attention_2 flash_attention flash_attn", "write flash_attention_2"),
    ("model.attn_implementation", "attn_impl"),
    ("method.pooling", "pooling_strategy pooling_mode reduce_output"),
    ("", "tokenizer_name_or_path", "the tokenizer of model.name_or_path is used"),
    (
        "method.num_virtual_tokens",
        "num_soft_tokens soft_prompt_length prompt_length num_prompt_tokens num_prefix_tokens prefix_length "
        "pre_seq_len",
    ),
    ("method.prompt_tuning_init", "prompt_init"),
    ("method.prompt_tuning_init_text", "prompt_init_text init_text"),
    ("method.prompt_tuning_init", "initialize_from_vocab", "write method.prompt_tuning_init: vocab"),
    ("", "prefix_projection", "keys and values of a prefix are trained themselves, without a network before them"),
    ("", "num_transformer_submodules", "the prompt stands before what the encoder reads"),
    ("data.dataset_name", "dataset datasets dataset_path", "a file is data.train_file"),
    ("data.train_file", "data_path data_files train_data train_path training_file train_dataset"),
    ("data.validation_file", "valid_file val_file dev_file eval_file eval_dataset"),
    ("data.test_file", "predict_file"),
    ("data.dataset_config_name", "dataset_config"),
    ("data.train_split", "split"),
    ("data.validation_split", "valid_split val_split"),
    ("data.validation_size", "val_set_size val_size test_size"),
    ("data.validation_size", "validation_split_percentage", "a share: 10 % is 0.1"),
    ("data.text_column", "text_field dataset_text_field text_column_name text_column_names sentence1_key"),
    ("data.text_pair_column", "sentence2_key"),
    ("data.template", "prompt_template"),
    ("data.label_column", "label_field label_column_name"),
    ("data.label_names", "labels classes"),
    ("data.label_names", "id2label label2id", "a list of the labels in their order"),
    ("data.label_names", "num_labels", "the labels are counted; give them only to fix their order"),
    ("data.max_length", "max_seq_length max_seq_len cutoff_len sequence_len model_max_length block_size"),
    ("data.drop_duplicates", "deduplicate dedup remove_duplicates decontaminate"),
    ("data.max_train_samples", "max_samples"),
    ("data.max_eval_samples", "max_predict_samples"),
    ("data.delimiter", "sep separator"),
    ("data.quoting", "quote_char quotechar quote_character quote csv_quoting"),
    ("training.learning_rate", "lr"),
    ("training.num_train_epochs", "epochs num_epochs max_epochs n_epochs train_epochs"),
    ("training.max_steps", "steps max_train_steps max_steps_per_epoch"),
    ("training.per_device_train_batch_size", "batch_size train_batch_size micro_batch_size per_gpu_train_batch_size"),
    ("training.max_tokens_per_batch", "max_tokens batch_max_tokens tokens_per_batch"),
    ("training.gradient_accumulation_steps", "grad_accum gradient_accumulation"),
    ("training.optim", "optimizer"),
    ("training.lr_scheduler_type", "scheduler lr_scheduler"),
    ("training.lr_scheduler_kwargs", "lr_scheduler_args scheduler_kwargs scheduler_args"),
    ("training.warmup_steps", "warmup_ratio warmup num_warmup_steps", "a value below 1 is the share of all steps"),
    ("training.weight_decay", "wd"),
    ("training.max_grad_norm", "gradient_clipping max_norm"),
    ("training.label_smoothing_factor", "label_smoothing smoothing label_smoothing_eps"),
    ("training.eval_strategy", "evaluation_strategy"),
    (
        "training.eval_margin_of_error",
        "eval_rows eval_samples max_eval_rows eval_iters",
        "a width instead of a number of rows",
    ),
    ("training.eval_strategy", "do_eval", "the validation set is always scored"),
    ("training.eval_steps", "evals_per_epoch"),
    ("training.save_total_limit", "save_total"),
    ("training.save_steps", "save_every checkpointing_steps"),
    ("training.save_strategy", "saves_per_epoch"),
    ("training.early_stopping_patience", "patience"),
    ("training.refit", "refit_full retrain retrain_on_all train_on_all"),
    ("training.load_best_model_at_end", "load_best_model"),
    ("training.use_cpu", "no_cuda"),
    ("", "use_mps_device", "an accelerator that is there is used; training.use_cpu: true stays on the CPU"),
    ("training.use_cpu", "device", "an accelerator that is there is used"),
    ("training.seed", "random_seed random_state"),
    ("training.output_dir", "output output_path save_dir"),
    ("training.dataloader_num_workers", "num_workers"),
    ("training.gradient_checkpointing", "activation_checkpointing"),
    ("training.report_to", "use_wandb", "write training.report_to: wandb"),
    ("training.report_to", "wandb_project", "write training.report_to: wandb; the project is its own setting"),
    (
        "training.extra",
        "group_by_length",
        "write training.extra: {train_sampling_strategy: group_by_length} (full and lora)",
    ),
    ("", "overwrite_output_dir", "say --overwrite on the command line"),
    ("", "overwrite_cache", "the cache follows its inputs by itself"),
    ("", "resume_from_checkpoint", "say --resume on the command line"),
    ("", "logging_dir", "history.jsonl lies in the run directory; the tracker's files beside it"),
    ("", "do_train do_predict", "the command says what is done: ftkit train, ftkit predict"),
    ("", "save_safetensors", "weights are always saved as safetensors"),
    ("evaluation.metrics", "metric eval_metrics metric_name"),
    ("evaluation.positive_label", "pos_label"),
    ("evaluation.num_resamples", "bootstrap_samples"),
    (
        "training.early_stopping_patience",
        ".early_stopping model.early_stopping method.early_stopping data.early_stopping training.early_stopping "
        "evaluation.early_stopping",
        "the number of evaluations without a better score; generation.early_stopping is about beams",
    ),
)
"""Rows of today's key, what it is called elsewhere, and perhaps a note: what else has to change, or why there is no
such key, where it is empty. `section.key` is answered in that section only, where the word is a key of another one."""

TODAYS_SECTION: dict[str, str] = {
    **dict.fromkeys(("adapter", "finetuning", "lora", "peft"), "method"),
    **dict.fromkeys(("arguments", "hyperparameters", "hyperparams", "train", "trainer"), "training"),
    **dict.fromkeys(("training_args", "training_arguments"), "training"),
    **dict.fromkeys(("base", "model_args"), "model"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("eval", "metrics_config"), "evaluation"),
    **dict.fromkeys(("decoding", "generate", "generation_args"), "generation"),
    **dict.fromkeys(("generation_config", "generation_kwargs"), "generation"),
}
"""Old or foreign name of a section -> today's."""
