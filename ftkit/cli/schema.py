"""`ftkit schema`: the JSON Schema of a recipe."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON Schema of a recipe.

    An editor that has it completes keys and marks mistakes:
    `ftkit schema > ftkit.schema.json`, beside a recipe that begins with
    `# yaml-language-server: $schema=ftkit.schema.json`.
    """
    from ftkit.commands.schema import schema_text

    typer.echo(schema_text(), nl=False)
