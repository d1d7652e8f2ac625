"""Templates: what they say, what they can't reach, and that none takes long or much."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Mapping
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import gone
from random_tests import examples

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.prompts.templates import PromptTemplate, TemplateRenderer

LONG = "x" * 900_000


@pytest.fixture(scope="module")
def renderer() -> TemplateRenderer:
    """One process for all templates, as a suite has it."""
    return TemplateRenderer()


def refused(text: str, renderer: TemplateRenderer) -> str:
    """Return the message of a template that can't be made."""
    with pytest.raises(SuiteError) as caught:
        PromptTemplate(text, renderer)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def failing(text: str, renderer: TemplateRenderer, **values: Any) -> str:
    """Return the message of a template that can be made but not rendered."""
    template = PromptTemplate(text, renderer)
    with pytest.raises(SuiteError) as caught:
        template.render(values)
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Hi {{ name }}!\n", "Hi Ada!\n"),
        ("{{ name ~ ' ' ~ n ~ '.' }}|{{ none }}|{{ gone | default('x') }}|{{ true }}|{{ 1.5 }}", "Ada 3.||x|True|1.5"),
        ("{% if n > 5 %}a{% elif n == 3 and name in ['Ada'] %}b{% else %}c{% endif %}", "b"),
        ("{% for x in ['a', 'b'] %}{{ loop.index }}{{ x }}{{ ', ' if not loop.last }}{% endfor %}", "1a, 2b"),
        ("{% for i in range(n) %}{{ i }}{% endfor %}{% set a = 7 %}{{ a }}", "0127"),
        ("{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(name) }}", "AdaAda"),
        (
            "{{ n + 1 }} {{ n * 2 }} {{ n // 2 }} {{ name[:2] }} {{ name.upper() }} {{ name | lower }}",
            "4 6 1 Ad ADA ada",
        ),
        ("{{ text | replace('b', '-') | trim | title }}{{ text | wordcount }}", "A - C3"),
        ("{{ text | tojson }}{{ 'ä<\"' | tojson }}", '"a b c""ä<\\""'),
        ("{% raw %}{{ name }}{% endraw %}{# nothing #}", "{{ name }}"),
        ("a\n{% if true %}\nb\n{% endif %}\nc\r\n", "a\nb\nc\n"),
        ("é {{ emoji }}", "é 🙂"),
    ],
)
def test_what_templates_say(text: str, expected: str, renderer: TemplateRenderer) -> None:
    """Jinja's language, set up as for chat templates."""
    values = {"name": "Ada", "n": 3, "text": "a b c", "emoji": "🙂", "none": None}
    assert PromptTemplate(text, renderer).render(values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a }} {{ a.b }} {{ c['d'] }} {{ e | default(f) }}", {"a", "c", "e", "f"}),
        ("{% for x in xs %}{{ x }}{{ loop.index }}{{ y }}{% else %}{{ z }}{% endfor %}", {"xs", "y", "z"}),
        ("{% set a = b %}{{ a }}", {"b"}),
        ("no tags", set()),
        ("{{ range(3) }}{{ dict }}", set()),
    ],
)
def test_variables(text: str, expected: set[str], renderer: TemplateRenderer) -> None:
    """What a template refers to, and neither it nor Jinja defines."""
    assert PromptTemplate(text, renderer).variables == expected


def test_a_column_named_as_one_of_jinjas(renderer: TemplateRenderer) -> None:
    """The data's wins."""
    template = PromptTemplate("{{ range }}", renderer)
    assert template.render({"range": "8 km"}) == "8 km"


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ x['__class__'] }}",
        "{{ x | attr('__class__') }}",
        "{{ x['_' ~ '_class__'] }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ x.format.__globals__ }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ '{0.__class__}' | format(x) }}{{ x.__class__ }}",
        "{{ ('{0.__class__}' | attr('format'))(x) }}",
        "{{ [x] | map(attribute='__class__') | list }}{{ x.__class__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{% set a = namespace() %}{{ a.__class__ }}",
        "{{ [1].append(2) }}",
        "{{ {}.update({1: 2}) }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'a' as b %}",
        "{{ lipsum() }}",
        "{{ [1, 2] | random }}",
    ],
)
def test_what_templates_can_not_reach(text: str, renderer: TemplateRenderer) -> None:
    """Python's own attributes, other files, what changes data, and chance."""
    with pytest.raises(SuiteError, match=r"\A(line 1 of the template: |template: )"):
        PromptTemplate(text, renderer).render({"x": "Ada"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n{{ b", "line 2 of the template: not a template: "),
        ("{% if %}", "line 1 of the template: not a template: "),
        ("\n\n{% foo %}", "line 3 of the template: not a template: "),
        ("{{ x | uper }}", "line 1 of the template: not a template: "),
        ("{# ", "line 1 of the template: not a template: "),
        ("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", "template: "),
        ("{{ " + "not " * 20_000 + "1 }}", "template: "),
        ("{% if a %}" * 500 + "{% endif %}" * 500, "template: "),
        ("a\ud800", "template: found half a surrogate pair"),
        ("a" * 1_000_001, "template: found 1,000,001 characters, expected 1,000,000 at most"),
    ],
)
def test_what_is_no_template(text: str, expected: str, renderer: TemplateRenderer) -> None:
    """Syntax errors have their line, and what is too long or too deep is one of them."""
    assert refused(text, renderer).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n{{ nmae }}", "line 2 of the template: 'nmae' is undefined, did you mean 'name'?"),
        ("{{ zzz.b }}", "line 1 of the template: 'zzz' is undefined, known: long, n, name"),
        ("{% for x in zzz %}{% endfor %}", "'zzz' is undefined"),
        ("a\nb\n{{ name + 1 }}", "line 3 of the template: can't be rendered: "),
        ("{{ 1 // 0 }}", "line 1 of the template: can't be rendered: "),
        ("{{ name < 5 }}", "line 1 of the template: can't be rendered: "),
        ("{{ long }}{{ long }}", "template: more than 1,000,000 characters, expected less"),
        (r"{{ '\ud800' }}", "template: found half a surrogate pair"),
        ("{% for i in range(10 ** 9) %}x{% endfor %}", "line 1 of the template: can't be rendered: "),
    ],
)
def test_what_can_not_be_rendered(text: str, expected: str, renderer: TemplateRenderer) -> None:
    """What isn't there or isn't fit is said with its line."""
    assert expected in failing(text, renderer, name="Ada", n=1, long=LONG)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "took longer than 2 s"),
        ("{% for a in range(99999) %}{% if long in long ~ 'y' %}{% endif %}{% endfor %}", "took longer than 2 s"),
        ("{{ n ** (n ** n) }}", "took longer than 2 s"),
        ("{{ 'a'.ljust(9999999999) }}", "needed more than 512 MB"),
        ("{{ '%999999999d' % 3 }}", "needed more than 512 MB"),
        ("{{ 'a' * 999999999 }}", "needed more than 512 MB"),
        ("{{ 'a' | center(999999999) }}", "needed more than 512 MB"),
        ("{% set a = namespace(x='aa') %}{% for i in range(99) %}{% set a.x = a.x ~ a.x %}{% endfor %}", "512 MB"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deep"),
    ],
)
def test_nothing_takes_long_or_much(text: str, reason: str, renderer: TemplateRenderer) -> None:
    """What would take for ever ends its process, and the next template has a new one."""
    assert reason in failing(text, renderer, long=LONG, n=9)
    assert PromptTemplate("{{ a }}", renderer).render({"a": 1}) == "1"


def test_many_rows_at_once(renderer: TemplateRenderer) -> None:
    """In their order; the first row that fails is the error."""
    template = PromptTemplate("{{ index }} {{ word }}", renderer)
    rows = [{"index": index, "word": "a"} for index in range(300)]
    assert template.render_all(rows) == [f"{index} a" for index in range(300)]
    with pytest.raises(SuiteError, match="'word' is undefined"):
        template.render_all([*rows, {"index": 300}])
    assert template.render_all([]) == []


def test_the_process_ends_with_its_suite() -> None:
    """Nothing is left of it, and nothing is started before the first template."""
    renderer = TemplateRenderer()
    before = {child.pid for child in psutil.Process().children()}
    template = PromptTemplate("{{ a }}", renderer)
    (pid,) = {child.pid for child in psutil.Process().children()} - before
    assert template.render({"a": 1}) == "1"
    del renderer, template
    gc.collect()
    assert gone(pid)


def test_the_largest_template_is_quick(renderer: TemplateRenderer) -> None:
    """A template at the bound is within the limits of one text."""
    begin = time.process_time()
    chain = "{% if a %}" + "".join(f"{{% elif a{index} %}}" for index in range(1_200)) + "{% endif %}"
    assert PromptTemplate(chain, renderer).render({"a": 1}) == ""
    assert PromptTemplate("x\n" * 499_000 + "{{ a }}", renderer).render({"a": 1}).endswith("\n1")
    assert time.process_time() - begin < 30


data = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=9)
pieces = st.sampled_from(
    [
        *("{{ ", " }}", "{% ", " %}", "{{ a", "{{ b.c", "if a", "endif", "for x in a", "for x, y in b", "endfor"),
        *("a", "b", "x", "loop.index", ".c", "[0]", "[a]", "[1:]", " ~ ", " + ", " * ", " % ", " == ", " in ", " and "),
        *("|upper", "|join", "|tojson", "|default(a)", "|int", " is odd", " is defined", "'t'", "5", "(", ")", "\n"),
        *("__class__", "not ", "[", "]", ",", "{", "}", "'", "#", "raw", "set", "self", "\\", "\ud800", "é", "-"),
        "else",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=examples(300))
@given(text=st.lists(pieces, max_size=12).map("".join), one=data, other=data)
def test_any_template_renders_or_is_refused(text: str, one: Any, other: Any, renderer: TemplateRenderer) -> None:
    """Whatever a template says and whatever the data, there is a text that can be sent, or one error."""
    for whole in (text, f"{{{{ {text} }}}}", f"{{% for x in a %}}{{{{ {text} }}}}{{% endfor %}}"):
        try:
            rendered = PromptTemplate(whole, renderer).render({"a": one, "b": other})
        except SuiteError as error:
            problem = str(error)
        else:
            problem = rendered.encode().decode()
        assert "Traceback" not in problem


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="{}\r"), max_size=50))
def test_text_without_tags_stays(text: str, renderer: TemplateRenderer) -> None:
    """Any text that has no tag is its own rendering, white space at the end included."""
    assert PromptTemplate(text, renderer).render({}) == text


@given(value=data)
def test_tojson_is_json(value: Any, renderer: TemplateRenderer) -> None:
    """Data written as JSON reads as it was, unless it has numbers that JSON has not."""
    template = PromptTemplate("{{ value | tojson }}", renderer)
    values: Mapping[str, Any] = {"value": value}
    try:
        assert json.loads(template.render(values)) == value
    except SuiteError as error:
        problem = str(error)
        assert any(word in problem for word in ("surrogate", "JSON compliant"))
