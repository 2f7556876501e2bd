"""Data files that a URL names: copied into the cache once for each version, and read from there."""

from __future__ import annotations

import os
from pathlib import Path

from ftkit import cache
from ftkit.data.reading.hub import is_switched_on
from ftkit.disk import failure_of_disk
from ftkit.errors import UserError
from ftkit.recipe.files import is_url
from ftkit.storage import sha256_texts

_OF_HTTP = ("ETag", "Content-MD5", "Digest", "Last-Modified")
VERSION = ("size", *_OF_HTTP, "etag", "mtime", "LastModified", "last_modified", "md5", "version_id", "blob_id")
"""What file systems tell of a file that is another when it has changed."""


def local_file(name: str, notes: list[str]) -> Path:
    """The file of a path as it is, that of a URL in the cache; a note is added on what was fetched.

    Whatever fsspec reads: https, hf, s3, gs, az, ... A file that has changed there, by its ETag, time or size, is
    fetched again. Without the network the last version that was fetched is read, and said.

    Raises:
        UserError: there is nothing to read at the URL, a package for it is missing, or the network is not to be used.
    """
    if not is_url(name):
        return Path(name)
    stem = f"urls/{sha256_texts([name])[:32]}"
    if is_switched_on("HF_HUB_OFFLINE"):
        return _last_fetched(name, stem, notes)
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(name)
        info = files.info(path)
        told = [info.get(fact) for fact in VERSION]
        folder = cache.built(key := f"{stem}-{sha256_texts(map(str, told))[:16]}")
        if folder is None:
            folder = cache.build_once(key, lambda making: files.get_file(path, str(making / _base_name(name))))
            notes.append(f"{name} fetched, {_size(folder / _base_name(name))}")
        elif not any(told):
            notes.append(f"{name} is read as it was fetched first: whether it has changed there is not told")
    except UserError:
        raise
    except ImportError as error:
        raise UserError(str(error), where=name, fix="install it, or fetch the file yourself and name it") from error
    # the library and the server behind it fail in ways of their own
    except Exception as error:
        if failure_of_disk(error) is not None:
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"cannot be fetched: {said}", where=name, fix="check the address and the network") from error
    return folder / _base_name(name)


def _last_fetched(name: str, stem: str, notes: list[str]) -> Path:
    found = sorted((cache.cache_root() / "urls").glob(f"{Path(stem).name}-*"), key=lambda one: one.stat().st_mtime)
    for folder in reversed(found):
        if (whole := cache.built(f"urls/{folder.name}")) is not None:
            notes.append(f"{name} is read as it was fetched last: the network is not asked")
            return whole / _base_name(name)
    fix = "leave --offline out (or unset HF_HUB_OFFLINE), or fetch the file yourself and name it"
    raise UserError("was never fetched, and the network is not to be asked", where=name, fix=fix)


def _base_name(url: str) -> str:
    """The name of the file, whose ending says its format."""
    return os.path.basename(url.partition("?")[0].partition("#")[0].rstrip("/")) or "data"


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"
