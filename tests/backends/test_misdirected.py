"""Control requests that get something else than an API's answer: it is named, with what to do."""

from __future__ import annotations

import json

import pytest
from server_doubles import Answer, Asked, Double

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.wrong_address import what_it_is
from pytest_flperf.wire.endpoint import Endpoint

PAGES = [
    "<!DOCTYPE html><html><head><title>Open WebUI</title></head></html>",
    "\n<!-- made by hand -->\n<html lang=en><TITLE>Open WebUI</TITLE>",
    '<?xml version="1.0"?>\n<!doctype HTML PUBLIC "x"><title>Open WebUI</title>',
]


@pytest.mark.parametrize("text", PAGES)
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", ""])
def test_a_page(text: str, kind: str) -> None:
    """By its beginning, whatever type it claims."""
    said = what_it_is(200, {"content-type": kind}, text)
    assert "HTML page ('Open WebUI')" in said
    assert "/v1" in said
    assert "HTML login page" in what_it_is(200, {"content-type": kind}, text.replace("Open WebUI", "Sign in to Acme"))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("https://sso.example/login?next=secret-0123456789", "login page (https://sso.example/login)"),
        ("/oauth2/authorize?x=1", "login page (/oauth2/authorize)"),
        ("https://host/v1/models/", "a redirect to https://host/v1/models/; redirects are not followed"),
        ("/ui/", "a redirect to /ui/"),
        ("https://login-assistant.ai/v1", "a redirect to https://login-assistant.ai/v1; redirects are not followed"),
        ("https://authors.example/v1", "a redirect to https://authors.example/v1; redirects are not followed"),
        ("https://login.example/", "login page (https://login.example/)"),
        ("https://acme.sso.example/", "login page (https://acme.sso.example/)"),
        ("", "without a target"),
        ("http://[", "without a target"),
        ("/a\x1b[31m\r\nb", "a redirect to /a"),
    ],
)
def test_a_redirect(where: str, words: str) -> None:
    """Where to, without what stands behind it; a login is named."""
    said = what_it_is(302, {"location": where}, "")
    assert words in said
    assert "secret" not in said
    assert said.isprintable()


def test_json_lines() -> None:
    """As Ollama's own API streams them."""
    lines = "".join(json.dumps({"model": "m", "message": {"content": word}, "done": False}) + "\n" for word in "abc")
    said = what_it_is(200, {"content-type": "application/x-ndjson"}, lines)
    assert "NDJSON" in said
    assert "/v1" in said
    assert "backend ollama" in said


@pytest.mark.parametrize(
    "text", ["", "{}", "{}\n", "plain\ntext", "1\n2", "{}\n[", "[" * 100_000 + "\n{}", "<p>no page"]
)
def test_anything_else(text: str) -> None:
    """Is not guessed at."""
    assert what_it_is(200, {}, text) == ""
    assert what_it_is(500, {}, text) == ""


def test_a_page_without_an_end_is_not_slow() -> None:
    """The work is bounded, whatever the page repeats."""
    for piece in ("<!--", "<title", "<?xml ", " ", "<title>\n"):
        assert len(what_it_is(200, {}, piece * 1_000_000)) < 1_000


class Other(Double):
    """Answers everything alike."""

    given = Answer()

    def answer(self, asked: Asked) -> Answer:
        """The same for all."""
        return self.given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Answer(PAGES[0], headers={"Content-Type": "text/html"}), "answered with an HTML page ('Open WebUI')"),
        (Answer(PAGES[0], 404), "answered 404: an HTML page ('Open WebUI')"),
        (Answer("", 302, {"Location": "/login"}), "answered 302: a redirect to a login page (/login)"),
        (Answer('{"a": 1}\n{"b": 2}\n'), "answered with JSON lines"),
    ],
)
def test_control_requests(given: Answer, words: str) -> None:
    """Their errors say it."""
    with Other() as server:
        server.given = given
        with pytest.raises(ControlError) as caught:
            Control(Endpoint.parse(f"{server.root}/v1")).get("models")
    assert words in str(caught.value)


def test_a_query_goes_with_every_request() -> None:
    """Behind the path's own, and its key is masked where the server repeats it."""
    with Other() as server:
        server.given = Answer({"you": "said k3y-0123456789"}, 500)
        control = Control(Endpoint.parse(f"{server.root}/v1?api-version=2&key=k3y-0123456789"))
        with pytest.raises(ControlError) as caught:
            control.get("models")
        control.raw("GET", "/props?model=m")
        control.raw("POST", "load", {})
    assert server.paths() == [
        "GET /v1/models?api-version=2&key=k3y-0123456789",
        "GET /props?model=m&api-version=2&key=k3y-0123456789",
        "POST /v1/load?api-version=2&key=k3y-0123456789",
    ]
    assert "0123456789" not in str(caught.value)
    assert "0123456789" not in caught.value.body
