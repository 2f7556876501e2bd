"""Which columns hold the source that an encoder reads, the target that a decoder writes, and further references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ftkit.data.columns.labelled import LABEL_NAMES
from ftkit.data.columns.names import SAMPLE_ROWS, columns_of, is_scalar, listing, mostly

TARGETS_OF_SOURCE: dict[str, tuple[str, ...]] = {
    "source": ("target",),
    "src": ("tgt", "trg", "target"),
    "article": ("highlights", "summary", "abstract", "headline"),
    "document": ("summary", "abstract", "highlights"),
    "dialogue": ("summary",),
    "dialog": ("summary",),
    "transcript": ("summary",),
    "text": ("summary", "abstract", "highlights", "target"),
    "content": ("summary", "abstract", "highlights"),
    "body": ("summary", "abstract", "highlights"),
    "question": ("answer", "response", "output", "target"),
    "query": ("answer", "response", "output", "target"),
    "instruction": ("output", "response", "completion", "target"),
    "inputs": ("targets", "outputs", "target", "output"),
    "input": ("output", "target", "response"),
    "prompt": ("completion", "response", "output", "target"),
    "signature": ("docstring", "description", "summary"),
    "code": ("docstring", "comment", "summary"),
    "original": ("simplified", "corrected", "paraphrase"),
    "incorrect": ("correct",),
}
"""Usual name of a source column -> those of its target, the likeliest first."""
ONE_TEXT_EACH = "write a row for each text; lists of answers that are all right are references beside a target"
_TARGETS = {name for names in TARGETS_OF_SOURCE.values() for name in names}
REFERENCES_NAMES = ("references", "refs", "targets", "answers")
"""Usual names of a column of lists of texts that are all right."""
PASSAGE_NAMES = ("input", "context", "passage")
"""Usual names of a column with what a source is about; a template can have both."""
_CODES = (
    "af am ar az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu ha he hi hr hu hy id ig is it ja ka kk"
    " km kn ko ky la lb lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn no ny or pa pl ps pt ro ru rw sd si sk sl sn so"
    " sq sr st su sv sw ta te tg th tk tl tr tt uk ur uz vi xh yi yo zh zu"
)
_NAMES = (
    "arabic chinese czech danish dutch english finnish french german greek hebrew hindi hungarian italian japanese"
    " korean norwegian polish portuguese romanian russian spanish swedish turkish ukrainian vietnamese"
)
LANGUAGES = frozenset(_CODES.split()) | frozenset(_NAMES.split())
"""Codes of ISO 639-1, and names, of languages that files of translations use."""


@dataclass(frozen=True)
class PairColumns:
    """What was found: source and target both, or neither; `a.b` is key b of the objects in column a.

    Attributes:
        references: column of lists of texts, each of them right.
        notes: how they were found and what is left unused, one sentence each.
        candidates: columns that could be source or target, where no choice was made.
        lists: columns that are called as a target is and hold lists of texts, where no choice was made.
    """

    source: str | None = None
    target: str | None = None
    references: str | None = None
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    @property
    def languages(self) -> bool:
        """Whether the candidates are a text and its translation, which do not tell what is translated into what."""
        return len(self.candidates) == 2 and all(_is_language(name) for name in self.candidates)


def guess_pair_columns(rows: Sequence[Mapping[str, object]]) -> PairColumns:
    """Find source and target by their names, else as the only two columns of text, in their order. Never raises.

    Two columns that are called as languages are (`de` and `en`, or keys of the objects in a column `translation`) do
    not tell which is translated into which: they are candidates, unless columns source_lang and target_lang say it.
    The first 200 rows are looked at.

    Example:
        >>> guess_pair_columns([{"id": 7, "dialogue": "A: Hello! B: Hi.", "summary": "They meet."}]).notes
        ('source column `dialogue` and target column `summary`, found by their names',)
        >>> guess_pair_columns([{"translation": {"de": "Guten Tag", "en": "Good day"}}]).candidates
        ('translation.de', 'translation.en')
    """
    columns = _columns(rows[:SAMPLE_ROWS])
    texts = _texts(columns)
    references = next((name for name in columns if _is_references(name, columns[name])), None)
    found = _by_name(texts) or _by_language(texts, columns) or _by_content(texts)
    if found.source is None:
        lists = (name for name, values in columns.items() if _word(name) in _TARGETS and mostly(values, _is_texts))
        return replace(found, lists=tuple(lists))
    if references is None:
        return found
    note = f"references column `{references}`, found by its name"
    return PairColumns(found.source, found.target, references, (*found.notes, note))


def pair_by_name(rows: Sequence[Mapping[str, object]]) -> PairColumns | None:
    """Source and target where usual names tell them, without a look at anything else; None where they do not."""
    return _by_name(_texts(_columns(rows[:SAMPLE_ROWS])))


def describe_unclear(columns: Sequence[str], found: PairColumns) -> str:
    """One sentence on why nothing was found, for a message."""
    if found.languages:
        return f"{found.candidates[0]} and {found.candidates[1]} do not tell which is translated into which"
    if len(found.candidates) > 1:
        return f"more than two columns could be source and target: {listing(found.candidates)}"
    if found.lists:
        return f"column `{found.lists[0]}` holds lists of texts, and a target is one text"
    return f"no two columns are clearly source and target (columns: {listing(columns)})"


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Column -> its values; a column of objects counts as one column for each of their keys."""
    found: dict[str, list[object]] = {}
    for name in columns_of(rows):
        values = [row.get(name) for row in rows]
        # braces would break a template
        if set("{}") & set(name):
            continue
        objects = [value for value in values if isinstance(value, Mapping)]
        if len(objects) < 0.5 * len(values):
            found[name] = values
            continue
        keys = dict.fromkeys(key for value in objects for key in value if isinstance(key, str))
        inside = {f"{name}.{key}": [value.get(key) for value in objects] for key in keys if not set("{}.") & set(key)}
        found |= {name: values for name, values in inside.items() if name not in found}
    return found


def _texts(columns: Mapping[str, list[object]]) -> dict[str, list[object]]:
    return {name: values for name, values in columns.items() if mostly(values, is_scalar)}


def _by_name(texts: Mapping[str, list[object]]) -> PairColumns | None:
    by_word: dict[str, str] = {}
    for name in texts:
        by_word.setdefault(_word(name), name)
    for source, targets in TARGETS_OF_SOURCE.items():
        target = next((name for name in targets if name in by_word), None)
        if source not in by_word or target is None:
            continue
        names = by_word[source], by_word[target]
        note = f"source column `{names[0]}` and target column `{names[1]}`, found by their names"
        context = [by_word[name] for name in PASSAGE_NAMES if name in by_word and by_word[name] not in names]
        left = next((name for name in context if any(str(value or "").strip() for value in texts[name])), None)
        unused = () if left is None else (f"column `{left}` is left unused; a data.template can have it in the source",)
        return PairColumns(*names, notes=(note, *unused))
    return None


def _by_language(texts: Mapping[str, list[object]], columns: Mapping[str, list[object]]) -> PairColumns | None:
    # nearly every `id` is a number of a row and not Indonesian
    languages = [name for name in texts if _is_language(name) and (_word(name) != "id" or _has_spaces(texts[name]))]
    if len(languages) != 2:
        return None
    said = [_only_value(columns, f"{side}_lang") for side in ("source", "target")]
    source, target = (next((name for name in languages if _code(name) == word), None) for word in said)
    if source is None or target is None or source == target:
        return PairColumns(candidates=tuple(languages))
    note = f"source column `{source}` and target column `{target}`, as source_lang and target_lang say"
    return PairColumns(source, target, notes=(note,))


def _by_content(texts: Mapping[str, list[object]]) -> PairColumns:
    """The only two columns of strings, else the only two of strings with spaces; a label is no text to be written."""
    strings = [
        name
        for name, values in texts.items()
        if mostly(values, lambda value: isinstance(value, str)) and not _is_label(name)
    ]
    spaced = [name for name in strings if _has_spaces(texts[name])]
    for names in (strings, spaced):
        if len(names) == 2:
            source, target = names
            note = f"source column `{source}` and target column `{target}`, the only two texts, in their order"
            return PairColumns(source, target, notes=(note,))
    return PairColumns(candidates=tuple(spaced if len(spaced) > 2 else strings))


def _is_references(name: str, values: Sequence[object]) -> bool:
    return _word(name) in REFERENCES_NAMES and mostly(values, _is_texts)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_label(name: str) -> bool:
    return _word(name) in LABEL_NAMES and _word(name) != "target"


def _is_language(name: str) -> bool:
    return _code(name) in LANGUAGES


def _code(name: str) -> str:
    """`de` of `de`, `de_DE`, `sentence_de` and `translation.de`."""
    first, _, last = _word(name).partition("_")
    return last if last in LANGUAGES and first in ("sentence", "text") else first


def _word(name: str) -> str:
    """A column's name as the tables above have it: `Input Text` and `data.input` as input."""
    word = name.strip().lower().rpartition(".")[2].replace("-", "_").replace(" ", "_")
    return word.removesuffix("_text") or word


def _only_value(columns: Mapping[str, list[object]], name: str) -> str | None:
    """The code of a language that all rows have in a column, or None."""
    values = {_code(value) if isinstance(value, str) else "" for value in columns.get(name, ())}
    return values.pop() if len(values) == 1 else None


def _has_spaces(values: Sequence[object]) -> bool:
    return mostly(values, lambda value: isinstance(value, str) and " " in value.strip())
