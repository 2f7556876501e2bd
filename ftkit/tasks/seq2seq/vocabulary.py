"""What the keys of task seq2seq are called elsewhere."""

from __future__ import annotations

from ftkit.recipe.generative import GENERATION_WORDS

SEQ2SEQ_WORDS: tuple[tuple[str, ...], ...] = (
    ("data.max_length", "max_source_length source_max_length max_source_len source_len max_input_length"),
    (
        "data.source_column",
        "source src src_column source_text source_field input_column document_column article_column dialogue_column",
    ),
    ("data.target_column", "target tgt tgt_column target_text target_field summary_column summary answer_column"),
    ("data.template", "question_column context_column", "a template can have question and context before <learn>"),
    ("data.references_column", "references refs_column"),
    ("data.source_language", "source_lang src_lang src_language from_lang"),
    ("data.target_language", "target_lang tgt_lang tgt_language to_lang forced_bos_token_id forced_bos_token lang"),
    ("data.source_prefix", "prefix task_prefix input_prefix"),
    ("data.max_target_length", "max_target_len target_max_length target_max_len"),
    (
        "data.max_target_length",
        "val_max_target_length max_output_length max_answer_length",
        "outputs are limited by generation.max_new_tokens",
    ),
    ("", "pad_to_max_length", "a batch is padded to its longest example"),
    ("", "ignore_pad_token_for_loss", "padding is never learnt"),
    ("", "sortish_sampler", "examples of like length share a batch already"),
    ("", "predict_with_generate include_generation", "outputs are always generated at the end"),
    ("", "num_return_sequences", "each source gets one output"),
    *GENERATION_WORDS,
)
"""Rows of a key, what it is called elsewhere, and perhaps a note."""
