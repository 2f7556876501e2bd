"""Where the time of ftkit's training steps goes: torch.profiler's events, summed by the part that they belong to."""

from __future__ import annotations

from typing import Any

FIRST_STEP, NUM_STEPS = 2, 3
"""Steps before the profile begins, and how many it is taken of."""

PARTS = {
    "adapted layers": ("_LoraProduct", "_LoraProductBackward"),
    "attention": ("_BlockwiseAttention", "_BlockwiseAttentionBackward"),
    "output layer and loss": ("_SummedCrossEntropy", "_SummedCrossEntropyBackward"),
    "activation": ("aten::gelu", "aten::gelu_backward"),
    "dropout": ("_Dropout", "_DropoutBackward"),
    "layer norms": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "optimizer": ("Optimizer.step#AdamW.step",),
}
"""Part of a step -> events that make it up, what happens inside them included. None lies inside another."""
PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::linear")


def make_profiler() -> Any:
    """A Trainer callback with the shares of the step's time as `shares`, once training has ended."""
    from torch.profiler import ProfilerActivity, profile
    from transformers import TrainerCallback

    class Profiler(TrainerCallback):
        def __init__(self) -> None:
            self.profile = profile(activities=[ProfilerActivity.CPU])
            self.shares: dict[str, float] = {}

        def on_step_begin(self, _arguments: Any, state: Any, *_others: Any, **_options: Any) -> None:
            if state.global_step == FIRST_STEP:
                self.profile.start()

        def on_step_end(self, _arguments: Any, state: Any, *_others: Any, **_options: Any) -> None:
            if state.global_step == FIRST_STEP + NUM_STEPS:
                self.profile.stop()
                self.shares = shares_of(self.profile.key_averages())

    return Profiler()


def shares_of(events: Any) -> dict[str, float]:
    """Share of the profiled time by part, the rest, and beside them the share of the matrix products in all parts."""
    total = sum(event.self_cpu_time_total for event in events)
    whole = {event.key: event.cpu_time_total for event in events}
    own = {event.key: event.self_cpu_time_total for event in events}
    shares = {part: sum(whole.get(name, 0.0) for name in names) / total for part, names in PARTS.items()}
    shares["everything else"] = 1.0 - sum(shares.values())
    shares["(matrix products, wherever they are)"] = sum(own.get(name, 0.0) for name in PRODUCTS) / total
    return shares
