"""The `data` section of a recipe, and how long texts are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from ftkit.methods.section import Section
from ftkit.recipe.sources.section import Delimiter, Files, Quoting, SourceSpec, entries_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SPLIT_NAMES = ("train", "validation", "test")
FILE_KEYS = tuple(f"{split}_file" for split in SPLIT_NAMES)
"""Keys of the data section that name files, in the order of the splits."""
OnBadRow = Literal["error", "skip"]
"""What becomes of a row that cannot be used: it ends the command, or is left out and said."""


LongTextsKind = Literal["cut", "windows", "head_and_tail"]
HEAD_SHARE = (128, 510)
"""Tokens of the beginning, of all that are kept: the best of the splits that Sun et al. 2019 tried."""


@dataclass(frozen=True)
class LongTexts:
    """How long texts are read.

    Attributes:
        kind: `cut` keeps the beginning, `windows` reads all in pieces that overlap, `head_and_tail` keeps the
            beginning and the end.
        stride: tokens that neighbouring windows share, as the `stride` of Hugging Face's tokenizers; of windows alone.

    Source: of head_and_tail Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?", section 5.3.1.
    """

    kind: LongTextsKind = "cut"
    stride: int = 0

    @property
    def in_words(self) -> str:
        """The same in a few words."""
        if self.kind == "windows":
            return f"windows that share {self.stride:,} tokens"
        return {"cut": "cut", "head_and_tail": "the beginning and the end"}[self.kind]

    def num_windows(
        self, lengths: npt.NDArray[np.int64], *, max_length: int, num_special: int
    ) -> npt.NDArray[np.int64]:
        """Pieces in which texts are read (N,).

        Args:
            lengths: tokens of each, special ones included (N,).
            max_length: tokens of a piece, special ones included.
            num_special: special tokens around a text, which stand around each piece.
        """
        advance = max(1, max_length - num_special - self.stride)
        more = -(-(lengths - max_length) // advance) if self.kind == "windows" else 0 * lengths
        return 1 + more.clip(min=0)

    def parts(self, length: int, *, room: int) -> list[tuple[int, int]]:
        """Where the pieces of a text begin and end, or the parts of it that are kept, special tokens left out.

        Args:
            length: tokens of the text, more than fit.
            room: tokens that fit.

        Example:
            >>> LongTexts("windows", stride=2).parts(11, room=5)
            [(0, 5), (3, 8), (6, 11)]
            >>> LongTexts("head_and_tail").parts(11, room=5)
            [(0, 1), (7, 11)]
        """
        if self.kind == "windows":
            advance = room - self.stride
            return [(start, min(length, start + room)) for start in range(0, length - room + advance, advance)]
        head = room * HEAD_SHARE[0] // HEAD_SHARE[1]
        return [(0, head), (length - (room - head), length)]


CUT = LongTexts()
"""The beginning is kept."""


class DataSpec(Section):
    """Where the examples come from and which columns hold what: the keys that every task reads.

    Attributes:
        source_class: of the entries of a list of files.
    """

    source_class: ClassVar[type[SourceSpec]] = SourceSpec

    train_file: Files = None
    """CSV, TSV, JSON, JSONL, Parquet or text file, relative to the recipe; may be compressed (.csv.gz, .zst, .bz2, .xz,
    .zip). A spreadsheet (.xlsx, .xls, .ods; needs `pip install 'ftkit[excel]'`) or a SQLite database (.db, .sqlite). Or
    a folder with a sub-folder a class, and a text a file (`pos/1.txt`): columns text, label and file. Or a list of
    sources: a file each, or keys of its own. A URL (https, hf, s3, ...) is fetched once for each version."""

    validation_file: Files = None
    """Examples for choosing the best checkpoint, or a list of sources of them. Without any, part of the training set is
    split off."""

    test_file: Files = None
    """Examples looked at once, at the end, or a list of sources of them."""

    dataset_name: str | None = None
    """Instead of files: a hub data set, `builtin:NAME`, or a folder that holds train, validation and test files, or
    sub-folders of these names with files or classes in them, or a hub data set that was cloned."""

    dataset_config_name: str | None = None
    """Configuration of a hub data set, or of a clone of one."""

    train_split: str = "train"
    """Name of the training split of a data set."""

    validation_split: str | None = None
    """Name of the validation split; found by its usual names when absent."""

    test_split: str | None = None
    """Name of the test split; found by its usual name when absent."""

    validation_size: float = Field(default=0.1, ge=0.0)
    """Split off when there is no validation set: a share below 1, or a number of rows. 0 trains on everything: the last
    step is kept, and whether the model is underfit or overfit cannot be told."""

    text_column: str | None = None
    """Column of the text; found when exactly one column looks like it."""

    max_length: int | None = Field(default=None, ge=4)
    """Tokens kept of each example, special tokens included; longer documents of a language model are cut into pieces of
    that length. Default: what the model allows, at most 512 (classification), 1,024 (causal_lm), or 1,024 of each
    source (seq2seq)."""

    add_tokens: list[str] | None = Field(default=None, min_length=1)
    """Tokens that the base's vocabulary lacks, such as tags: each is one token of the texts. Their embeddings are new
    rows, which method full trains, and lora where embeddings and output head are two matrices."""

    add_special_tokens: list[str] | None = Field(default=None, min_length=1)
    """The same as special tokens: they stand for no text, unless they stand in the targets' own."""

    drop_duplicates: bool = False
    """Leave out training rows that repeat an earlier one, or that stand in validation or test, but for case, spacing
    and Unicode form."""

    max_train_samples: int | None = Field(default=None, ge=1)
    """Use only that many training rows, drawn with the seed."""

    max_eval_samples: int | None = Field(default=None, ge=1)
    """Use only that many validation and test rows each, drawn with the seed."""

    encoding: str = "utf-8"
    """Encoding of text files, as Python names it (`cp1252`, `latin-1`, `utf-16`)."""

    delimiter: Delimiter | None = None
    """Field separator of a CSV file. Default: comma, or tab for .tsv."""

    example_in_card: bool = False
    """Show a row of the validation set in the card of the model, and offer it as an example on the hub's page."""

    table: str | None = Field(default=None, min_length=1)
    """Sheet of a spreadsheet, or table or query (`SELECT text, label FROM ...`) of a SQLite database, in every file
    that is named. Default: the only one."""

    quoting: Quoting = "minimal"
    """Of a CSV or TSV file. `minimal`: a field in double quotes may hold separators and line ends. `none`: quotes are
    letters like any other."""

    on_bad_row: OnBadRow = "error"
    """`error`: the first broken rows stop the run and are shown. `skip`: they are left out, counted and
    listed in the run."""

    def entries(self, key: str) -> list[SourceSpec]:
        """The sources that a key of files lists; none where it names one file, or nothing."""
        return entries_of(getattr(self, key), self.source_class)

    @property
    def lists_sources(self) -> bool:
        """Whether a key of files is a list."""
        return any(self.entries(key) for key in FILE_KEYS)

    @property
    def holds_nothing_out(self) -> bool:
        """Whether every row is learnt, as far as the recipe knows: a data set may have a validation split."""
        return self.validation_size == 0 and self.validation_file is None and self.validation_split is None

    @property
    def is_weighted(self) -> bool:
        """Whether the sources of the training set are mixed by weight."""
        return any(entry.weight is not None for entry in self.entries("train_file"))

    def of_source(self, source: SourceSpec) -> Self:
        """The section as it counts for one of several sources, which is its training set."""
        given = source.given
        dropped = dict.fromkeys(source.forms) if given.keys() & set(source.forms) else {}
        changes: dict[str, Any] = {
            **dict.fromkeys(("validation_file", "test_file", "validation_split", "test_split")),
            "train_file": source.file,
            "dataset_name": source.dataset_name,
            "dataset_config_name": source.dataset_config_name,
            "train_split": source.split or "train",
        }
        return self.model_copy(update={**changes, **dropped, **given})

    def has_labels(self) -> bool:
        """Whether labels are learnt."""
        return False

    def separator(self) -> str | None:
        """What stands between the documents of a text file; None where such a file is one."""
        return None

    def columns_of_texts(self) -> tuple[str | None, str | None]:
        """Column of the text, and of a second one where there are pairs."""
        return self.text_column, None

    def column_of_prompts(self) -> str | None:
        """Column of a file of prompts that is read where it is there."""
        return self.text_column

    def reads_long_texts(self, max_length: int) -> LongTexts:  # noqa: ARG002
        """What becomes of texts that are longer than max_length tokens."""
        return CUT

    def scores_out_of_fold(self) -> bool:
        """Whether training rows are their own validation set, where there is no other."""
        return False
