"""The HTML of a run."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_doubles import HOSTILE, case, hostile_run, measured, run

from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import BudgetVerdict, Failure, Requests, ResourceUse, Run

VOID = {"meta", "link", "br", "img", "hr", "input"}
ALLOWED_URLS = re.compile(r"#[a-z0-9-]+|data:,")
BREAKS = re.compile(r'<wbr>|<span class="whole">([^<]*)</span>')
"""Where a line may break, and may not."""


class Reader(HTMLParser):
    """Tags, texts and attributes; complains of what is not nested as it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(BREAKS.sub(r"\1", html))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element without content."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """It closes what was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take in a text."""
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All texts, white space joined."""
        return " ".join(" ".join(self.texts).split())


def page(it: Run, samples: dict[str, CaseSamples] | None = None) -> Reader:
    """The page of a run, read."""
    return Reader(Pages().run(it, samples or {}))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(name: str) -> None:
    """Whatever a text holds, the page has the same elements, no other addresses, and no character that misleads."""
    found, ordinary = page(hostile_run(HOSTILE[name])), page(hostile_run("plain"))
    assert sorted(set(found.tags)) == sorted(set(ordinary.tags))
    for tag, attribute, value in found.attributes:
        assert not attribute.startswith("on"), (tag, attribute)
        assert attribute not in {"style", "src", "srcdoc", "action", "formaction", "xlink:href"}
        if attribute == "href":
            assert ALLOWED_URLS.fullmatch(value), value
    characters = set("".join(found.texts)) | {char for _, _, value in found.attributes for char in value}
    assert [char for char in characters if not char.isprintable() and char != "\n"] == []


def test_template_language_in_texts_is_text() -> None:
    """Jinja in a name is shown, not run."""
    found = page(hostile_run("{{7*7}}"))
    assert "{{7*7}}" in found.text
    assert "49" not in found.text


def test_hostile_texts_are_bounded() -> None:
    """100 kB in every text of a run: the page stays below 500 kB."""
    assert len(Pages().run(hostile_run("<" * 100_000), {})) < 500_000


def test_only_the_style_block() -> None:
    """No script, no inline style, a policy that forbids everything else, and nothing from elsewhere."""
    html = Pages().run(run(), {})
    found = Reader(html)
    assert "script" not in found.tags
    assert found.tags.count("style") == 1
    (policy,) = [value for tag, name, value in found.attributes if tag == "meta" and value.startswith("default-src")]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "http://" not in html.replace("<wbr>", "").replace("http://127.0.0.1:1/v1", "")
    assert "https://" not in html
    assert "@import" not in html
    assert "url(" not in html


def test_what_it_says() -> None:
    """Verdict, machine, clock with its lag, numbers with marks and intervals, token source, cold start, command."""
    text = page(run()).text
    for part in (
        "PASSED",
        "The only budget of the cases was the default, error_rate <= 0; it was met: 1 passed, 1 model.",
        "a processor, 2 cores, 8.00 GB memory",
        "kernel: the kernel's stamp of each arrival",
        "the client read later by p50 0.02 ms, p99 0.20 ms, at most 1.50 ms",
        "TTFT p50 15.0",
        "19.5*",
        "11.0 to 19.0",
        "123 tokens/s",
        "usage",
        "1.25 s",
        "42.0 ms",
        "pytest 's::short[m]'",
        "2026-11-21 10:15:00 UTC",
        "27.0 s",
        "3.11.7",
        "error_rate <= 0 met 0 % 0 % 11 default",
    ):
        assert part in text, part


def test_failures_come_with_their_evidence() -> None:
    """Each failed case: the verdict's text, status, detail and body of its requests, and how to run it again."""
    bad = case(
        "bad",
        outcome="failed",
        message="bad on m: missed error_rate <= 0 (72 %)\n  MISSED  error_rate <= 0",
        requests=Requests(total=11, ok=3, failed=8, by_outcome={"ok": 3, "http_5xx": 8}),
        failures=(Failure("http_5xx", 7, 503, "the server is busy", '{"error": "queue <full>"}'),),
        notes=("the runtime ended",),
    )
    unready = case(
        "unready", outcome="error", message="the model is not ready: no such", requests=Requests(), metrics={}
    )
    text = page(run(case(), bad, unready, status="failed")).text
    for part in (
        "1 passed, 1 failed, 1 error",
        "missed error_rate <= 0 (72 %)",
        "http_5xx 7 503 the server is busy",
        '{"error": "queue <full>"}',
        "1 more failed requests are of other kinds",
        "8/11",
        "the model is not ready: no such",
        "not ready",
        "pytest 's::bad[m]'",
        "the runtime ended",
    ):
        assert part in text, part


def test_interrupted() -> None:
    """An interrupted run says so and shows what there is, even nothing."""
    assert "The run was interrupted" in page(run(status="interrupted", finished_at=None)).text
    nothing = Run(id="x", started_at="", status="interrupted")
    assert "no case was run" in page(nothing).text


def test_doubts() -> None:
    """Late reads, clock steps, counted chunks and user stamps are said above the numbers."""
    doubtful = case(
        requests=Requests(total=11, ok=11, late_reads=2, clock_steps=1, by_outcome={"ok": 11}), tokens_source="chunks"
    )
    text = page(run(doubtful, clock=replace(run().clock, source="user", lag_ms=None), notes=("full disk",))).text
    for part in ("2 of 11 requests", "1 request left out", "chunks (1)", "Not every arrival", "full disk"):
        assert part in text, part


def test_models_side_by_side() -> None:
    """Two models: a map per metric with a column each, times the best; a scenario that one lacks has a dash."""
    slow = replace(case(model="n"), metrics={"ttft_ms": measured([30.0] * 11)})
    found = page(run(case(), slow, case("other", model="n")))
    assert "Models side by side" in found.text
    assert "scenario m n short 15.0 best 30.0 2.00× other – 15.0" in found.text
    assert found.tags.count("input") > 3
    names = {value for tag, name, value in found.attributes if tag == "input" and name == "name"}
    assert [name for tag, name, _ in found.attributes if tag == "input"].count("checked") == len(names) == 2
    assert "Models side by side" not in page(run(case(), case("other"))).text


def test_resources() -> None:
    """Resources are shown with their units, those of a later version without."""
    found = page(
        run(
            case(
                resources={
                    "server_rss_mb": ResourceUse(12, 812.4, 700, 900),
                    "npu_<b>": ResourceUse(1, 3, 3, 3),
                }
            )
        )
    )
    assert "server_rss_mb 12 812 MB 700 MB 900 MB" in found.text
    assert "npu_<b> 1 3.00 3.00 3.00" in found.text


def test_what_could_not_be_measured() -> None:
    """Under the table of resources and beside the budget, with the reason; it is no doubt about what was measured."""
    absent = {"gpu_power_w": "no <b> driver", "gpu_temp_c": "no <b> driver"}
    verdict = BudgetVerdict("gpu_power_w.max <= 9", 9.0, None, 0, False, "", "gpu_power_w", "max", "no <b> driver")
    use = {"ram_pct": ResourceUse(1, 5, 5, 5)}
    it = case(resources=use, resources_absent=absent, budgets=(verdict,))
    whole = run(it, notes=absent_lines([it]))
    found = page(whole)
    assert found.text.count("not measured: gpu_power_w, gpu_temp_c: no <b> driver") == 1
    assert "gpu_power_w.max <= 9 MISSED 9 W not measured: no <b> driver 0" in found.text
    assert "<b> driver" not in Pages().run(whole, {})


def test_an_answer_is_shown() -> None:
    """The head of one answer, escaped."""
    assert "Hello &lt;b&gt;" in Pages().run(run(), {"s::short[m]": CaseSamples({}, "Hello <b>", True)})


def test_many_cases() -> None:
    """Beyond five hundred cases: every one in the table, failed ones with a section, and the rest is said."""
    cases = [case(f"scenario-{index}", outcome="failed" if index == 509 else "passed") for index in range(510)]
    html = Pages().run(run(*cases), {})
    assert len(html) < 2_500_000
    assert html.count("<details") == 1 + 1 + 500, "conditions, the failure, and sections"
    assert 'id="case-510"' in html
    assert "500 of 510 cases have a section" in html
    assert "40 of 510 scenarios are drawn, those with failed cases first" in html
    assert "scenario-509</figcaption>" in html.replace(' <span class="soft">11 requests</span>', "")


def test_drawings_are_described() -> None:
    """Every drawing has a title, a description and ids of its own; every table a caption and scopes."""
    found = page(run(case(), case(model="n")))
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    named = [value.split() for tag, name, value in found.attributes if tag == "svg" and name == "aria-labelledby"]
    decorations = [name for tag, name, _ in found.attributes if tag == "svg" and name == "aria-hidden"]
    assert len(named) == found.tags.count("svg") - len(decorations) >= 3
    assert all(set(pair) <= set(ids) for pair in named)
    assert found.tags.count("caption") == found.tags.count("table")
    assert sum(name == "scope" for _, name, _ in found.attributes) == found.tags.count("th")


def test_same_case_again() -> None:
    """Several calls of the fixture in one test and the same scenario on two machines all stay apart."""
    cases = (case(), case(nodeid="s::short[m] #2"), case(host="other"))
    found = page(run(*cases))
    assert found.tags.count("details") == 1 + 3, "conditions, and sections"
    assert "Measured on 2 machines: h, other." in found.text


def test_size() -> None:
    """The report of the default suite's 22 cases stays small, whatever it draws."""
    values = tuple(float(10 + index) for index in range(11))
    cases = [case(f"scenario-{index}", model) for model in ("m", "n") for index in range(11)]
    known = {it.nodeid: CaseSamples({"ttft_ms": values, "e2e_ms": values}, "x", True) for it in cases}
    html = Pages().run(run(*cases), known)
    assert "scenario-10" in html
    assert len(html) < 500_000


def test_cards() -> None:
    """A card for each of few models, a table for many, neither for a single one."""
    models = [case(model=f"m{index}") for index in range(4)]
    found = page(run(*models))
    assert [value for _, name, value in found.attributes if name == "class"].count("card s0") == 1
    assert "m0 First token 15.0 ms Whole answer 45.0 ms Tokens/s 123 tokens/s Failed requests 0 of 11" in found.text
    many = page(run(*models, case(model="m4")))
    assert "model First token Whole answer Tokens/s Failed requests m0 15.0 ms" in many.text
    for other in (many, page(run(case()))):
        assert not any(value.startswith("card ") for _, name, value in other.attributes if name == "class")


def test_open_loops() -> None:
    """What was offered, sent, served and kept within budget are four numbers."""
    rates = {"offered_rate": 23.5, "sent_rate": 23.4, "request_rate": 20.1, "goodput": 18.2, "tps_total": 402.0}
    offered = case("open", load=Load("poisson", rate=23.5), **rates)
    found = page(run(offered))
    assert "Open loops, requests/s" in found.text
    assert "m open 23.5 23.4 20.1 18.2 402 Offered: due" in found.text
    assert "Open loops" not in page(run(case())).text


def test_load_charts() -> None:
    """A line per model, a point per load, full where the budget was met; the budget is a line."""
    cases = []
    for model, slow in (("m", 1.0), ("n", 3.0)):
        for streams in (1, 4, 16):
            ttft_ms = 10.0 * slow * streams
            met = ttft_ms <= 100
            budget = BudgetVerdict("ttft_ms.p50 <= 100ms", 100.0, ttft_ms, 11, met, "suite", "ttft_ms", "p50")
            cases.append(
                case(
                    "chat", model, parameters={"concurrency": streams}, load=Load(concurrency=streams),
                    metrics={"ttft_ms": measured([ttft_ms] * 11, unsure=True)}, tps_total=100.0 * streams / slow,
                    budgets=(budget,), outcome="passed" if met else "failed",
                )
            )  # fmt: skip
    html = Pages().run(run(*cases), {})
    chart = html.partition("chat: what each load gives</figcaption>")[2].partition("</figure>")[0]
    assert chart.count(' met"') == 3
    assert chart.count(' hollow"') == 3, "160, 120 and 480 ms"
    assert "misses the budget" in chart
    assert "n: 1 streams 33.33 tokens/s at 30 ms, 4 streams" in chart
    assert "what each load gives" not in Pages().run(run(case(), case("other")), {})
