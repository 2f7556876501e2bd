"""Which documents of flat rows go through attention together, and where each of their tokens then lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

SPARE = 4096
"""Products of a query and a key, of each head, that may be padding for a document to join others: about what the
operations of a group of its own would cost."""


@dataclass(frozen=True)
class Group:
    """Documents of about one length.

    Attributes:
        size: number of documents, tokens of their longest query, tokens of their longest key.
        hidden: (N, 1, 1, M), minus infinity at keys that are padding; None where there are none.
    """

    size: tuple[int, int, int]
    hidden: torch.Tensor | None


@dataclass(frozen=True)
class Layout:
    """The groups of a batch, in order, and the rows of all of them end to end.

    A row is one head of one token: T tokens make T x H rows in the flat order. In the order of groups, a group of N
    documents makes N x H x L of them.

    Attributes:
        num_heads: H.
        groups: of all documents.
        queries, keys: row of the flat order for each row of the groups; T x H, one behind the last, for padding.
        from_queries, from_keys: row of the groups for each row of the flat order.
    """

    num_heads: int
    groups: list[Group]
    queries: torch.Tensor
    keys: torch.Tensor
    from_queries: torch.Tensor
    from_keys: torch.Tensor

    def products(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Views (N, H, L, M) of one flat tensor with the products of all groups."""
        shapes = [(num, self.num_heads, queries, keys) for num, queries, keys in self.sizes]
        parts = torch.split(flat, [num * heads * queries * keys for num, heads, queries, keys in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    @property
    def num_products(self) -> int:
        """Of all groups and heads, padding included."""
        return sum(num * self.num_heads * queries * keys for num, queries, keys in self.sizes)

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Of the groups."""
        return [group.size for group in self.groups]

    def of_queries(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Views (N x H, L, D) of rows (R, D) in the order of groups."""
        return self._by_group(rows, [queries for _, queries, _ in self.sizes])

    def of_keys(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Views (N x H, M, D) of rows (R, D) in the order of groups."""
        return self._by_group(rows, [keys for _, _, keys in self.sizes])

    def _by_group(self, rows: torch.Tensor, lengths: list[int]) -> list[torch.Tensor]:
        heads = [num * self.num_heads for num, _, _ in self.sizes]
        parts = torch.split(rows, [num * length for num, length in zip(heads, lengths, strict=True)])
        return [part.view(num, -1, rows.shape[1]) for part, num in zip(parts, heads, strict=True)]


def lay_out(query_lengths: list[int], key_lengths: list[int], *, num_heads: int) -> Layout:
    """Group the documents of flat rows, by their tokens; at least one each."""
    members = list(group_documents(query_lengths, key_lengths))
    queries, from_queries = _rows(query_lengths, members, num_heads)
    keys, from_keys = _rows(key_lengths, members, num_heads)
    groups = []
    for documents in members:
        lengths = torch.tensor([key_lengths[document] for document in documents])
        width = int(lengths.max())
        size = len(documents), max(query_lengths[document] for document in documents), width
        behind = torch.arange(width) >= lengths[:, None]
        hidden = torch.zeros(behind.shape).masked_fill_(behind, float("-inf")) if behind.any() else None
        groups.append(Group(size, None if hidden is None else hidden[:, None, None]))
    return Layout(num_heads, groups, queries, keys, from_queries, from_keys)


def group_documents(query_lengths: list[int], key_lengths: list[int]) -> Iterator[list[int]]:
    """Documents of like size, the largest first, as long as little of their products is padding.

    Example:
        >>> list(group_documents([9, 400, 10, 380], [5, 400, 6, 400]))
        [[1], [3], [2, 0]]
    """
    order = sorted(range(len(query_lengths)), key=lambda document: -query_lengths[document])
    group, width = order[:1], key_lengths[order[0]]
    for document in order[1:]:
        size, height = query_lengths[document] * key_lengths[document], query_lengths[group[0]]
        wider = max(width, key_lengths[document])
        if (len(group) + 1) * height * wider - len(group) * height * width - size > SPARE:
            yield group
            group, width = [], 0
        group = [*group, document]
        width = max(width, key_lengths[document])
    yield group


def _rows(lengths: list[int], members: list[list[int]], num_heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the flat order in the order of groups, and the other way round."""
    counts = torch.tensor(lengths)
    starts, num_tokens = torch.cumsum(counts, 0) - counts, sum(lengths)
    heads, parts = torch.arange(num_heads)[:, None], []
    for documents in members:
        chosen = torch.tensor(documents)
        places = torch.arange(int(counts[chosen].max()))
        tokens = starts[chosen, None] + places
        rows = tokens[:, None] * num_heads + heads
        behind = (places >= counts[chosen, None])[:, None]
        parts.append(rows.masked_fill_(behind, num_tokens * num_heads).flatten())
    grouped = torch.cat(parts)
    back = torch.empty(num_tokens * num_heads + 1, dtype=torch.int64)
    back[grouped] = torch.arange(len(grouped))
    return grouped, back[:-1]
