"""Base of the suite schema, and the schema of targets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pytest_flperf.suite.schema import types

__all__ = ["Form", "TargetForm", "TlsForm"]


class Form(BaseModel):
    """A strict model: no extra keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TlsForm(Form):
    """How a server that speaks TLS is trusted."""

    ca_file: types.Text | None = Field(None, description="Path of certificates (PEM) to trust, not the system's.")
    verify: bool = Field(True, description="false: whoever answers is trusted; the results say so.")
    client_cert: types.Text | None = Field(
        None, description="Path of our own certificate with its key, in one PEM file."
    )


class TargetForm(Form):
    """A model and where it lives."""

    model: types.Text = Field(description="The model, as its backend knows it.")
    backend: types.Text | None = Field(
        None, description="Kind of server, such as foundry, llamacpp, ollama or openai; without it the run's."
    )
    name: types.Text | None = Field(
        None, description="What it is called in tables and node ids; without it backend:model."
    )
    base_url: types.Text | None = Field(None, description="Where the server is, such as http://127.0.0.1:8080/v1.")
    api_key_env: types.Text | None = Field(None, description="Environment variable that holds the key.")
    headers: dict[types.Text, str] = Field({}, description="Headers of every request; nothing secret.")
    headers_env: dict[types.Text, types.Text] = Field(
        {}, description="Headers whose values stand in environment variables of these names."
    )
    tls: TlsForm | None = Field(None, description="How a server that speaks TLS is trusted.")
    device: types.Device | None = Field(None, description="Where the model shall run.")
    isolation: types.Isolation | None = Field(
        None, description="shared: one process serves all models; process: each model has one of its own."
    )
    transport: types.Transport | None = Field(
        None, description="http, or native: inside the server's process, without HTTP."
    )
    model_cache: types.Text | None = Field(None, description="Folder of downloaded models.")
    catalog_url: types.Text | None = Field(None, description="Model catalog in place of the public one.")
    options: dict[types.Text, Any] = Field({}, description="What only this kind of backend knows.")

    _options_are_json = field_validator("options")(types.json_only)
