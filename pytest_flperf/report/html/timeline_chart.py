"""Timeline charts: a lane per stream, resources below on the same axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_flperf.report.figures import counted
from pytest_flperf.report.html.axes import Axis, axis_of, tick_text
from pytest_flperf.report.html.charts import MULTIPLE, bottom_axis, colour_class, colour_of, drawing, gridlines, label
from pytest_flperf.report.spans import Reading, Span

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Window", "timeline", "window_of"]

_LANES: Final = 16
_REQUESTS: Final = 160
_LEFT: Final = 26.0
_RIGHT: Final = MULTIPLE - 14.0
_TOP: Final = 20.0
_LANE: Final = 14.0
_BAR: Final = 9.0
_SHORTEST: Final = 0.7
_STRIP: Final = 30.0
_STRIP_TEXT: Final = 18.0
_POINTS: Final = 100
_NS_PER_S: Final = 1e9
_STRIPS: Final = (
    (("server_cpu_pct", "the server's processors, %"), ("cpu_pct", "all processors, %")),
    (("server_rss_mb", "the server's memory, MB"), ("ram_pct", "memory of the machine, %")),
    (("gpu_util_pct", "GPU, %"),),
    (("gpu_power_w", "power of the GPU, W"),),
)
"""What is drawn below the lanes: of each, the first that was read."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a case that is drawn."""

    spans: tuple[Span, ...]
    lanes: tuple[int, ...]
    """The streams, a lane for each."""
    left_out: str
    """What is not drawn, in words; empty where all is."""
    begin_ns: int
    """When its first request was sent."""
    end_ns: int
    """When its last request ended."""


def window_of(spans: Sequence[Span], total: int) -> Window | None:
    """The part of a case to draw: its beginning, or around its first failure; None without spans.

    Args:
        spans: Of its requests, as far as they are known.
        total: How many requests it had.

    """
    if not spans:
        return None
    streams = sorted({span.stream for span in spans})
    failing = {span.stream for span in spans if not span.ok}
    lanes = sorted(sorted(streams, key=lambda stream: stream not in failing)[:_LANES])
    drawn = sorted((span for span in spans if span.stream in lanes), key=lambda span: span.sent_ns)
    first_bad = next((place for place, span in enumerate(drawn) if not span.ok), 0)
    start = 0 if first_bad < _REQUESTS else first_bad - _REQUESTS // 2
    shown = tuple(drawn[start : start + _REQUESTS])
    parts = []
    if len(lanes) < len(streams):
        parts.append(f"{len(lanes)} of {len(streams)} streams")
    if len(shown) < total:
        parts.append(f"{len(shown)} of {total} requests" + ", around the first failure" * bool(start))
    begin_ns, end_ns = min(span.sent_ns for span in shown), max(span.end_ns for span in shown)
    return Window(shown, tuple(lanes), ", ".join(parts), begin_ns, end_ns)


def timeline(key: str, title: str, series: int, window: Window, readings: Mapping[str, Sequence[Reading]]) -> Markup:
    """Timeline of a case: light while a request waits for its first token, dark while tokens arrive.

    A cross is where a request failed.  Below are the readings of processor, memory, GPU and power, as far as there are
    any, each from zero.

    Args:
        key: Prefix of the ids within the drawing; each drawing of a page needs its own.
        title: Title of the chart.
        series: Which colour the case's model has.
        window: What is drawn.
        readings: Of the machine, by metric.

    """
    span_s = (window.end_ns - window.begin_ns) / _NS_PER_S
    axis = axis_of([0.0, span_s], _LEFT, _RIGHT - _LEFT, ticks=5, zero=True)
    bottom = _TOP + _LANE * len(window.lanes)
    parts = [label(0, 12, "stream"), *_lanes(window, axis, series)]
    known = [found for strip in _STRIPS if (found := _found(strip, readings, window)) is not None]
    across = [axis.at(tick) for tick in axis.ticks]
    for name, points in known:
        parts += _strip(name, points, window, axis, bottom)
        bottom += _STRIP_TEXT + _STRIP
    parts.insert(0, gridlines(across, _TOP, bottom, (), _LEFT, _RIGHT))
    parts += bottom_axis(axis, bottom, "seconds")
    failed = sum(not span.ok for span in window.spans)
    desc = (
        f"{counted(len(window.spans), 'request')} of {counted(len(window.lanes), 'stream')} in {span_s:.3g} s, "
        f"{failed} failed; below: {', '.join(name for name, _ in known) or 'nothing was read'}"
    )
    return drawing(key, MULTIPLE, bottom + 40, title, desc, parts)


def _lanes(window: Window, axis: Axis, series: int) -> list[str]:
    """Two paths for all requests, whatever their number, and one for all failures."""
    middle = {stream: _TOP + _LANE * (place + 0.5) for place, stream in enumerate(window.lanes)}
    waiting, generating, crosses = "", "", ""
    for span in window.spans:
        y = middle[span.stream]
        sent, end = (_at(axis, moment, window) for moment in (span.sent_ns, span.end_ns))
        first = end if span.first_ns is None else _at(axis, span.first_ns, window)
        waiting += f"M{sent:.1f} {y:g}H{max(first, sent + _SHORTEST):.1f}"
        if span.first_ns is not None:
            generating += f"M{first:.1f} {y:g}H{max(end, first + _SHORTEST):.1f}"
        if not span.ok:
            crosses += f"M{end - 3:.1f} {y - 4:g}l6 8m0 -8l-6 8"
    look = f'class="{colour_class(series)}" fill="none" stroke="{colour_of(series)}" stroke-width="{_BAR:g}"'
    parts = [label(0, y + 4, str(stream + 1)) for stream, y in middle.items()]
    parts.append(f'<path {look} stroke-opacity=".35" d="{waiting}"/>')
    if generating:
        parts.append(f'<path {look} d="{generating}"/>')
    if crosses:
        parts.append(f'<path class="bad" d="{crosses}" fill="none" stroke="currentColor" stroke-width="2"/>')
    return parts


def _at(axis: Axis, moment_ns: int, window: Window) -> float:
    return axis.at((moment_ns - window.begin_ns) / _NS_PER_S)


def _found(
    strip: Sequence[tuple[str, str]], readings: Mapping[str, Sequence[Reading]], window: Window
) -> tuple[str, Sequence[Reading]] | None:
    """The first metric of a strip with two readings or more in the window."""
    for metric, name in strip:
        inside = [each for each in readings.get(metric, ()) if window.begin_ns <= each.at_ns <= window.end_ns]
        if len(inside) > 1:
            return name, _thinned(inside)
    return None


def _thinned(readings: Sequence[Reading]) -> Sequence[Reading]:
    """At most a hundred readings: of some next to each other the highest."""
    size = -(-len(readings) // _POINTS)
    parts = (readings[place : place + size] for place in range(0, len(readings), size))
    return [max(part, key=lambda each: each.value) for part in parts]


def _strip(name: str, readings: Sequence[Reading], window: Window, axis: Axis, top: float) -> list[str]:
    bottom = top + _STRIP_TEXT + _STRIP
    up = axis_of([each.value for each in readings], bottom, -(_STRIP - 2), ticks=1, zero=True)
    path = "L".join(f"{_at(axis, each.at_ns, window):.1f} {up.at(each.value):.1f}" for each in readings)
    return [
        label(_LEFT + 3, top + 14, f"{name}, 0 to {tick_text(up.high)}", more=' class="halo"'),
        gridlines((), 0, 0, (bottom, up.at(up.high)), _LEFT, _RIGHT),
        f'<path d="M{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    ]
