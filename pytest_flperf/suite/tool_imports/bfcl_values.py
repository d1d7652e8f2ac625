"""BFCL's possible answers: allowed values of an argument, by its type.

Its checker (``bfcl_eval.eval_checker.ast_eval.ast_checker``, for Python) compares texts normalised, but looks at types,
too: 5.0 is no ``integer``, and in a list 5 is no ``float``, while alone it is one.  ``benchmarks/bfcl`` holds both
against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["allowed_values"]

_TYPES: Final[Mapping[str, type]] = {
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "string": str,
    "any": str,
}
"""Types of values by those of Python's parameters, as the checker has them; of others nothing is said."""
_ABSENT: Final = ""


def allowed_values(possible: Any, schema: Any, *, required: bool) -> Any:
    """Matcher of an argument, as a suite writes it; None: no value is right, it must be absent.

    Raises ValueError where it can't be right at all.

    Args:
        possible: The allowed values; an empty text: it may be absent.
        schema: Of the parameter, in BFCL's words; anything else: nothing is known of its type.
        required: Whether it must be there whatever the values say.

    """
    values = possible if isinstance(possible, list) else [possible]
    schema = schema if isinstance(schema, Mapping) else {}
    written, items = schema.get("type"), schema.get("items")
    type_ = _TYPES.get(written) if isinstance(written, str) else None
    there = [each for each in values if each != _ABSENT]
    forms = _forms(there, type_, items.get("type") if isinstance(items, Mapping) else None)
    if len(there) < len(values) and type_ is list:
        forms.append({"any": [[]]})  # an empty list is as good as none
    elif len(there) < len(values) and type_ in (str, None):
        forms.append({"any": [_ABSENT]})
    if not forms:
        if required or _ABSENT not in values:
            raise ValueError("no value is right")
        return None
    return _joined(forms, optional=_ABSENT in values and not required)


def _forms(values: Sequence[Any], type_: type | None, item_type: object) -> list[dict[str, Any]]:
    """Matchers of which one must match."""
    if not values:
        return []
    if type_ is None or type_ is type(values[0]):
        if type_ is dict:
            return [_object(each) for each in values if isinstance(each, Mapping)]
        if type_ is list:
            return [_list(each, item_type) for each in values if isinstance(each, list)]
        texts = [each for each in values if isinstance(each, str)]
        if type_ is str:
            return [{"any": texts}]
        if type_ is None:
            others = [each for each in values if not isinstance(each, str)]
            return [*([{"any": texts}] if texts else []), *map(_untyped, others)]
    exact: dict[str, Any] = {"any": list(values)}
    if any(isinstance(each, str) for each in values):
        exact["match"] = "exact"  # the name of a variable, in place of a value
    # a whole number is a float as well, and of a float's values a whole number may be one
    if type_ is not float and not (type_ is int and isinstance(values[0], float)) and _has_numbers(values):
        exact["as_written"] = True
    return [exact]


def _has_numbers(values: Sequence[Any]) -> bool:
    return any(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def _untyped(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return _object(value)
    return _list(value, None) if isinstance(value, list) else {"any": [value]}


def _object(value: Mapping[str, Any]) -> dict[str, Any]:
    """Matcher of an object, whose members have lists of allowed values again."""
    return {"object": {str(key): _member(each) for key, each in value.items()}}


def _member(possible: Any) -> Any:
    """Matcher of a member, whose type nobody looks at: true is 1 there; lists and objects must be the very same."""
    values = possible if isinstance(possible, list) else [possible]
    inner = [each for each in values if isinstance(each, list | Mapping)]
    plain = [each for each in values if not isinstance(each, list | Mapping)]
    same = [
        other
        for one, other in ((True, 1), (False, 0), (1, True), (0, False))
        if any(each is one or (type(each) is type(one) and each == one) for each in plain)
    ]
    plain += [other for other in same if not any(type(each) is type(other) and each == other for each in plain)]
    forms: list[dict[str, Any]] = [{"any": plain}] if plain else []
    forms += [{"any": [each], "match": "exact"} for each in inner]
    return _joined(forms, optional=_ABSENT in values) if forms else {"any": [[]]}


def _list(value: Sequence[Any], item_type: object) -> dict[str, Any]:
    """Matcher of a list: of objects, of lists, which must be the very same, or of plain values."""
    if value and all(isinstance(each, Mapping) for each in value):
        return {"items": [_object(each) for each in value]}
    if any(isinstance(each, list | Mapping) for each in value):
        return {"items": [{"any": [each], "match": "exact"} for each in value]}
    if not _has_numbers(value) or item_type is None:
        return {"any": [list(value)]}
    if item_type == "float" and not isinstance(value[0], float):
        return {"any": [list(value)]}
    plain = [float(each) if item_type == "float" and isinstance(each, int) else each for each in value]
    return {"any": [plain], "as_written": True}


def _joined(forms: Sequence[Mapping[str, Any]], *, optional: bool) -> Any:
    """One matcher of several, as short as it can be written."""
    merged: list[dict[str, Any]] = []
    for each in forms:
        beside = {key: value for key, value in each.items() if key != "any"}
        if "any" in each and merged and merged[-1].keys() == each.keys() and beside.items() <= merged[-1].items():
            merged[-1] = {**merged[-1], "any": [*merged[-1]["any"], *each["any"]]}
        else:
            merged.append(dict(each))
    found: dict[str, Any] = merged[0] if len(merged) == 1 else {"either": merged}
    if found.keys() == {"any"} and optional == (_ABSENT in found["any"]):
        return found["any"]
    return {**found, "optional": optional} if optional or _ABSENT in found.get("any", ()) else found
