"""Verdicts of bfcl-eval's own checker, in an environment of its own: ``python theirs.py ANSWERS DATA…``.

Reads answers as JSON Lines, prints ``true`` or ``false`` for each.  Whole, the package needs torch and the clients of
ten vendors; its table of models, which imports these, is replaced by one that says of every model what it says of
OpenAI's: function calling, with ``_`` for dots in names.  All that judges is theirs.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODEL = "any model that calls functions"


class _AnyModel(dict[str, Any]):
    def __missing__(self, _name: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(underscore_to_dot=True)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def verdicts(answers: list[dict[str, Any]], folder: Path) -> list[bool]:
    """Whether each answer is right, as bfcl-eval has it.

    Args:
        answers: Records of :class:`answer_set.Answer`.
        folder: Of BFCL's data.

    """
    table: Any = types.ModuleType("bfcl_eval.constants.model_config")
    table.MODEL_CONFIG_MAPPING = _AnyModel()
    sys.modules[table.__name__] = table
    from bfcl_eval.constants.enums import Language, ReturnFormat  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker import eval_runner  # type: ignore[import-not-found]
    from bfcl_eval.model_handler.api_inference import openai_completion  # type: ignore[import-not-found]

    class Handler(openai_completion.OpenAICompletionsHandler):  # type: ignore[misc]
        """Theirs, without a client."""

        def __init__(self) -> None:
            self.is_fc_model = True

    files = {each.name: each for each in folder.glob("BFCL_v4_*.json")}
    questions: dict[str, tuple[str, dict[str, Any]]] = {}
    truths: dict[str, Any] = {}
    for name in ("simple_python", "live_simple", "irrelevance", "live_irrelevance"):
        questions |= {line["id"]: (name, line) for line in _lines(files[f"BFCL_v4_{name}.json"])}
        path = folder / "possible_answer" / f"BFCL_v4_{name}.json"
        truths |= {line["id"]: line["ground_truth"] for line in _lines(path)} if path.exists() else {}
    handler, found = Handler(), []
    for answer in answers:
        category, question = questions[answer["id"]]
        result: Any = [{name: arguments} for name, arguments in answer["calls"]] or answer["text"]
        common = (handler, answer["id"], result)
        if "irrelevance" in category:
            verdict: Mapping[str, Any] = eval_runner._evaluate_single_relevance_entry(
                *common, question, MODEL, category
            )
        else:
            verdict = eval_runner._evaluate_single_ast_entry(
                *common, truths[answer["id"]], question, MODEL, category, Language.PYTHON, ReturnFormat.PYTHON
            )
        found.append(bool(verdict["valid"]))
    return found


if __name__ == "__main__":
    for each in verdicts(_lines(Path(sys.argv[1])), Path(sys.argv[2])):
        print(json.dumps(each))
