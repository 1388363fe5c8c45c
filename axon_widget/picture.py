"""A run as a picture that needs no browser: its graph in two dimensions, in the view's light colours."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from axon_widget.export import check
from axon_widget.graph import SIGNIFICANT, Graph, Key, graph_of
from axon_widget.labels.text import clean
from axon_widget.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

FORMATS = ("png", "svg", "pdf")
_SIZE = (9.0, 6.4)  # inches
_SHARP = 200  # dots per inch of a file
_NODES = 160  # more would be a cloud
_NAMES = 12
_LONGEST_NAME = 32
_SEED = 7

# The view's light palette.
_BACK, _TEXT, _QUIET_TEXT = "#fbfbfa", "#1b2430", "#566172"
_QUIET, _HOT, _EDGE, _FAINT = "#7f9dc9", "#e06a00", "#2c74a8", "#a3abb8"
_RAMP = ("#440154", "#3f4a8a", "#26828e", "#2fa66a", "#8c9d14")

# Beside matplotlib's own font: those with many of the world's letters, as far as they are installed.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "Hiragino Sans",
    "PingFang SC",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)


class _Node(NamedTuple):
    key: Key
    name: str
    peak: float
    now: float  # its activation on the last token


def to_image(trace: Trace, path: str | Path, *, feature_k: int = 15, activation_threshold: float = 0.1) -> Path:
    """Draw a trace's graph into a file, as its ending says; see `draw`. Give the file.

    Raises
    ------
    ValueError
        If the trace is empty, or the ending is another.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in FORMATS:
        raise ValueError(f"{path.name!r} cannot be a picture: give a name that ends in .{', .'.join(FORMATS)}.")
    path.write_bytes(_render(draw(trace, feature_k, activation_threshold), kind, _SHARP))
    return path


def png(trace: Trace, *, feature_k: int = 15, activation_threshold: float = 0.1, sharp: int = 110) -> bytes:
    """Draw a trace's graph as PNG.

    Parameters
    ----------
    trace
        The run.
    feature_k
        Show at most so many features of a token.
    activation_threshold
        And those from this activation on.
    sharp
        Dots per inch.

    Returns
    -------
    bytes
        The file's content.

    Raises
    ------
    ValueError
        If the trace is empty.
    """
    return _render(draw(trace, feature_k, activation_threshold), "png", sharp)


def _render(figure: Figure, kind: str, sharp: int) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=sharp, facecolor=_BACK, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def draw(trace: Trace, feature_k: int = 15, activation_threshold: float = 0.1) -> Figure:
    """Draw a trace's graph.

    Parameters
    ----------
    trace
        The run.
    feature_k
        Show at most so many features of a token.
    activation_threshold
        And those from this activation on.

    Returns
    -------
    matplotlib.figure.Figure
        The picture, which no window shows.

    Raises
    ------
    ValueError
        If the trace is empty.
    """
    # No pyplot: a figure of ours is none of the user's, and no backend of theirs is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    check(trace)
    graph = graph_of(trace, feature_k, least=activation_threshold)
    nodes = _nodes(trace, graph)
    edges = graph.pairs([node.key for node in nodes], least=1)
    figure = Figure(_SIZE, facecolor=_BACK)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.09, 0.96, 0.77))
    axes.set_axis_off()
    if nodes:
        at = _layout(len(nodes), edges)
        for bright in (False, True):
            kept = [edge for edge in edges if (edge[3] <= SIGNIFICANT) == bright and (bright or edge[2] > 2)]
            lines = LineCollection(
                [at[[a, b]] for a, b, _, _ in kept],
                linewidths=[0.6 + 0.25 * min(count, 10) if bright else 0.4 for _, _, count, _ in kept],
                colors=_EDGE if bright else _FAINT,
                alpha=0.65 if bright else 0.25,
                zorder=2 if bright else 1,
            )
            axes.add_collection(lines)
        strongest = max(max(node.peak for node in nodes), 1e-9)  # there are SAEs whose activations have a sign
        loudest = max(max(node.now for node in nodes), 1e-9)
        areas = [26 + 330 * (max(node.peak, 0.0) / strongest) ** 2 for node in nodes]
        colours = [_colour(node, loudest, len(trace.origin.saes)) for node in nodes]
        axes.scatter(*at.T, s=areas, c=colours, edgecolors=_BACK, linewidths=0.8, zorder=3)
        axes.margins(0.09, 0.07)
        axes.autoscale_view()
        _name(figure, axes, nodes, at, areas)
    _caption(figure, trace, len(nodes), len(graph.keys()))
    return figure


def _nodes(trace: Trace, graph: Graph) -> list[_Node]:
    """Give the nodes to show: those that are tied to another, then the strongest."""
    tied = {key for a, b, _, _ in graph.significant() for key in (a, b)}
    last = next((step for step in reversed(trace) if not step.special), None)
    now = {(f.sae, f.id): f.activation for f in last.features} if last else {}
    fired = [((f.sae, f.id), f) for step in trace if not step.special for f in step.features]
    shown = set(graph.keys())
    names = {key: f.label or f"#{f.id}" for key, f in fired}
    peaks: dict[Key, float] = {}
    for key, f in fired:
        peaks[key] = max(peaks.get(key, 0.0), f.activation)
    nodes = [_Node(key, names[key], peaks[key], now.get(key, 0.0)) for key in peaks if key in shown]
    nodes.sort(key=lambda node: (node.key not in tied, node.now == 0, -node.peak))
    return nodes[:_NODES]


def _layout(count: int, edges: Sequence[tuple[int, int, int, float]]) -> Any:
    """Give a place for each node: what fired together stands together, the nearer where that is no chance."""
    import networkx as nx

    made = cast("Any", nx.Graph())
    made.add_nodes_from(range(count))
    made.add_weighted_edges_from((a, b, (2.0 if q <= SIGNIFICANT else 0.1) * n) for a, b, n, q in edges)
    places: dict[int, Any] = nx.spring_layout(made, k=2.2 / max(count, 1) ** 0.5, iterations=60, seed=_SEED)
    at = np.array([places[i] for i in range(count)])
    # Crowds are given room and what flew far out is brought nearer: halfway to a disc that is filled evenly.
    at -= at.mean(0)
    radius = np.linalg.norm(at, axis=1)
    even = np.sqrt((radius.argsort().argsort() + 1) / count)
    return at * ((radius / max(radius.max(), 1e-9) + 2 * even) / np.maximum(radius, 1e-9))[:, None]


def _colour(node: _Node, loudest: float, saes: int) -> tuple[float, float, float]:
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    quiet = _QUIET
    if saes > 1:
        quiet = LinearSegmentedColormap.from_list("layers", _RAMP)(node.key[0] / (saes - 1))
    if not node.now:
        return _mix(to_rgb(_BACK), to_rgb(quiet), 0.75)
    return _mix(to_rgb(quiet), to_rgb(_HOT), 0.45 + 0.55 * node.now / loudest)


def _mix(one: Sequence[float], other: Sequence[float], share: float) -> tuple[float, float, float]:
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def _name(figure: Figure, axes: Any, nodes: Sequence[_Node], at: Any, areas: Sequence[float]) -> None:
    """Write the names of the strongest nodes where there is room: over no other name, and over few nodes."""
    from matplotlib.patheffects import withStroke

    frame, dots = axes.get_window_extent(), axes.transData.transform(at)
    taken: list[Bbox] = []

    def room(text: Text) -> tuple[int, Bbox] | None:
        box = text.get_window_extent().padded(2)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if not inside or any(box.overlaps(other) for other in taken):
            return None
        return int(((dots > np.array(box.min) - 3) & (dots < np.array(box.max) + 3)).all(1).sum()), box

    for i in sorted(range(len(nodes)), key=lambda i: (-(nodes[i].peak + nodes[i].now), nodes[i].key)):
        if len(taken) == _NAMES:
            return
        text: Text = axes.annotate(
            _fit(nodes[i].name, _LONGEST_NAME),
            at[i],
            (0, 0),
            textcoords="offset points",
            zorder=4,
            path_effects=[withStroke(linewidth=2.5, foreground=_BACK)],
            **_words(8.5, _TEXT),
        )
        gap = areas[i] ** 0.5 / 2 + 3
        places = [(gap, 0, "left", "center"), (-gap, 0, "right", "center")]
        places += [(0, gap, "center", "bottom"), (0, -gap, "center", "top")]
        best: tuple[int, Bbox, dict[str, Any]] | None = None
        for x, y, beside, above in places:
            put = {"position": (x, y), "ha": beside, "va": above}
            text.set(**put)
            if (found := room(text)) and (best is None or found[0] < best[0]):
                best = (*found, put)
        if best is None:
            text.remove()
            continue
        text.set(**best[2], gid="name")
        taken.append(best[1])


def _caption(figure: Figure, trace: Trace, shown: int, count: int) -> None:
    from matplotlib.lines import Line2D

    origin = trace.origin
    figure.text(0.025, 0.945, _fit(origin.prompt or trace.text, 92), va="center", **_words(13, _TEXT))
    saes = origin.saes[0].name if len(origin.saes) == 1 else f"{len(origin.saes)} SAEs" if origin.saes else ""
    counted = sum(not step.special for step in trace)
    features = f"{count} features" if shown == count else f"{shown} of {count} features"
    about = [origin.model, saes, f"{counted} tokens", features]
    figure.text(0.025, 0.9, _fit(" · ".join(filter(None, about)), 120), va="center", **_words(9, _QUIET_TEXT))

    def dot(colour: str, size: float) -> Line2D:
        return Line2D([], [], color=colour, marker="o", linestyle="", markersize=size, markeredgewidth=0)

    earlier = "fired earlier" if len(origin.saes) < 2 else "fired earlier, by depth of the layer"
    legend = figure.legend(
        [dot(_QUIET_TEXT, 8), dot(_HOT, 7), dot(_QUIET, 7), Line2D([], [], color=_EDGE, linewidth=1.6)],
        [
            "size: peak activation",
            "fires on the last token",
            earlier,
            f"together, q ≤ {SIGNIFICANT:g}",
        ],
        loc="lower left",
        bbox_to_anchor=(0.012, 0.005),
        ncols=4,
        frameon=False,
        fontsize=9,
        handletextpad=0.4,
        columnspacing=1.8,
    )
    for text in legend.get_texts():
        text.set(**_words(9, _QUIET_TEXT))


def _words(size: float, colour: str) -> dict[str, Any]:
    """How text is written: as it stands, whatever the user's own style makes of dollars and backslashes."""
    return {
        "fontsize": size,
        "color": colour,
        "family": [name for name, _ in _installed()],
        "parse_math": False,
        "usetex": False,
    }


def _fit(text: str, limit: int) -> str:
    """Give a text on one line, with a box for each character that no font at hand has."""
    line = clean(text, limit)
    missing = set(line)
    for _, path in _installed():
        if missing:
            missing -= _glyphs(path)
    return "".join("□" if letter in missing else letter for letter in line)


@functools.cache
def _installed() -> list[tuple[str, str]]:
    from matplotlib.font_manager import fontManager

    found = {font.name: font.fname for font in fontManager.ttflist if font.weight == 400 and font.style == "normal"}
    return [(name, found[name]) for name in _FONTS if name in found]


@functools.cache
def _glyphs(path: str) -> frozenset[str]:
    from matplotlib import font_manager

    manager: Any = font_manager
    return frozenset(map(chr, manager.get_font(path).get_charmap()))
