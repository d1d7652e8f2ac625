"""Base of the suite schema, and the schema of targets."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pytest_flperf.suite.prices import HIGHEST
from pytest_flperf.suite.schema import types

__all__ = ["Form", "PriceForm", "TargetForm", "TlsForm"]


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


_PerMillion = Annotated[float, Field(ge=0, le=HIGHEST, allow_inf_nan=False)]
_Currency = Annotated[str, AfterValidator(types.currency)]
_Date = Annotated[str, BeforeValidator(types.version_text), AfterValidator(types.iso_date)]


class PriceForm(Form):
    """Price of a model's tokens."""

    input_per_1m: _PerMillion | None = Field(None, description="Price of a million prompt tokens.")
    output_per_1m: _PerMillion | None = Field(None, description="Price of a million output tokens.")
    cached_input_per_1m: _PerMillion | None = Field(
        None, description="Price of a million prompt tokens from the server's cache; default: that of the others."
    )
    reasoning_per_1m: _PerMillion | None = Field(
        None, description="Price of a million reasoning tokens; default: that of other output tokens."
    )
    currency: _Currency = Field("USD", description="Code of the currency (ISO 4217).")
    source: types.Text | None = Field(None, max_length=200, description="Where the price is from, for the results.")
    date: _Date | None = Field(None, description="Day of the price, such as 2026-11-30, for the results.")
    genai_prices: types.Text | None = Field(
        None,
        description="Instead of prices: the model's name in the package genai-prices (extra prices), with its "
        "provider, such as openai/gpt-4o.",
    )

    @model_validator(mode="after")
    def _prices_or_name(self) -> PriceForm:
        given = [key for key in type(self).model_fields if key in self.model_fields_set]
        if self.genai_prices is not None:
            more = [key for key in given if key != "genai_prices"]
            text = f"found genai_prices and {more[0]}, expected genai_prices alone" if more else ""
        else:
            lacking = [key for key in ("input_per_1m", "output_per_1m") if getattr(self, key) is None]
            text = f"missing {' and '.join(lacking)}, expected both prices, or genai_prices" if lacking else ""
        if text:
            raise PydanticCustomError("flperf_price", "{text}", {"text": text})
        return self


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

    price: PriceForm | None = Field(None, description="Price of its tokens, instead of the suite's for the model.")

    _options_are_json = field_validator("options")(types.json_only)
