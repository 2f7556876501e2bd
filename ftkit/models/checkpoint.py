"""What can be known of a checkpoint from its files alone, without torch or transformers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE
from ftkit.models.download import TOKENIZER_FILES, has_tokenizer
from ftkit.models.positions import TextSide, positions_of
from ftkit.models.reading.plausible import CHECKPOINT_KINDS, read_modules
from ftkit.storage import read_json_object, sha256_file, sha256_texts

PoolingKind = Literal["cls", "mean", "max", "first_token"]

LONGEST_DEFAULT, LONGEST_WRITTEN = 512, 1_024
"""Tokens kept of an example, and of one that is learnt token by token, when nothing asks for fewer."""

COUNTS_DISTANCES = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
"""Architectures whose positions are distances between tokens: their texts may be of any length."""

OWN_LENGTH = "base_model_max_length"
"""Beside model_max_length in tokenizer_config.json, where that is the length at which a run cut: the base's own."""

LABELS_FILE = "label_names.json"
"""Beside an adapter or a pooled head, which have no config.json: num_labels, id2label and label2id as that has them."""

MODULES_FILE = "modules.json"
"""What makes a folder one of sentence-transformers."""


@dataclass(frozen=True)
class Pooling:
    """How token vectors become the one vector that the head reads.

    Attributes:
        kind: `cls` is the architecture's own classification head; the others are followed by one linear layer.
        normalize: divide the pooled vector by its Euclidean norm, as some sentence-transformers checkpoints do.
    """

    kind: PoolingKind
    normalize: bool = False

    @property
    def tokens(self) -> Literal["first", "mean", "max"]:
        """What is kept of the last hidden states."""
        return "first" if self.kind in ("cls", "first_token") else self.kind  # type: ignore[return-value]

    def __str__(self) -> str:
        return f"{self.kind}, normalised" if self.normalize else self.kind


class NewTokens(NamedTuple):
    """Tokens that a run adds to the vocabulary of its base."""

    plain: tuple[str, ...] = ()
    special: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A local checkpoint folder.

    Attributes:
        name: as the recipe writes it.
        from_hub: the name is a hub id, and the files are as the hub has them.
        note: what was done to get it and should be said.
        new_tokens: that its tokenizer gets when it is loaded, and its model rows for.
        adapter: folder of the adapter that is gone on with on it; its tokenizer and its labels are meant, where it
            has some.
    """

    name: str
    folder: Path
    from_hub: bool = False
    note: str | None = None
    new_tokens: NewTokens = field(default_factory=NewTokens)
    adapter: Path | None = None

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer lies: beside the adapter that is gone on with, where that has one."""
        if self.adapter is not None and has_tokenizer(self.adapter):
            return self.adapter
        return self.folder

    @property
    def base_name(self) -> str:
        """The name under which an adapter finds its base again: a hub id, or the absolute folder of anything else."""
        return self.name if self.from_hub else str(self.folder.absolute())

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json; empty for the folder of an adapter or of modules, which has none."""
        parts = (self.folder / ADAPTER_FILE, self.folder / MODULES_FILE)
        return self._json("config.json", missing_ok=any(part.is_file() for part in parts))

    @cached_property
    def labels(self) -> dict[str, str]:
        """id2label, of the configuration or of the file beside an adapter; empty for what is no classifier.

        transformers leaves the names of a classifier of two labels out when they are its own LABEL_0 and LABEL_1.
        """
        names = (self._json(LABELS_FILE, missing_ok=True) or self.config).get("id2label") or {}
        if any(str(index) not in names for index in range(len(names))):
            raise UserError(
                f"id2label of {self.name} does not name its labels 0 to {len(names) - 1}", where=str(self.folder)
            )
        if names:
            return {index: str(name) for index, name in names.items()}
        return {"0": "LABEL_0", "1": "LABEL_1"} if self._has_classification_head else {}

    @property
    def head_labels(self) -> tuple[str, ...]:
        """Names of the rows of its own classification head, in their order; none where it brings no such head."""
        if self.adapter is not None:
            labels = Checkpoint(str(self.adapter), self.adapter).labels
            return tuple(labels[str(index)] for index in range(len(labels)))
        if not self._has_classification_head:
            return ()
        return tuple(str(self.labels[index]) for index in sorted(self.labels, key=lambda index: (len(index), index)))

    @property
    def is_classifier(self) -> bool:
        """Whether the folder holds a finetuned classifier: a whole one, an adapter's, or a pooled head."""
        beside = (self.folder / LABELS_FILE).is_file()
        pooled = (self.folder / MODULES_FILE).is_file() and bool(self.labels)
        return beside or pooled or self._has_classification_head

    @property
    def _has_classification_head(self) -> bool:
        return str(self.config.get("architectures")).endswith("ForSequenceClassification']")

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files, sorted by name."""
        return sorted(self.folder.glob("*.safetensors"))

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the configuration and every weight file."""
        return sha256_texts([sha256_file(path) for path in (self.folder / "config.json", *self.weight_files)])

    @cached_property
    def tokenizer_hash(self) -> str:
        """SHA-256 over the names and bytes of the tokenizer's files."""
        folder = self.tokenizer_folder
        present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
        return sha256_texts([f"{name} {sha256_file(folder / name)}" for name in present])

    def max_length(self, asked: int | None, *, pooling: Pooling | None = None, longest: int = LONGEST_DEFAULT) -> int:
        """Tokens kept of each example: `data.max_length` where it is asked, else at most `longest`.

        With a pooling of the checkpoint's own, the length in its sentence-transformers files counts too.

        Raises:
            UserError: more was asked than the checkpoint has positions for.
        """
        limit = self.position_limit
        if asked is not None:
            if limit is not None and asked > limit and not self.counts_distances:
                raise UserError(
                    f"data.max_length is {asked}, but {self.name} has positions for {limit} tokens",
                    fix=f"set data.max_length to at most {limit}",
                )
            return asked
        wishes = [longest, limit]
        if pooling is not None and pooling.kind != "cls":
            wishes.append(self._json("sentence_bert_config.json", missing_ok=True).get("max_seq_length"))
        return min(wish for wish in wishes if wish)

    def own_pooling(self) -> Pooling | None:
        """The pooling that the checkpoint's sentence-transformers files name; None where it has none.

        Raises:
            UserError: they name a pooling that ftkit does not do.
        """
        if not (self.folder / MODULES_FILE).is_file():
            return None
        kinds = {str(module["type"]).rsplit(".", 1)[-1]: str(module["path"]) for module in self.modules}
        if "Pooling" not in kinds:
            return None
        kind = _pooling_kind(self._json(f"{kinds['Pooling']}/config.json"))
        if kind is None:
            raise UserError(
                f"{self.name} pools in a way that ftkit does not do ({kinds['Pooling']}/config.json)",
                fix="set method.pooling to cls, mean, max or first_token",
            )
        return Pooling(kind, normalize="Normalize" in kinds)

    @property
    def modules(self) -> list[dict[str, Any]]:
        """As `read_modules`."""
        return read_modules(self.folder / MODULES_FILE)

    @property
    def counts_distances(self) -> bool:
        """Whether its positions are distances between tokens, so that a text may be longer than it was trained on."""
        return self.config.get("model_type") in COUNTS_DISTANCES

    @property
    def position_limit(self) -> int | None:
        """Tokens that the checkpoint has positions for, or its tokenizer allows; None when neither says."""
        return self._limit("source")

    @property
    def target_limit(self) -> int | None:
        """As `position_limit`, of what a decoder writes where an encoder reads."""
        return self._limit("target")

    def _limit(self, side: TextSide) -> int | None:
        tokenizer = self._json("tokenizer_config.json", missing_ok=True)
        declared = tokenizer.get(OWN_LENGTH, tokenizer.get("model_max_length"))
        limits = [positions_of(self.config, side=side)]
        if isinstance(declared, int | float) and 0 < declared < 1_000_000:
            limits.append(int(declared))
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def trained_length(self) -> int | None:
        """Tokens at which a run that made this checkpoint cut its examples, where it says; else `position_limit`."""
        tokenizer = self._json("tokenizer_config.json", missing_ok=True)
        length = tokenizer.get("model_max_length")
        if OWN_LENGTH in tokenizer and isinstance(length, int | float) and 1 <= length < 2**31:
            return int(length)
        return self.position_limit

    def _json(self, name: str, *, missing_ok: bool = False) -> dict[str, Any]:
        path = self.folder / name
        return {} if missing_ok and not path.exists() else read_json_object(path, CHECKPOINT_KINDS)


def cut_as_trained(tokenizer: Any, max_length: int) -> None:
    """Let whoever loads a tokenizer cut where a run did; the base's own limit is kept beside, for a second stage."""
    tokenizer.init_kwargs.setdefault(OWN_LENGTH, tokenizer.model_max_length)
    tokenizer.model_max_length = max_length


def _pooling_kind(config: dict[str, Any]) -> PoolingKind | None:
    names: dict[str, PoolingKind] = {"cls": "first_token", "mean": "mean", "max": "max"}
    mode = config.get("pooling_mode")
    if isinstance(mode, str):
        return names.get(mode)
    active = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    legacy = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}
    return names.get(legacy.get(active[0], "")) if len(active) == 1 else None


def resolve_pooling(checkpoint: Checkpoint, asked: str) -> Pooling:
    """What `method.pooling` means for a checkpoint.

    `auto` follows the checkpoint's own sentence-transformers files where it has them, else it is `cls`. A named
    pooling that is also the checkpoint's own keeps the normalisation that belongs to it.

    Raises:
        UserError: the checkpoint is an encoder with a decoder, or its own pooling is one that ftkit does not do.
    """
    if checkpoint.config.get("is_encoder_decoder"):
        raise UserError(
            f"{checkpoint.name} is an encoder with a decoder, whose classification head reads the decoder",
            fix="set method.type to full or lora, or name an encoder",
        )
    if asked == "auto":
        return checkpoint.own_pooling() or Pooling("cls")
    try:
        own = checkpoint.own_pooling()
    except UserError:
        own = None
    return own if own is not None and own.kind == asked else Pooling(asked)  # type: ignore[arg-type]
