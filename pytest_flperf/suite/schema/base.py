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
    """TLS settings of the server."""

    ca_file: types.Text | None = Field(None, description="Path of certificates (PEM) to trust instead of the system's.")
    verify: bool = Field(True, description="false: any certificate is trusted; the results say so.")
    client_cert: types.Text | None = Field(
        None, description="Path of our own certificate with its key, in one PEM file."
    )


class TargetForm(Form):
    """A model and its server."""

    model: types.Text = Field(description="Name of the model on its backend.")
    backend: types.Text | None = Field(
        None, description="Kind of server, such as foundry, llamacpp, ollama or openai; default: that of the run."
    )
    name: types.Text | None = Field(None, description="Name in tables and node ids; default: backend:model.")
    base_url: types.Text | None = Field(None, description="URL of the server's API, such as http://127.0.0.1:8080/v1.")
    api_key_env: types.Text | None = Field(None, description="Environment variable that holds the key.")
    headers: dict[types.Text, str] = Field({}, description="Headers of every request; no secrets.")
    headers_env: dict[types.Text, types.Text] = Field(
        {}, description="Headers whose values come from environment variables of these names."
    )
    tls: TlsForm | None = Field(None, description="TLS settings of the server.")
    device: types.Device | None = Field(None, description="Device that runs the model.")
    isolation: types.Isolation | None = Field(
        None, description="shared: one process serves all models; process: each model has one of its own."
    )
    transport: types.Transport | None = Field(
        None, description="http, or native: inside the server's process, without HTTP."
    )
    model_cache: types.Text | None = Field(None, description="Folder of downloaded models.")
    catalog_url: types.Text | None = Field(None, description="Model catalog to use instead of the public one.")
    options: dict[types.Text, Any] = Field({}, description="Options of this kind of backend.")

    _options_are_json = field_validator("options")(types.json_only)
