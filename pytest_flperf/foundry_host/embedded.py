"""Embedded models: packaged, with random weights, so answers are noise.

``scripts/build_models.py`` builds them.  Nothing here touches the network or the runtime.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EmbeddedModel", "embedded_models", "find_embedded"]


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """One packaged model and where its files are."""

    name: str
    version: int
    alias: str
    folder: Path
    """Read-only: may lie in a site-packages that the user can't write to."""
    parameters: int
    context_length: int
    """In tokens."""
    max_output_tokens: int
    size_bytes: int
    """Of its files on disk."""
    license: str
    note: str

    @property
    def id(self) -> str:
        """``name:version``, as requests name it."""
        return f"{self.name}:{self.version}"


def embedded_models() -> tuple[EmbeddedModel, ...]:
    """All packaged models, the smallest first."""
    models = []
    for card in (Path(__file__).parent / "models").glob("*/model.json"):
        values = json.loads(card.read_text(encoding="utf-8"))
        models.append(
            EmbeddedModel(
                name=values["name"],
                version=values["version"],
                alias=values["alias"],
                folder=card.parent,
                parameters=values["parameters"],
                context_length=values["context_length"],
                max_output_tokens=values["max_output_tokens"],
                size_bytes=values["size_bytes"],
                license=values["license"],
                note=values["note"],
            )
        )
    return tuple(sorted(models, key=lambda model: (model.parameters, model.name)))


def find_embedded(name: str) -> EmbeddedModel | None:
    """The packaged model with this alias, name or id."""
    return next((model for model in embedded_models() if name in {model.alias, model.name, model.id}), None)
