"""Suite parser: YAML, JSON and TOML files to plain data.

It reads, decodes and parses hostile text, and tells the lines of keys where known.  It knows nothing of suites; every
failure is a :class:`SuiteError`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, printable, shown
from pytest_flperf.suite.setting_limits import MAX_SUITE_BYTES

__all__ = ["KeyPath", "Source", "parse", "read_source", "read_text"]

KeyPath: TypeAlias = tuple[str | int, ...]

_MAX_DEPTH: Final = 50
"""A suite is six deep; beyond it only ``extra`` can nest."""
_MAX_VALUES: Final = 200_000
"""Values of a file with every alias written out: bounds the time that validating takes."""
_NO_BRACKETS: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*')
_DOTTED_KEY: Final = re.compile(
    rf"""(?<![\w-])(?>(?>[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MAX_DEPTH}}}""", re.ASCII
)
"""More dotted parts than any key of a suite has."""


@dataclass(frozen=True, slots=True)
class Source:
    """The data of a suite file, and the lines of its keys."""

    data: Any
    line_of: Callable[[KeyPath], int | None]
    """Line (from 1) of the key or list item at a path; None where the format doesn't tell."""


def read_text(path: Path, what: str = "suite") -> str:
    """Return the text of the regular file *path*, without byte order mark.

    Raises:
        SuiteError: it is missing, no regular file, unreadable, larger than 10 MB, binary or not UTF-8.

    """
    return decoded(read_bytes(path, what, MAX_SUITE_BYTES), display_path(path), what)


def read_source(path: Path) -> Source:
    """Read and parse the suite file *path*, by its ending.

    The ending is one of YAML, JSON and TOML.

    Raises:
        SuiteError: it can't be read or parsed; with file and, where known, line.

    """
    return parse(read_text(path), path.suffix, display_path(path))


def parse(text: str, suffix: str, where: str) -> Source:
    """Parse *text* in the format of the file ending *suffix*.

    Raises:
        SuiteError: the text can't be parsed; *where* is the file's name in the message.

    """
    parsers: dict[str, Callable[[str, str], Source]] = {
        ".yaml": _parse_yaml,
        ".yml": _parse_yaml,
        ".json": _parse_json,
        ".toml": _parse_toml,
    }
    parser = parsers.get(suffix.lower())
    if parser is None:
        found = f"the ending {shown(suffix)}" if suffix else "no ending"
        raise SuiteError(f"{where}: found {found}, expected a suite file: {', '.join(parsers)}")
    if not text.strip():
        raise SuiteError(f"{where}: found an empty file, expected a suite with scenarios")
    try:
        source = parser(text, where)
    except RecursionError:
        raise SuiteError(f"{where}: nested too deep, expected {_MAX_DEPTH} levels at most") from None
    _check_shape(source.data, where)
    return source


def _check_shape(data: object, where: str) -> None:
    """Bound depth and number of values, and refuse keys other than text."""
    count = 0
    level: list[object] = [data]
    for _ in range(_MAX_DEPTH + 1):
        following: list[object] = []
        for value in level:
            if isinstance(value, dict):
                for key in value:
                    if not isinstance(key, str):
                        raise SuiteError(f"{where}: found the key {shown(key)}, expected a string (in quotes)")
                following.extend(value.values())
            elif isinstance(value, (list, tuple, set)):
                following.extend(value)
        count += len(following)
        if count > _MAX_VALUES:
            raise SuiteError(f"{where}: found more than {_MAX_VALUES:,} values, expected a smaller suite")
        level = following
        if not level:
            return
    raise SuiteError(f"{where}: nested too deep, expected {_MAX_DEPTH} levels at most")


def _parse_json(text: str, where: str) -> Source:
    def no_constant(name: str) -> NoReturn:
        raise SuiteError(f"{where}: found {name}, expected a number that JSON can hold")

    def no_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise SuiteError(f"{where}: found the key {shown(again)} twice in one mapping, expected it once")
        return found

    try:
        data = json.loads(text, object_pairs_hook=no_repeated, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise SuiteError(f"{where}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise SuiteError(f"{where}: can't be read as JSON: {str(error)[:200]}") from None
    return Source(data, lambda _: None)


def _parse_toml(text: str, where: str) -> Source:
    deep = _DOTTED_KEY.search(text)
    if deep:  # tomllib takes quadratic time and memory for these
        line = text.count("\n", 0, deep.start()) + 1
        raise SuiteError(f"{where}:{line}: nested too deep, expected {_MAX_DEPTH} levels at most")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        words, _, told = str(error).rpartition(" (at ")
        place = re.match(r"line (\d+), column (\d+)", told)
        spot = f"{place[1]}:{place[2]}" if place else f"{text.rstrip().count(chr(10)) + 1}:end"
        raise SuiteError(f"{where}:{spot}: not TOML: {printable(words or str(error))[:300]}") from None
    except ValueError as error:  # a date that no calendar has, an integer of thousands of digits
        raise SuiteError(f"{where}: can't be read as TOML: {str(error)[:200]}") from None
    return Source(data, lambda _: None)


def _parse_yaml(text: str, where: str) -> Source:
    loader_type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # before the tree is made: that recurses (in C, too) and aliases multiply
        _check_yaml_events(text, where, loader_type)
        loader = loader_type(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise SuiteError(f"{where}: found an empty file, expected a suite with scenarios")
            _refuse_repeated_keys(node, where)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        # libyaml has a bound of its own for brackets, and versions of it differ in the words
        if mark and _open_brackets(text[: mark.index]) > _MAX_DEPTH:
            raise SuiteError(f"{place}: nested too deep, expected {_MAX_DEPTH} levels at most") from None
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise SuiteError(f"{place}: can't be read as YAML: {printable(problem)[:300]}") from None
    except yaml.YAMLError as error:
        problem = str(error).splitlines()[0]
        raise SuiteError(f"{where}: can't be read as YAML: {printable(problem)[:300]}") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError) as error:
        # out of PyYAML's own constructors: a 13th month, `!!bool maybe`, an integer of thousands of digits
        problem = printable(str(error))[:200]
        raise SuiteError(f"{where}: can't be read as YAML: a value that can't be built ({problem})") from None
    return Source(data, lambda path: _yaml_line(node, path))


def _open_brackets(text: str) -> int:
    """Return the number of brackets open at the end of YAML text.

    Quoted text and comments are left out.
    """
    bare = _NO_BRACKETS.sub("", text)
    return sum(map(bare.count, "[{")) - sum(map(bare.count, "]}"))


def _check_yaml_events(text: str, where: str, loader_type: Any) -> None:
    """Bound the depth and the number of values, aliases written out.

    Aliases within themselves are refused.
    """
    sizes: dict[str, int] = {}  # of each anchor, with the aliases within
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=loader_type):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise SuiteError(f"{where}:{line}: found the alias {shown(event.anchor)} without an anchor before it")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
            if len(open_nodes) > _MAX_DEPTH:
                raise SuiteError(f"{where}:{line}: nested too deep, expected {_MAX_DEPTH} levels at most")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > 2 * _MAX_VALUES:  # keys count here
            raise SuiteError(f"{where}:{line}: found more than {_MAX_VALUES:,} values, expected a smaller suite")


def _refuse_repeated_keys(root: yaml.Node, where: str) -> None:
    todo, seen_nodes = [root], set()
    while todo:
        node = todo.pop()
        if id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        line = key.start_mark.line + 1
                        raise SuiteError(f"{where}:{line}: found the key {shown(key.value)} again, expected it once")
                    keys.add(key.value)
                todo += [key, value]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value


def _yaml_line(root: yaml.Node, path: KeyPath) -> int | None:
    """Return the line of the key or item at *path*.

    If it is missing, that of its nearest parent.
    """
    node, line = root, root.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            # the last: keys merged from elsewhere (<<) stand in front of the mapping's own
            pair = next((pair for pair in reversed(node.value) if pair[0].value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
