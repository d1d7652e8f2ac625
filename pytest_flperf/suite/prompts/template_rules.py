"""Template rules: an allow-list of syntax, checked before rendering.

Imports jinja2, so import it late.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from pytest_flperf.suite.errors import SuiteError, shown, suggestion
from pytest_flperf.suite.prompts.template_sandbox import (
    CONCAT,
    FILTERS,
    LOOP,
    LOOP_ATTRIBUTES,
    MAX_NUMBER,
    SLICE,
    TESTS,
    WEIGH,
)

__all__ = ["bounded", "checked_variables"]

_MAX_DEPTH: Final = 60
_MAX_LOOPS: Final = 2
_ALLOWED: Final = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For),
        *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice),
        *(nodes.Filter, nodes.Test, nodes.Keyword, nodes.CondExpr, nodes.Concat, nodes.Compare, nodes.Operand),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
    }
)
_LOOPED: Final = (nodes.Name, nodes.Getattr, nodes.Getitem, nodes.List, nodes.Tuple)
_TEXTS_AND_LISTS: Final = (nodes.Concat, nodes.List, nodes.Tuple)
_RESERVED: Final = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_WORDS: Final[Mapping[type[nodes.Node], str]] = MappingProxyType(
    {
        nodes.Assign: "set",
        nodes.AssignBlock: "set",
        nodes.Block: "a block",
        nodes.CallBlock: "a call block",
        nodes.Dict: "a mapping in braces",
        nodes.Extends: "extends",
        nodes.FilterBlock: "a filter block",
        nodes.FromImport: "an import",
        nodes.Import: "an import",
        nodes.Include: "an include",
        nodes.Macro: "a macro",
        nodes.Pow: "the operator **",
        nodes.With: "with",
    }
)


def checked_variables(template: nodes.Template) -> frozenset[str]:
    """Check *template*, and return its undefined names.

    Raises:
        SuiteError: it has forbidden syntax; the first with its line.

    """
    check = _Check()
    check.visit(template, frozenset(), 0, 0)
    return frozenset(check.variables)


class _Check:
    """One walk through a template."""

    def __init__(self) -> None:
        self.variables: set[str] = set()
        self._special: dict[type[nodes.Node], Callable[[Any, frozenset[str]], None]] = {
            nodes.Name: self._name,
            nodes.Const: self._const,
            nodes.Getattr: self._getattr,
            nodes.Getitem: self._getitem,
            nodes.Filter: self._filter,
            nodes.Test: self._test,
            nodes.Mul: self._multiplied,
            nodes.Mod: self._multiplied,
        }

    def visit(self, node: nodes.Node, defined: frozenset[str], depth: int, loops: int) -> None:
        """Check *node* and all nodes below it.

        *defined*: names that the loops around it define.
        """
        kind = type(node)
        if kind not in _ALLOWED:
            _refuse(node, _described(node), "texts, variables, filters, if and for")
        if depth > _MAX_DEPTH:
            _refuse(node, f"more than {_MAX_DEPTH} levels", "less")
        if isinstance(node, nodes.For):
            self._for(node, defined, depth, loops)
            return
        if kind in self._special:
            self._special[kind](node, defined)
        if isinstance(node, nodes.Getattr) and _is_loop(node.node, defined):
            return
        for child in node.iter_child_nodes():
            self.visit(child, defined, depth + 1, loops)

    def _for(self, node: nodes.For, defined: frozenset[str], depth: int, loops: int) -> None:
        if node.recursive:
            _refuse(node, "a recursive loop", "a plain one")
        if loops == _MAX_LOOPS:
            _refuse(node, f"more than {_MAX_LOOPS} loops within each other", "less")
        self.visit(node.iter, defined, depth + 1, loops)
        if not isinstance(node.iter, _LOOPED):
            _refuse(node, f"a loop over {_described(node.iter)}", "one over a variable or a list")
        targets = node.target.items if isinstance(node.target, nodes.Tuple) else [node.target]
        names: list[str] = []
        for target in targets:
            if not isinstance(target, nodes.Name):
                _refuse(node, "a nested list of names after for", "one name or a few")
            self._name(target, defined)
            names.append(target.name)
        inside = defined | set(names)
        if node.test is not None:
            self.visit(node.test, inside, depth + 1, loops + 1)
        for child in node.body:
            self.visit(child, inside | {"loop"}, depth + 1, loops + 1)
        for child in node.else_:
            self.visit(child, defined, depth + 1, loops)

    def _name(self, node: nodes.Name, defined: frozenset[str]) -> None:
        if node.name.startswith("_") or node.name in _RESERVED:
            _refuse(node, f"the name {shown(node.name)}", "one without an underscore in front, and none of Jinja's own")
        if _is_loop(node, defined):
            _refuse(node, "loop alone", "loop.index and the like")
        if node.ctx == "load" and node.name not in defined:
            self.variables.add(node.name)

    def _const(self, node: nodes.Const, _defined: frozenset[str]) -> None:
        value = node.value
        if isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) <= MAX_NUMBER):
            _refuse(node, f"the number {shown(value)}", f"one of {MAX_NUMBER:.0e} at most")
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                _refuse(node, f"{shown(value)} with half a surrogate pair", "a text that can be sent")

    def _getattr(self, node: nodes.Getattr, defined: frozenset[str]) -> None:
        if node.attr.startswith("_"):
            _refuse(node, f"the attribute {shown(node.attr)}", "one without an underscore in front")
        if _is_loop(node.node, defined) and node.attr not in LOOP_ATTRIBUTES:
            _refuse(node, f"loop.{node.attr}"[:80], suggestion(node.attr, LOOP_ATTRIBUTES))

    def _getitem(self, node: nodes.Getitem, _defined: frozenset[str]) -> None:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) and node.arg.value.startswith("_"):
            _refuse(node, f"the item {shown(node.arg.value)}", "one without an underscore in front")

    def _filter(self, node: nodes.Filter, _defined: frozenset[str]) -> None:
        if node.name not in FILTERS:
            _refuse(node, f"the filter {shown(node.name)}", suggestion(node.name, FILTERS))
        _check_arguments(node, FILTERS[node.name], "filter")

    def _test(self, node: nodes.Test, _defined: frozenset[str]) -> None:
        if node.name not in TESTS:
            _refuse(node, f"the test {shown(node.name)}", suggestion(node.name, TESTS))
        _check_arguments(node, TESTS[node.name], "test")

    def _multiplied(self, node: nodes.Mul | nodes.Mod, _defined: frozenset[str]) -> None:
        for side in (node.left, node.right):
            if isinstance(side, _TEXTS_AND_LISTS) or (isinstance(side, nodes.Const) and isinstance(side.value, str)):
                _refuse(node, f"the operator {node.operator} on a text or a list", "numbers on both sides")


def _is_loop(node: nodes.Node, defined: frozenset[str]) -> bool:
    """Tell whether *node* is Jinja's ``loop``, not data of that name."""
    return isinstance(node, nodes.Name) and node.name == "loop" and "loop" in defined


def _described(node: nodes.Node) -> str:
    if isinstance(node, nodes.Call):
        called: Any = node.node
        name = getattr(called, "attr", None) or getattr(called, "name", None)
        return f"a call of {shown(name)}" if isinstance(name, str) else "a call"
    if isinstance(node, nodes.Filter):
        return f"the filter {shown(node.name)}"
    return _WORDS.get(type(node), type(node).__name__.lower())


def _refuse(node: nodes.Node, found: str, expected: str) -> NoReturn:
    wanted = expected if expected.startswith(("did you mean", "known:")) else f"expected {expected}"
    raise SuiteError(f"line {node.lineno} of the template: found {found}, {wanted}")


def _check_arguments(node: nodes.Filter | nodes.Test, function: Callable[..., object], what: str) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        _refuse(node, f"the {what} {node.name!r} with * before its arguments", "arguments one by one")
    try:
        named: dict[str, object] = {str(pair.key): pair for pair in node.kwargs if isinstance(pair, nodes.Keyword)}
        inspect.signature(function).bind(node.node, *node.args, **named)
    except TypeError as error:
        _refuse(node, f"the {what} {node.name!r} with arguments that it doesn't take ({error})", "others")


def bounded(template: nodes.Template) -> nodes.Template:
    """Return *template* with its growing parts replaced by counting filters.

    The template was checked before, and is changed in place.
    """
    _Bounds().visit(template)
    return template


class _Bounds(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's name
        cost = sum(1 for _ in node.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _filtered(node.iter, LOOP, nodes.Const(cost))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno, environment=node.environment), CONCAT)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered(node.expr, WEIGH)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, WEIGH)
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802
        """Add an empty ``else`` where there is none.

        Jinja would complain of a missing value here.
        """
        self.generic_visit(node)
        if node.expr2 is None:
            node.expr2 = nodes.Const("", lineno=node.lineno, environment=node.environment)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _filtered(node.node, SLICE, *(nodes.Const(None) if bound is None else bound for bound in bounds))


def _filtered(node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno, environment=node.environment)
