"""training.extra: which fields of TrainingArguments a run bears beside its own keys, and why not others."""

from __future__ import annotations

_FREE = """
    optim_args adam_beta1 adam_beta2 adam_epsilon optim_target_modules neftune_noise_alpha
    activation_checkpointing_kwargs gradient_checkpointing_kwargs full_determinism tf32 torch_empty_cache_steps
    torch_compile torch_compile_backend torch_compile_mode average_tokens_across_devices
    logging_first_step log_on_each_node include_num_input_tokens_seen log_level log_level_replica skip_memory_metrics
    run_name project trackio_space_id trackio_bucket_id trackio_static_space_id
    train_sampling_strategy dataloader_drop_last dataloader_pin_memory dataloader_persistent_workers
    dataloader_prefetch_factor dataloader_multiprocessing_context data_seed
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout
"""
FREE = frozenset(_FREE.split())
"""How the optimizer steps, what is logged, and how batches reach the device: a run keeps its promises under them."""

_SAVED = "checkpoints are sealed and gone on from by ftkit, which --resume relies on"
_MEASURED = "the validation set is scored by ftkit, at the evaluations that the recipe names"
_SENT = "nothing is sent to the hub while a run trains; the finished model is uploaded with `hf upload`"
_PLACED = "where a model lies is chosen by ftkit, one process to an accelerator"
_COMPUTED = "batches, loss and model are ftkit's own, which it would not fit"

REFUSED: dict[str, str] = {
    name: reason
    for reason, names in {
        _SAVED: "save_only_model save_on_each_node enable_jit_checkpoint ignore_data_skip "
        "restore_callback_states_from_checkpoint resume_from_checkpoint",
        _MEASURED: "eval_delay eval_on_start eval_accumulation_steps eval_do_concat_batches eval_use_gather_object "
        "batch_eval_metrics include_for_metrics prediction_loss_only per_device_eval_batch_size bf16_full_eval "
        "fp16_full_eval greater_is_better do_train do_eval do_predict",
        _SENT: "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision",
        _PLACED: "fsdp fsdp_config deepspeed parallelism_config accelerator_config local_rank",
        _COMPUTED: "use_liger_kernel liger_kernel_config use_cache remove_unused_columns label_names "
        "length_column_name dataloader_in_order debug",
        "a loss that is no number has to stop the run": "logging_nan_inf_filter",
        "training losses are logged by steps: training.logging_steps": "logging_strategy",
        "progress is ftkit's own": "disable_tqdm",
    }.items()
    for name in names.split()
}
"""Field -> why it would break what a run promises, or would be passed over."""
