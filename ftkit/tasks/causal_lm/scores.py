"""What a language model gave each row, as it stands in predictions/."""

from __future__ import annotations

from ftkit.diagnosis.measurements import Unit

unit: Unit = "token"
