"""The language-model benchmark's figures: medians, ratios, goals, the share of the limit reached, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from measuring import median
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from bench_causal import Arm
    from bench_classify import Measured

PEERS = {
    "run_clm_fp32": "x (a)",
    "run_clm_bf16": "x (b)",
    "trl_padded": "x (c)",
    "trl_packed": "x (d)",
    "trl_padded_fast": "x (c')",
    "trl_packed_fast": "x (d')",
}
"""Arms that the others are held against, and the headings of those columns."""
GOALS = {"run_clm_fp32": (3.5, 2.3), "run_clm_bf16": (1.9, 1.3), "trl_padded": (2.8, 1.8), "trl_packed": (3.4, 2.2)}
"""Peer -> how many times its tokens a second ftkit is to reach: goal and floor."""
MEMORY_GOALS = {"ftkit_1024": 3.9, "ftkit_1024_checkpointing": 6.5}
"""Arm -> how many times less memory than (a) it is to take over its weights."""
MATRIX_WEIGHTS = 12 * 12 * 768**2
HEAD_WEIGHTS = 50_257 * 768


def report(
    arms: Sequence[Arm], measured: Mapping[str, Measured], *, products: Measured, facts: dict[str, Any]
) -> dict[str, Any]:
    """Print the table and return it for the result file.

    Args:
        arms: those that ran.
        measured: their rounds.
        products: rates of matrix products, GFLOP/s.
        facts: counts of the examples and tokens that were learnt.
    """
    rates = {name: median([result[name] for result in products.results]) for name in products.results[0]}
    limit = rates["bfloat16"] * 1e9 / floating_operations_a_token(facts["learnt_share"])
    rows = {arm.name: figures(arm, measured[arm.name]) for arm in arms}
    for row in rows.values():
        row["ratio"] = {
            peer: row["tokens_per_second"] / rows[peer]["tokens_per_second"] for peer in PEERS if peer in rows
        }
        row["share_of_limit"] = row["tokens_per_second"] / limit
        if "run_clm_fp32" in rows:
            row["memory_ratio"] = rows["run_clm_fp32"]["peak_mib"] / row["peak_mib"]
    console = Console(width=170, highlight=False)
    console.print(as_table(arms, rows))
    for line in remarks(rows, rates=rates, limit=limit, facts=facts):
        console.print(line)
    return {"arms": rows, "goals": goals(rows), "limit": {"tokens_per_second": limit, "gflops": rates}, "data": facts}


def floating_operations_a_token(learnt_share: float) -> float:
    """Of the products that LoRA cannot do without: forward, and back to the layers below; the head where learnt."""
    return 4 * (MATRIX_WEIGHTS + learnt_share * HEAD_WEIGHTS)


def figures(arm: Arm, one: Measured) -> dict[str, Any]:
    """Medians over the rounds of an arm, and every round's rate."""
    last = one.results[-1]
    row = {
        "says": arm.says,
        "tokens_per_second": one.median("tokens_per_second"),
        "tokens_per_second_by_round": [result["tokens_per_second"] for result in one.results],
        "peak_mib": one.median("peak_mib"),
        "initial_loss": one.median("initial_loss"),
        "final_loss": one.median("final_loss"),
        "others": max(timed.others for timed in one.times),
    }
    kept = ("memory_before_mib", "steps", "tokens", "largest_step", "trained_parameters", "placement", "packing")
    return row | {key: last[key] for key in kept if key in last}


def goals(rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each goal with what was reached, as far as its arms ran."""
    found = []
    if "ftkit" in rows:
        for peer, (goal, floor) in GOALS.items():
            if peer in rows:
                reached = rows["ftkit"]["ratio"][peer]
                found.append({"what": f"tokens/s over {peer}", "reached": reached, "goal": goal, "floor": floor})
    for name, goal in MEMORY_GOALS.items():
        if name in rows and "memory_ratio" in rows[name]:
            found.append({"what": f"memory of {name}", "reached": rows[name]["memory_ratio"], "goal": goal})
    return found


def as_table(arms: Sequence[Arm], rows: Mapping[str, dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    peers = {peer: heading for peer, heading in PEERS.items() if peer in rows}
    for heading in ("tokens/s", *peers.values(), "limit reached", "peak MiB", "less", "largest step", "held-out loss"):
        table.add_column(heading, justify="right")
    for arm in arms:
        row = rows[arm.name]
        table.add_row(
            arm.says,
            f"{row['tokens_per_second']:.0f}",
            *(f"{row['ratio'][peer]:.2f}" for peer in peers),
            f"{row['share_of_limit']:.0%}",
            f"{row['peak_mib']:.0f}",
            f"{row['memory_ratio']:.1f} x" if "memory_ratio" in row else "-",
            f"{row['largest_step']:,}",
            f"{row['initial_loss']:.3f} -> {row['final_loss']:.3f}",
        )
    return table


def remarks(
    rows: Mapping[str, dict[str, Any]], *, rates: dict[str, float], limit: float, facts: dict[str, Any]
) -> list[str]:
    """What a reader must know of the table."""
    lines = [
        f"{facts['examples']:,} functions of the standard library, {facts['tokens_an_example']:.0f} tokens on average, "
        f"{facts['learnt_share']:.0%} of them learnt. tokens/s counts tokens of text, never padding.",
        f"limit: {limit:.0f} tokens/s, the matrix products alone at {rates['bfloat16']:.0f} GFLOP/s in bfloat16 "
        f"(float32: {rates['float32']:.0f}).",
        "peak MiB: largest resident memory of the steps over what was resident before the first. "
        "largest step: tokens of text.",
    ]
    for goal in goals(rows):
        lines.append(f"{goal['what']}: {goal['reached']:.2f} x, goal {goal['goal']} x: {verdict(goal)}")
    return lines


def verdict(goal: Mapping[str, Any]) -> str:
    """How what was reached lies to goal and floor."""
    if goal["reached"] >= goal["goal"]:
        return "met"
    return "above the floor" if goal["reached"] >= goal.get("floor", float("inf")) else "MISSED"


def print_profile(shares: Mapping[str, float]) -> dict[str, float]:
    """Where the time of (e) goes; returned as it came."""
    Console(highlight=False).print(
        "profile of (e): " + ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
    )
    return dict(shares)
