"""What travels to the browser: one frame a token, numbered, small, and to be had again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from axon_widget.graph import Graph
from axon_widget.labels import Label
from axon_widget.trace import TokenStep

Frame = dict[str, Any]
Message = dict[str, Any]

BUDGET = 2800
"""The most bytes a frame takes as JSON: with what the kernel wraps around it, a message stays below 3 kB."""

CHUNK = 100
"""The most frames in one message."""

# How many characters of a label, how many edges, and how many characters of an alternative's text (five times that of
# the token's own) a frame holds: the first of these sizes that fits the budget. The inspector asks for whole labels.
_SIZES = ((48, 60, 60), (32, 40, 40), (20, 25, 20), (12, 12, 12), (0, 0, 6))
_SIGNIFICANT = 500
_TOKEN = 60  # characters of a token in a feature's details


def frame(step: TokenStep, graph: Graph, run: int, feature_k: int, threshold: float) -> Frame:
    """Make the frame of a token.

    Parameters
    ----------
    step
        The token.
    graph
        The graph of the run, the token already counted.
    run
        The run's number.
    feature_k, threshold
        Show at most so many features, and none below this activation.

    Returns
    -------
    dict
        The frame, at most `BUDGET` bytes as JSON: labels are shortened and the weakest edges left out as needed.
    """
    shown = [f for f in step.features[:feature_k] if f.activation >= threshold]
    pairs = graph.pairs([(f.layer, f.id) for f in shown])
    made: Frame = {}
    for labels, edge_count, texts in _SIZES:
        made = {
            "run": run,
            "step": step.step,
            "position": step.position,
            "token": clip(step.token, 5 * texts),
            "token_id": step.token_id,
            "generated": step.generated,
            "special": step.special,
            "logprob": _rounded(step.logprob, 4),
            "alternatives": [[clip(a.token, texts), _rounded(a.probability, 4)] for a in step.alternatives],
            "features": [
                {"id": f.id, "label": clip(f.label, labels), "activation": _rounded(f.activation, 4), "layer": f.layer}
                for f in shown
            ],
            "edges": [[a, b, n, _evidence(q)] for a, b, n, q in pairs[:edge_count]],
            "l0": step.l0,
            "explained_variance": _rounded(step.explained_variance, 3),
            "ms": _rounded(step.milliseconds, 2),
        }
        if size(made) <= BUDGET:
            break
    return made


def feature_message(feature: int, layer: int, label: Label, url: str) -> Message:
    """Make the message that tells the inspector about a feature."""
    return {
        "kind": "feature",
        "id": feature,
        "layer": layer,
        "label": clip(label.text, 2000),
        "source": label.source,
        "score": label.score,
        "fires_on": [[clip(token, _TOKEN), _rounded(a, 3)] for token, a in label.fires_on],
        "boosts": [clip(token, _TOKEN) for token in label.boosts],
        "suppresses": [clip(token, _TOKEN) for token in label.suppresses],
        "frequency": label.frequency,
        "max_activation": label.max_activation,
        "dense": label.dense,
        "url": url,
    }


def edges(graph: Graph) -> list[list[Any]]:
    """Give the significant edges of a graph, as [layer, id, layer, id, count, -log10 q].

    A frame tells of its own features' pairs; what it said of a pair grows old as the run goes on.
    """
    return [[*a, *b, n, _evidence(q)] for a, b, n, q in graph.significant()[:_SIGNIFICANT]]


def snapshot(run: int, frames: list[Frame], finish: str, graph: Graph) -> Iterator[Message]:
    """Make the messages that bring a new view to where the run is."""
    yield {"kind": "snapshot", "run": run, "total": len(frames), "finish": finish, "edges": edges(graph)}
    yield from steps(run, frames, 0)


def end(run: int, total: int, finish: str, graph: Graph) -> Message:
    """Make the message that tells that a run ended."""
    return {"kind": "end", "run": run, "total": total, "finish": finish, "edges": edges(graph)}


def steps(run: int, frames: list[Frame], start: int) -> Iterator[Message]:
    """Make the messages that hold the frames of a run from a step on."""
    for first in range(max(start, 0), len(frames), CHUNK):
        yield {"kind": "steps", "run": run, "steps": frames[first : first + CHUNK]}


def size(message: Message) -> int:
    """Give the bytes a message takes as JSON."""
    return len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def clip(text: str, length: int) -> str:
    """Shorten a text, with an ellipsis where something is left out; lone surrogates, which no message holds, go."""
    text = text if len(text) <= length else text[: max(length - 1, 0)] + "…" * (length > 0)
    return text.encode("utf-8", "replace").decode("utf-8")


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _evidence(q: float) -> float:
    """Give -log10 q, 0 for q = 1."""
    return round(min(-math.log10(max(q, 1e-99)), 99.0), 1) + 0.0
