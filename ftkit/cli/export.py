"""`ftkit export RUN_OR_MODEL [OUT]`: a model to take along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ftkit.cli.console import ConsoleReporter, Trusted, leave_hub_alone_for


def export(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run directory or a model folder.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="The new folder; default: beside it, with -merged.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Fold a LoRA adapter into its base.")] = False,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Precision of the weights; default: as trained, float32 when merged."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder that is there.")] = False,
    trust_remote_code: Trusted = False,
) -> None:
    """Write the model of a run as one folder.

    With --merge it is a plain checkpoint, which transformers and vllm load without peft; its logits are compared with
    those of base and adapter, and nothing is written where they differ.
    """
    leave_hub_alone_for(model)
    from ftkit.commands.export import export as export_model

    exported = export_model(
        model, out, merge=merge, dtype=dtype, overwrite=overwrite, trust_remote_code=trust_remote_code
    )
    for note in exported.notes:
        ConsoleReporter().say(note)
    typer.echo(f"model: {exported.folder}")
