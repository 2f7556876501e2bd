"""The classification benchmark's figures: medians, ratios, the share of the one-pass limit reached, a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from measuring import median
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from bench_classify import Arm, Measured

PEERS = {"trainer_dynamic": "x (b)", "trainer_grouped_bf16": "x (c)"}
"""Arms that the others are held against, and the headings of those columns."""


def report(
    arms: Sequence[Arm],
    measured: Mapping[str, Measured],
    *,
    products: Measured,
    tokens: dict[str, Any],
    complete: dict[str, Any] | None,
    num_labels: int,
) -> dict[str, Any]:
    """Print the table and return it for the result file.

    Args:
        arms: those that ran.
        measured: their rounds.
        products: rates of matrix products, GFLOP/s.
        tokens: real tokens by split, and the weights in matrices.
        complete: one run of (c) with all its steps, when the rounds extrapolated it.
        num_labels: classes of the data.
    """
    limit = one_pass_limit(products, tokens)
    rows = {arm.name: figures(arm, measured[arm.name]) for arm in arms}
    if complete is not None:
        rows["trainer_grouped_bf16"] |= {
            "accuracy": complete["accuracy"],
            "seconds_of_one_full_run": complete["seconds"],
        }
    for row in rows.values():
        row["ratio"] = {peer: rows[peer]["seconds"] / row["seconds"] for peer in PEERS if peer in rows}
        if row["encodes_once"]:
            row["share_of_limit"] = limit["seconds"] / row["seconds"]
    console = Console(width=160, highlight=False)
    console.print(as_table(arms, rows))
    for line in remarks(rows, limit=limit, tokens=tokens, complete=complete, num_labels=num_labels):
        console.print(line)
    return {"arms": rows, "limit": limit, "tokens": tokens, "num_labels": num_labels, "full_run_of_c": complete}


def one_pass_limit(products: Measured, tokens: dict[str, Any]) -> dict[str, Any]:
    """Seconds that the matrix products of one pass over the real tokens of both splits take at the measured rate."""
    rates = {name: median([result[name] for result in products.results]) for name in products.results[0]}
    floating_operations = 2 * tokens["matrix_weights"] * sum(tokens["tokens"].values())
    return {"seconds": floating_operations / (rates["bfloat16"] * 1e9), "gflops": rates, "flop": floating_operations}


def figures(arm: Arm, one: Measured) -> dict[str, Any]:
    """Medians over the rounds of an arm, and every round's seconds."""
    last = one.results[-1]
    row = {
        "says": arm.says,
        "seconds": one.median("seconds"),
        "seconds_by_round": [result["seconds"] for result in one.results],
        "extrapolated": not last["complete"],
        "imports_seconds": one.median("imports"),
        "process_seconds": median([timed.seconds for timed in one.times]) if last["complete"] else None,
        "peak_mib": median([timed.peak_mib for timed in one.times]),
        "others": max(timed.others for timed in one.times),
        "accuracy": one.last("accuracy"),
        "trained_parameters": last["trained_parameters"],
        "encodes_once": not arm.is_trainer and arm.stored is None,
    }
    extra = ("steps_run", "steps", "padded_tokens", "padded_tokens_run", "accuracy_interval", "placement")
    return row | {key: last[key] for key in extra if key in last}


def as_table(arms: Sequence[Arm], rows: Mapping[str, dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for heading in (
        "seconds",
        *PEERS.values(),
        "limit reached",
        "accuracy",
        "imports",
        "process",
        "peak MiB",
        "trained",
    ):
        table.add_column(heading, justify="right")
    for arm in arms:
        row = rows[arm.name]
        table.add_row(
            arm.says,
            f"{row['seconds']:.2f}{'*' if row['extrapolated'] else ''}",
            *(f"{row['ratio'][peer]:.1f}" if peer in row["ratio"] else "-" for peer in PEERS),
            f"{row['share_of_limit']:.0%}" if "share_of_limit" in row else "-",
            "-" if row["accuracy"] is None else f"{row['accuracy']:.3f}",
            f"{row['imports_seconds']:.1f}",
            "-" if row["process_seconds"] is None else f"{row['process_seconds']:.1f}",
            f"{row['peak_mib']:.0f}",
            f"{row['trained_parameters']:,}",
        )
    return table


def remarks(
    rows: Mapping[str, dict[str, Any]],
    *,
    limit: dict[str, Any],
    tokens: dict[str, Any],
    complete: dict[str, Any] | None,
    num_labels: int,
) -> list[str]:
    """What a reader must know of the table."""
    num_tokens, num_rows = sum(tokens["tokens"].values()), sum(tokens["rows"].values())
    lines = [
        f"{num_rows:,} texts in both splits, {num_tokens / num_rows:.1f} real tokens on average, {num_labels} labels. "
        f"One bf16 pass at {limit['gflops']['bfloat16']:.0f} GFLOP/s: {limit['seconds']:.1f} s "
        f"(fp32: {limit['gflops']['float32']:.0f} GFLOP/s).",
        "seconds: Trainer's are its training steps alone, without loading, tokenizing or evaluation; ftkit's are "
        "everything after the imports: reading, tokenizing, encoding, fitting, scoring, saving.",
    ]
    for row in rows.values():
        if row["extrapolated"]:
            lines.append(
                f"* {row['says']}: {row['steps_run']} of {row['steps']} steps were run; the rest is extrapolated by "
                f"padded tokens ({row['padded_tokens_run']:,} of {row['padded_tokens']:,})."
            )
    if complete is not None:
        lines.append(
            f"(c) was also run in full once: {complete['seconds']:.1f} s; the accuracy in its row is of that run. (a) "
            "and (b) train the same parameters for as many steps; their accuracy is measured with --full only."
        )
    return lines
