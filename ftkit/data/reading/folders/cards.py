"""The card of a data set that was cloned from the hub: which files belong to which split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from ftkit.data.columns.names import listing
from ftkit.data.reading.paths import shown_path
from ftkit.errors import UserError

_MOST_BYTES = 1 << 20


def declared_files(folder: Path, config: str | None) -> dict[str, list[Path]] | None:
    """The files of each split, as `configs` of the folder's README.md has them; None where it has none.

    Args:
        folder: a clone.
        config: name of a configuration; None: the default, or the only one.

    Raises:
        UserError: no such configuration, several and none is the default, or files that are not there.
    """
    card = folder / "README.md"
    configs = [entry for entry in _configs(card) if entry.get("data_files")]
    if not configs:
        if config is not None:
            fix = "leave data.dataset_config_name out"
            raise UserError("no README.md here names configurations", where=shown_path(folder), fix=fix)
        return None
    chosen = _chosen(configs, config, card)
    entries = chosen["data_files"]
    if isinstance(entries, str | Mapping):
        entries = [entries]
    splits: dict[str, list[Path]] = {}
    for entry in entries:
        split, paths = (entry.get("split"), entry.get("path")) if isinstance(entry, Mapping) else ("train", entry)
        for pattern in [paths] if isinstance(paths, str) else paths or ():
            splits.setdefault(str(split), []).extend(_matching(folder, str(pattern), card))
    return splits


def _configs(card: Path) -> list[Mapping[str, Any]]:
    """The entries of `configs` between the first two lines of dashes."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not card.is_file():
        return []
    with card.open("rb") as file:
        text = file.read(_MOST_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return []
    try:
        front = YAML(typ="safe", pure=True).load(text[4:].partition("\n---")[0])
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"its YAML cannot be read: {reason}", where=shown_path(card), fix="mend it") from error
    found = front.get("configs") if isinstance(front, Mapping) else None
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def _chosen(configs: list[Mapping[str, Any]], config: str | None, card: Path) -> Mapping[str, Any]:
    named = {str(entry.get("config_name", "default")): entry for entry in configs}
    usual = next((name for name, entry in named.items() if entry.get("default") is True), "default")
    name = config or (next(iter(named)) if len(named) == 1 else usual)
    if name not in named:
        problem = f"no configuration {config}" if config else f"{len(named)} configurations, and none is the default"
        fix = f"name one in data.dataset_config_name: {listing(list(named))}"
        raise UserError(problem, where=shown_path(card), fix=fix)
    return named[name]


def _matching(folder: Path, pattern: str, card: Path) -> list[Path]:
    if "://" in pattern or pattern.startswith("/") or ".." in PurePath(pattern).parts:
        fix = "name files in data.train_file"
        raise UserError(f"it names files outside of its folder: {pattern}", where=shown_path(card), fix=fix)
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        fix = "clone the data set whole, or name files in data.train_file"
        raise UserError(f"it names {pattern}, and no such file is here", where=shown_path(card), fix=fix)
    return found
