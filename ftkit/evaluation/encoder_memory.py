"""What a tuned encoder still knows: masked tokens of a reference text, and how much of its old outputs can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ftkit.diagnosis.measurements import DomainGap, Forgetting
from ftkit.errors import UserError
from ftkit.evaluation.holes import MASKED_SHARE
from ftkit.evaluation.reference_text import most_risen
from ftkit.evaluation.subject import Gathered, Subject
from ftkit.interruption import STOP
from ftkit.metrics.scores import IGNORED, Scores
from ftkit.models.classifier import SequenceLogits, load_classifier
from ftkit.models.reading.pretrained import read_weights

LONGEST_MASKED = 128
"""Tokens of a document."""
READOUT_TOKENS = 3_000
"""Token vectors by which a linear readout is fitted, and as many by which it is judged."""


class _Masked(NamedTuple):
    """Documents with holes: ids with masks (T,), and the labels, -100 outside of the holes (T,)."""

    ids: torch.Tensor
    labels: torch.Tensor


def measure_encoder(subject: Subject, found: Gathered, texts: Sequence[str], tokenizer: Any) -> None:
    """Mask the same tokens for the base and the tuned encoder, and read both out with the base's own head.

    What a tuned encoder's outputs have become may be a rotation of what they were, which the old head cannot read
    though nothing is lost; so the share of the base's outputs that a linear map finds again stands beside it.

    Source: Salazar et al. 2020, Masked Language Model Scoring; Kornblith et al. 2019, Similarity of Neural Network
    Representations Revisited (linear regression as a similarity).
    """
    base = _masked_lm(subject)
    if base is None or tokenizer.mask_token_id is None:
        found.forgetting = Forgetting("unknown", "the checkpoint has no head that fills masks")
        return
    tuned = _tuned_encoder(subject)
    documents = _masked(texts, tokenizer, seed=subject.seed)
    held_out = found.texts.get("validation", [])[:300]
    with subject.reporter.track("masked tokens of the reference", total=3) as advance:
        before, vectors = _losses(base, documents)
        advance(1)
        on_data = _losses(base, _masked(held_out, tokenizer, seed=subject.seed))[0] if held_out else None
        advance(1)
        after, tuned_vectors = _losses(base, documents, encoder=tuned)
        advance(1)
    lost = readout_lost(tuned_vectors, vectors)
    found.losses["base", "reference"] = before
    found.losses[subject.kept, "reference"] = after
    found.sizes["reference"] = len(documents)
    found.forgetting = Forgetting("masked", readout_lost=lost)
    found.documents = most_risen(before, after, list(texts))
    if found.domain is not None and on_data is not None:
        found.domain = DomainGap(
            on_data.nll, on_data.num_targets, before.nll, before.num_targets, found.domain.tokens_a_word
        )


def _masked_lm(subject: Subject) -> Any | None:
    """The base with its own head for masks; None where the checkpoint does not bring one."""
    from transformers import AutoModelForMaskedLM

    auto: Any = AutoModelForMaskedLM
    try:
        model, missing, _ = read_weights(
            auto,
            subject.checkpoint,
            what="a model that fills masks",
            dtype=torch.float32,
            trust_remote_code=subject.trust,
        )
    except UserError:
        return None
    head = [name for name in missing if not name.endswith((".pooler.dense.weight", ".pooler.dense.bias"))]
    return None if head else model.eval()


def _tuned_encoder(subject: Subject) -> Any:
    classifier = load_classifier(subject.model_dir, device=torch.device("cpu"), trust_remote_code=subject.trust)
    module: Any = classifier.module
    assert isinstance(module, SequenceLogits), "a frozen encoder is not asked"
    model: Any = module.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return model.base_model.eval()


def _masked(texts: Sequence[str], tokenizer: Any, *, seed: int) -> list[_Masked]:
    masked = [_with_holes(text, tokenizer, seed=seed, number=number) for number, text in enumerate(texts)]
    return [document for document in masked if document is not None]


def _with_holes(text: str, tokenizer: Any, *, seed: int, number: int) -> _Masked | None:
    ids = torch.tensor(tokenizer(text, truncation=True, max_length=LONGEST_MASKED)["input_ids"])
    special = torch.tensor(tokenizer.get_special_tokens_mask(ids.tolist(), already_has_special_tokens=True)).bool()
    open_places = torch.nonzero(~special)[:, 0].numpy()
    if len(open_places) < 4:
        return None
    random = np.random.default_rng([seed, 9, number])
    holes = random.choice(open_places, max(1, round(MASKED_SHARE * len(open_places))), replace=False)
    labels = torch.full_like(ids, IGNORED)
    labels[holes] = ids[holes]
    masked = ids.clone()
    masked[holes] = int(tokenizer.mask_token_id)
    return _Masked(masked, labels)


def _losses(
    model: Any, documents: Sequence[_Masked], *, encoder: Any | None = None
) -> tuple[Scores, npt.NDArray[np.float32]]:
    """Losses of the holes by document, and all token vectors; `encoder` in the place of the model's own."""
    own = getattr(model, model.base_model_prefix)
    if encoder is not None:
        _share_weights(own, encoder)
    nll, targets, hits, vectors = [], [], [], []
    with torch.inference_mode():
        for document in documents:
            STOP.poll()
            hidden: dict[str, torch.Tensor] = {}
            hook = own.register_forward_hook(lambda _m, _i, out, kept=hidden: kept.update(last=out[0]))
            logits = model(input_ids=document.ids[None]).logits[0]
            hook.remove()
            holes = document.labels != IGNORED
            scored = torch.nn.functional.cross_entropy(logits[holes], document.labels[holes], reduction="sum")
            nll.append(float(scored))
            targets.append(int(holes.sum()))
            hits.append(int((logits[holes].argmax(dim=1) == document.labels[holes]).sum()))
            vectors.append(hidden["last"][0].numpy())
    losses = Scores(np.array(nll), np.array(targets, dtype=np.int64), np.array(hits, dtype=np.int64))
    return losses, np.concatenate(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)


def _share_weights(own: Any, tuned: Any) -> None:
    """Put the tuned encoder's weights in the place of the base's, by name; a pooler that only one has is left."""
    there, here = tuned.state_dict(), own.state_dict()
    own.load_state_dict({name: there.get(name, tensor) for name, tensor in here.items()})


def readout_lost(tuned: npt.NDArray[np.floating[Any]], base: npt.NDArray[np.floating[Any]]) -> float:
    """Share of the variance of the base's vectors (N, D) that a linear map of the tuned ones (N, D) does not give.

    The map is a ridge regression on half of the rows, judged on the other half; 0 is nothing lost, 1 all.

    Example:
        >>> random = np.random.default_rng(0)
        >>> base = random.normal(size=(400, 5))
        >>> turned = base @ np.linalg.qr(random.normal(size=(5, 5)))[0]
        >>> round(readout_lost(turned, base), 2), readout_lost(random.normal(size=(400, 5)), base) > 0.9
        (0.0, True)
    """
    if len(base) < 8:
        return 0.0
    order = np.random.default_rng(10).permutation(len(base))[: 2 * READOUT_TOKENS]
    fit, judge = order[: len(order) // 2], order[len(order) // 2 :]
    inputs, outputs = tuned[fit].astype(np.float64), base[fit].astype(np.float64)
    mean_in, mean_out = inputs.mean(axis=0), outputs.mean(axis=0)
    centred = inputs - mean_in
    penalty = 1e-3 * float((centred**2).sum()) / centred.shape[1] + 1e-12
    weights = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(centred.shape[1]), centred.T @ (outputs - mean_out)
    )
    left = base[judge] - mean_out - (tuned[judge] - mean_in) @ weights
    spread = ((base[judge] - base[judge].mean(axis=0)) ** 2).sum()
    return float(np.clip((left**2).sum() / spread, 0.0, 1.0)) if spread > 0 else 0.0
