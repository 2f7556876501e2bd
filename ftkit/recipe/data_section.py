"""The `data` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftkit.methods.section import Section


class DataSpec(Section):
    """Where the examples come from and which columns hold what."""

    train_file: str | None = None
    """CSV, TSV, JSON, JSONL, Parquet or text file, relative to the recipe."""

    validation_file: str | None = None
    """Examples for choosing the best checkpoint. Without any, part of the training set is split off."""

    test_file: str | None = None
    """Examples looked at once, at the end."""

    dataset_name: str | None = None
    """Instead of files: a hub data set, `builtin:NAME`, or a folder that holds train, validation and test files."""

    dataset_config_name: str | None = None
    """Configuration of a hub data set."""

    train_split: str = "train"
    """Name of the training split of a data set."""

    validation_split: str | None = None
    """Name of the validation split; found by its usual names when absent."""

    test_split: str | None = None
    """Name of the test split; found by its usual name when absent."""

    validation_size: float = Field(default=0.1, gt=0.0)
    """Split off when there is no validation set: a share below 1, or a number of rows."""

    text_column: str | None = None
    """Column of the text; found when exactly one column looks like it (task seq2seq: of a text with a label)."""

    prompt_column: str | None = None
    """Column of what the model is given (task causal_lm); with completion_column it is short for a template."""

    completion_column: str | None = None
    """Column of what the model is to answer (task causal_lm)."""

    messages_column: str | None = None
    """Column of chats (task causal_lm): lists of {role, content}; the assistant's turns are learnt."""

    source_column: str | None = None
    """Column of what the encoder reads (task seq2seq); with target_column it is short for a template. `a.b` is key b
    of the objects in column a."""

    target_column: str | None = None
    """Column of what the decoder is to write (task seq2seq)."""

    references_column: str | None = None
    """Column of lists of texts, each of them right, that outputs are measured against instead of the target (task
    seq2seq). Without it the targets of all rows with one source are its references."""

    source_prefix: str | None = Field(default=None, min_length=1)
    """Text before every source (task seq2seq), such as "summarize: ": T5 tells its tasks by it."""

    labels_as_text: bool = False
    """Write the names of labels as targets (task seq2seq): a data set for classification, with text_column and
    label_column, is learnt as text to text."""

    template: str | None = Field(default=None, min_length=1)
    """Text made of columns (tasks causal_lm and seq2seq), such as "Question: {question}\\nAnswer:<learn> {answer}":
    what follows <learn> is learnt, without it everything is. `ftkit generate` sends the same text up to <learn>. Task
    seq2seq: the encoder reads what stands before <learn>, which has to be there."""

    chat_template: str | None = Field(default=None, min_length=1)
    """How chats become text (task causal_lm): `plain` (words only, for bases that were never taught to chat), `chatml`,
    or a .jinja file. Default: the tokenizer's own."""

    completion_only_loss: bool = True
    """Learn completions and assistants' turns only, not what they answer (task causal_lm)."""

    packing: bool | Literal["auto"] = "auto"
    """Lay documents end to end instead of padding them (task causal_lm); attention never crosses from one into the
    next. `auto`: wherever that is shown to leave the model's outputs as they are."""

    document_separator: str | None = Field(default=None, min_length=1)
    """What stands between the documents of a text file, such as "\\n\\n" or "<|endoftext|>" (task causal_lm). Default:
    a text file is one document."""

    text_pair_column: str | None = None
    """Column of the second text, for tasks on pairs (entailment, paraphrase)."""

    label_column: str | None = None
    """Column of the label; found when exactly one column looks like it."""

    label_names: list[str | int] | None = None
    """The labels in the order they get in the model. Default: sorted as they occur in the training set."""

    max_length: int | None = Field(default=None, ge=4)
    """Tokens kept of each example, special tokens included; longer documents of a language model are cut into pieces of
    that length. Default: what the model allows, at most 512 (classification), 1,024 (causal_lm), or 1,024 of each
    source (seq2seq)."""

    max_target_length: int | None = Field(default=None, ge=2)
    """Tokens kept of each target, special tokens included (task seq2seq). Default: what the model allows, at most
    1,024."""

    drop_duplicates: bool = False
    """Leave out training rows that repeat an earlier one, or that stand in validation or test, but for case, spacing
    and Unicode form."""

    max_train_samples: int | None = Field(default=None, ge=1)
    """Use only that many training rows, drawn with the seed."""

    max_eval_samples: int | None = Field(default=None, ge=1)
    """Use only that many validation and test rows each, drawn with the seed."""

    encoding: str = "utf-8"
    """Encoding of text files, as Python names it (`cp1252`, `latin-1`, `utf-16`)."""

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Field separator of a CSV file. Default: comma, or tab for .tsv."""

    on_bad_row: Literal["error", "skip"] = "error"
    """`error`: the first broken rows stop the run and are shown. `skip`: they are left out, counted and
    listed in the run."""
