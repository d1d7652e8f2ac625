"""Schema of a suite's judge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pytest_flperf.suite.errors import shown
from pytest_flperf.suite.judges import share_of
from pytest_flperf.suite.schema import types
from pytest_flperf.suite.schema.base import Form, TargetForm

__all__ = ["JudgeForm"]


class JudgeForm(Form):
    """A judge: another model that scores or compares the answers, after the measurement."""

    target: TargetForm = Field(description="The judge: a model and its server.")
    mode: Literal["rubric", "pairwise"] = Field(
        "rubric",
        description="rubric: each answer gets a score from 1 to 5. pairwise: every two models of the run are compared, "
        "in both orders.",
    )
    rubric: types.Text | None = Field(
        None,
        description="Path of a text file, in or below the suite file's folder, that says what each score means; "
        "default: a rubric for any question.",
    )
    labels: types.Text | None = Field(
        None,
        description="Path of a file, in or below the suite file's folder, with what people say of answers, as flperf "
        "judge --write-labels makes it.",
    )
    fail_under: types.Text | None = Field(
        None,
        description="Share, such as 90%, that every model's pass rate must reach at the lower end of its interval, "
        "corrected for the judge's mistakes; needs labels.",
    )
    answers: Annotated[int, Field(ge=1, le=1_000)] = Field(1, description="Answers to each prompt that are scored.")
    max_requests: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        1_000, description="Most requests to the judge; with more, it is asked none."
    )
    max_tokens: types.MaxTokens = Field(512, description="Maximum length of a reply of the judge, in tokens.")
    concurrency: types.Concurrency = Field(1, description="Requests to the judge in flight at the same time.")
    timeout_s: types.Seconds = Field(120.0, description="Timeout of a reply of the judge, in seconds.")
    max_time_s: types.Seconds = Field(1_800.0, description="Time after which the judge is asked no more, in seconds.")

    @field_validator("fail_under")
    @classmethod
    def _is_a_share(cls, value: str | None) -> str | None:
        if value is not None and share_of(value) is None:
            text = f"found {shown(value)}, expected a share above 0 %, such as 90%"
            raise PydanticCustomError("flperf_judge", "{text}", {"text": text})
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> JudgeForm:
        problem = ""
        if self.mode == "pairwise":
            given = [key for key in ("labels", "fail_under") if getattr(self, key) is not None]
            given += ["answers"] * (self.answers != 1)
            if given:
                problem = f"found {given[0]} with mode: pairwise, but it is of single answers; expected one of them"
        elif self.fail_under is not None and self.labels is None:
            problem = (
                "found fail_under without labels, without which nobody knows how often this judge is wrong; flperf "
                "judge RUN --write-labels FILE writes answers for people to label"
            )
        if problem:
            raise PydanticCustomError("flperf_judge", "{text}", {"text": problem})
        return self
