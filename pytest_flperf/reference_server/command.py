"""Command line: ``flperf serve-reference`` and ``python -m pytest_flperf.reference_server``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pytest_flperf._text import harmless, harmless_json
from pytest_flperf.reference_server.checks import OptionError
from pytest_flperf.reference_server.loop import ServerLoop
from pytest_flperf.reference_server.options import ReferenceConfig, preset_names
from pytest_flperf.reference_server.server import carry_out
from pytest_flperf.reference_server.truth import ALL_MISTAKES, read_answers

__all__ = ["add_arguments", "run"]

_USAGE_ERROR: Final = 4
_MOST_CONFIG_BYTES: Final = 16 << 20
_SCHEDULE_NUMBERS: Final = {
    "ttft_ms": "Time to the first chunk with text, in ms",
    "itl_ms": "Time between chunks with text, in ms",
    "jitter_ms": "Largest shift of a chunk, either way, in ms",
    "seed": "Seed of the jitter and of wrong answers; without it, each server draws its own wrong prompts",
    "wrong_share": "Chance, 0 to 1, that an answer is wrong",
    "busy_wrong_share": "That chance while other requests are under way",
    "busy_from": "Requests under way, this one included, from which on that holds (default: 2)",
    "tokens": "Tokens of an answer",
    "tokens_per_chunk": "Tokens in each chunk",
    "reasoning_tokens": "Tokens of reasoning before the answer",
    "stall_every_tokens": "Pause each time after this many tokens",
    "stall_ms": "Length of these pauses, in ms",
    "timings_factor": "Factor on the times in timings: 1 is the truth",
}
_SCHEDULE_WORDS: Final = {
    "role_chunk": "When the role-only chunk is sent: early, with_first, every, none",
    "usage": "Where usage is sent: extra_chunk, finish_chunk, empty_delta, absent, zeros",
    "text": "Text of the answers, repeated as needed",
    "wrong_text": "Text of a wrong answer",
    "wrong_by": "Whose chance that is: request, prompt",
    "wrong_calls": f"How tool calls are wrong, one drawn of a list with commas: {', '.join(ALL_MISTAKES)}",
    "call_form": "Form of tool calls: tool_calls, function_call",
    "call_split": "How their arguments are streamed: whole, even, random",
    "framing": "How streams are framed: chunked, length, close",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the reference server's options to ``parser``."""
    parser.add_argument("--host", metavar="ADDRESS", help="Loopback address to listen on: 127.0.0.1 or ::1")
    parser.add_argument("--port", metavar="N", help="Port to listen on (default: 0, the system chooses)")
    parser.add_argument(
        "--config", metavar="FILE", help="JSON file with settings; options on the command line override it"
    )
    for name, text in (_SCHEDULE_NUMBERS | _SCHEDULE_WORDS).items():
        parser.add_argument(
            "--" + name.replace("_", "-"), metavar="N" if name in _SCHEDULE_NUMBERS else "WORD", help=text
        )
    parser.add_argument(
        "--fault", metavar="NAME", help=f"Fault of every answer: {', '.join(preset_names())} or http-<status>"
    )
    parser.add_argument(
        "--calls", metavar="JSON", help='Tool calls to make where a request has tools: [{"name": …, "arguments": {…}}]'
    )
    parser.add_argument("--text-once", action="store_true", help="Answer the text once, however many tokens it has")
    parser.add_argument(
        "--answers",
        metavar="FILE",
        help='Right answers by prompt, one JSON object a line: {"prompt": …, "text": …} or '
        '{"prompt": …, "calls": […]}; "then" has the calls of further turns',
    )
    parser.add_argument(
        "--judge",
        metavar="JSON",
        help="Judge where flperf judge asks, with this bias, {} for none: q1 and q0 (chances that a good answer passes "
        "and a bad one doesn't), position_bias, preference, preferred, flip_rate, error_rate, nonsense_rate, right, "
        "seed",
    )
    parser.add_argument("--timings", action="store_true", help="Send llama.cpp's timings with each answer")
    parser.add_argument("--any-model", action="store_true", help="Serve every model name, not only the known ones")
    parser.add_argument(
        "--log-file", metavar="FILE", help="Append each finished request to this file, one JSON object per line"
    )
    parser.add_argument("--cert-file", metavar="FILE", help="Certificate (PEM) to speak TLS with")
    parser.add_argument("--key-file", metavar="FILE", help="Key (PEM) of the certificate")
    parser.add_argument(
        "--json",
        action="store_true",
        help="Print where it listens as one line of JSON, read commands as lines, end when standard input ends",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit code.

    4 for invalid settings, 1 where it can't listen.

    Raises:
        OSError: Standard output can't be written, so that the address would stay unknown.

    """
    lines = _input_lines() if args.json else iter(())
    try:
        config = _config(args, lines)
        loop = ServerLoop(config, owns_process=True, ends_with_parent=args.json)
    except (OptionError, RecursionError) as error:
        return _failed(str(error), _USAGE_ERROR)
    except OSError as error:
        return _failed(f"can't serve: {_words(error)}", 1)
    _raise_descriptor_limit()
    # a terminal's Ctrl-C reaches the child as well, but its parent decides
    signal.signal(signal.SIGINT, signal.SIG_IGN if args.json else _stopper(loop))
    signal.signal(signal.SIGTERM, _stopper(loop))
    try:
        _tell_where(args, config, loop)
    except OSError as error:  # a full disk, or the reader is gone
        loop.stop()
        raise OSError(f"can't say where it listens: {_words(error)}") from error
    if args.json:
        threading.Thread(target=_obey, args=(loop, lines), daemon=True).start()
    loop.run()
    return 0


def _tell_where(args: argparse.Namespace, config: ReferenceConfig, loop: ServerLoop) -> None:
    url = _url(config, loop.port)
    if args.json:
        _say({"url": url, "base_url": f"{url}/v1", "port": loop.port, "pid": os.getpid()})
    else:
        models = f"models: {', '.join(config.models)}"
        _write(f"Reference server on {url}/v1 ({models}; log: GET /flperf/log); Ctrl-C ends it\n")


def _url(config: ReferenceConfig, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'https' if config.cert_file else 'http'}://{host}:{port}"


def _config(args: argparse.Namespace, lines: Iterator[str]) -> ReferenceConfig:
    given: dict[str, Any] = {}
    if args.config is not None:
        given = _config_object(args.config, lines)
    schedule = dict(given.get("schedule") or {})
    for name in _SCHEDULE_NUMBERS:
        text = getattr(args, name)
        if text is not None:
            schedule[name] = _number(text, "--" + name.replace("_", "-"))
    schedule |= {name: getattr(args, name) for name in _SCHEDULE_WORDS if getattr(args, name) is not None}
    if args.timings:
        schedule["timings"] = True
    if args.text_once:
        schedule["repeat_text"] = False
    if args.calls is not None:
        schedule["calls"] = _json(args.calls, "--calls")
    if args.judge is not None:
        given["judge"] = _json(args.judge, "--judge")
    if schedule:
        given["schedule"] = schedule
    if args.port is not None:
        given["port"] = _number(args.port, "--port")
    if args.any_model:
        given["strict"] = False
    if args.answers is not None:
        given["answers"] = read_answers(_small_text(args.answers), args.answers)
    given |= {
        name: getattr(args, name)
        for name in ("host", "fault", "log_file", "cert_file", "key_file")
        if getattr(args, name) is not None
    }
    return ReferenceConfig.from_json(given)


def _config_object(where: str, lines: Iterator[str]) -> dict[str, Any]:
    text = next(lines, "{}") if where == "-" else _small_text(where)
    given = _json(text, where)
    if not isinstance(given, dict):
        raise OptionError(f"{where}: expected a JSON object")
    return given


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise OptionError(f"{where}: expected JSON: {error}") from None


def _small_text(where: str) -> str:
    path = Path(where)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MOST_CONFIG_BYTES else b""
    except (OSError, ValueError) as error:
        raise OptionError(f"{where}: {getattr(error, 'strerror', None) or error}") from None
    if size > _MOST_CONFIG_BYTES:
        raise OptionError(f"{where}: more than {_MOST_CONFIG_BYTES >> 20} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(f"{where}: expected text in UTF-8") from None


def _number(text: str, option: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{option}: expected a number, found {ascii(text)[:60]}") from None


def _input_lines() -> Iterator[str]:
    """Read lines of standard input without its buffer.

    A thread that waits in the buffer would block the interpreter's end.
    """
    held = b""
    while True:
        try:
            data = os.read(0, 1 << 16)
        except OSError:
            data = b""
        if not data:
            return
        held += data
        *whole, held = held.split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").strip()


def _obey(loop: ServerLoop, lines: Iterator[str]) -> None:
    """Run commands until standard input ends, then stop the loop."""
    try:
        for line in lines:
            try:
                _say(carry_out(loop, line))
            except ValueError as error:
                _say({"error": str(error)})
    finally:
        loop.stop()


def _stopper(loop: ServerLoop) -> Any:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        loop.stop()

    return stop


def _say(value: Any) -> None:
    _write(harmless_json(json.dumps(value, separators=(",", ":"))) + "\n")


def _write(text: str) -> None:
    if sys.stdout is None:
        raise OSError("standard output is closed")
    sys.stdout.write(text)
    sys.stdout.flush()


def _words(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _failed(message: str, code: int) -> int:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"serve-reference: {harmless(message)}\n")
    return code


def _raise_descriptor_limit() -> None:
    """Raise the open-file limit to the maximum.

    The usual limit is near a thousand streams.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            return
