"""What travels to the browser: one frame a token, numbered, small, and to be had again."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from axon_widget.graph import Graph, Key
from axon_widget.labels import Label
from axon_widget.labels.text import whole
from axon_widget.runs import Frame, Message, Run
from axon_widget.trace import Feature, TokenStep, strength, strongest

if TYPE_CHECKING:
    import pandas as pd

    from axon_widget.catalog import CatalogEntry
    from axon_widget.engine.attribution import Share, Why
    from axon_widget.outbox import Missed

Pair: TypeAlias = tuple[int, int, int, float]
"""An edge as `Graph.pairs` gives it."""

BUDGET = 2800
"""The most bytes a frame takes as JSON for each SAE: with what the kernel wraps around it, a message stays below 3 kB
for one."""

CHUNK = 100
"""The most frames in one message."""

# How many characters of a label, how many edges of each SAE, how many characters of an alternative's text (five times
# that of the token's own) and how many steered features a frame holds: the first of these sizes that fits the budget.
# The inspector asks for whole labels.
_SIZES = ((48, 60, 60, 30), (32, 40, 40, 30), (20, 25, 20, 20), (12, 12, 12, 10), (0, 0, 6, 5))
_FEWEST = 20  # features of each SAE that fit in any case
_BESIDE = 12  # features that are watched, not shown, for which a frame has room
_EDGES = 500  # the most that are sent of a whole graph
_ROWS = 300  # features of a comparison
_LABEL = 60  # characters of a label in a list
_TOKEN = 60  # characters of a token, or of who wrote a label, in a feature's details
FOUND = 60
"""The most features a search gives."""
CATALOG = 60
"""The most SAEs that are told of at once."""
_OTHERS = 5  # other names of a feature
_CONTEXTS = 10  # texts in which it fires


def unknown(feature: int, sae: int) -> bool | None:
    """Know of no feature how often it fires."""
    return None


def frame(
    step: TokenStep,
    graph: Graph,
    run: int,
    feature_k: int,
    threshold: float,
    dense: Callable[[int, int], bool | None] = unknown,
    watched: Collection[Key] = (),
) -> Frame:
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
        Show at most so many features of each SAE, and none below this activation.
    dense
        Tells of a feature (id, sae) whether it fires far more often than others. Where it does not know (None), a
        feature is called dense that fires on half of the run's tokens or more.
    watched
        Features whose activations are told of even where they are not among those that are shown.

    Returns
    -------
    dict
        The frame, at most `BUDGET` bytes as JSON for each SAE: labels are shortened, and the weakest edges and, at
        worst, features left out as needed. All that are watched are told of: where these are very many, it is larger
        by them.
    """
    shown = strongest(step, feature_k, threshold)
    keys = [(f.sae, f.id) for f in shown]
    others = [f for f in step.features if (f.sae, f.id) in watched and (f.sae, f.id) not in keys]
    beside = [[f.sae, f.id, _rounded(f.activation, 4)] for f in others]
    pairs = graph.pairs(keys)
    most = BUDGET * max(len(step.fits), 1) + size(beside[_BESIDE:])
    made: Frame = {}
    for labels, edge_count, texts, steered in _SIZES:
        made = {
            "run": run,
            "step": step.step,
            "position": step.position,
            "token": clip(step.token, 5 * texts),
            "token_id": step.token_id,
            "generated": step.generated,
            "special": step.special,
            "logprob": _rounded(step.logprob, 4),
            "rank": step.rank,
            "alternatives": [[clip(a.token, texts), _rounded(a.probability, 4), a.token_id] for a in step.alternatives],
            "features": [
                {
                    "id": f.id,
                    "label": clip(f.label, labels),
                    "activation": _rounded(f.activation, 4),
                    "layer": f.layer,
                    "sae": f.sae,
                }
                | ({"dense": True} if _is_dense(f, dense, graph) else {})
                for f in shown
            ],
            "edges": [[a, b, n, _evidence(q)] for a, b, n, q in _first(pairs, edge_count, shown)],
            "fits": [_fit(step, sae, shown) for sae in range(len(step.fits))],
            "l0": step.l0,
            "explained_variance": _rounded(step.explained_variance, 3),
            "ms": _rounded(step.milliseconds, 2),
        }
        if beside:
            made["beside"] = beside
        if step.steered:
            made["steered"] = [
                [s.sae, s.id, _rounded(s.before, 3), _rounded(s.after, 3)] for s in step.steered[:steered]
            ]
        if step.clean_logprob is not None:
            made["clean_logprob"] = _rounded(step.clean_logprob, 4)
        if size(made) <= most:
            return made
    return made if feature_k <= _FEWEST else frame(step, graph, run, _FEWEST, threshold, dense, watched)


def _first(pairs: list[Pair], count: int, shown: list[Feature]) -> list[Pair]:
    """Give the first so many pairs of each SAE."""
    seen: Counter[int] = Counter()
    found: list[Pair] = []
    for pair in pairs:
        sae = shown[pair[0]].sae
        seen[sae] += 1
        if seen[sae] <= count:
            found.append(pair)
    return found


def _fit(step: TokenStep, sae: int, shown: list[Feature]) -> list[float | None]:
    """Tell how an SAE sees a token: its fit, the shown part of all activation, the peak and the sum of the top five."""
    total = sum(f.activation for f in step.features if f.sae == sae)
    share = sum(f.activation for f in shown if f.sae == sae) / total if total else 1.0
    fit, (peak, top5) = step.fits[sae], strength(step, sae)
    values = (fit.explained_variance, fit.cosine, fit.l0, share, peak, top5)
    return [_rounded(value, 3) for value in values]


def _is_dense(feature: Feature, dense: Callable[[int, int], bool | None], graph: Graph) -> bool:
    known = dense(feature.id, feature.sae)
    return graph.often((feature.sae, feature.id)) if known is None else known


def feature_message(
    feature: int,
    sae: int,
    layer: int,
    label: Label,
    url: str,
    nearest: Iterable[tuple[int, int, float]] = (),
    name: Callable[[int, int], str] = lambda sae, feature: "",
) -> Message:
    """Make the message that tells the inspector about a feature.

    Parameters
    ----------
    feature, sae, layer
        Its number, and the place and layer of its SAE.
    label, url
        What is known of it, and the address of its page.
    nearest
        Features that are like it, as (sae, id, cosine).
    name
        Gives the name of a feature from the place of its SAE and its id.
    """
    return {
        "kind": "feature",
        "id": feature,
        "sae": sae,
        "layer": layer,
        "label": clip(label.text, 2000),
        "source": label.source,
        "explainer": clip(label.explainer, _TOKEN),
        "method": clip(label.method, _TOKEN),
        "score": label.score,
        "scored_by": clip(label.scored_by, _TOKEN),
        "others": [[clip(text, 300), clip(by, _TOKEN), score] for text, by, score in label.others[:_OTHERS]],
        "fetched": label.fetched,
        "fires_on": [[clip(token, _TOKEN), _rounded(a, 3)] for token, a in label.fires_on],
        "boosts": [clip(token, _TOKEN) for token in label.boosts],
        "suppresses": [clip(token, _TOKEN) for token in label.suppresses],
        "contexts": [
            [[clip(token, _TOKEN), _rounded(a, 3)] for token, a in context] for context in label.contexts[:_CONTEXTS]
        ],
        "nearest": [[s, i, _rounded(cosine, 3), clip(name(s, i), _LABEL)] for s, i, cosine in nearest],
        "frequency": label.frequency,
        "max_activation": label.max_activation,
        "dense": label.dense,
        "url": url,
    }


def activations(run: int, steps: Iterable[TokenStep], watched: Collection[Key]) -> Message:
    """Make the message that tells where features fire in a run, those that no frame shows included.

    Its rows are [sae, id, [[step, activation], ...]].
    """
    found: dict[Key, list[list[float | None]]] = {key: [] for key in watched}
    for step in steps:
        for f in step.features:
            if (f.sae, f.id) in found:
                found[f.sae, f.id].append([step.step, _rounded(f.activation, 4)])
    return {"kind": "activations", "run": run, "rows": [[*key, rows] for key, rows in found.items()]}


def maxima(known: Iterable[tuple[Key, Label | None]]) -> Message:
    """Make the message that tells how strongly features are known to fire; None where that is not known."""
    return {"kind": "maxima", "maxima": [[*key, label.max_activation if label else None] for key, label in known]}


def edges(graph: Graph) -> list[list[Any]]:
    """Give the significant edges of a graph, as [sae, id, sae, id, count, -log10 q].

    A frame tells of its own features' pairs; what it said of a pair grows old as the run goes on.
    """
    return [[*a, *b, n, _evidence(q)] for a, b, n, q in graph.significant()[:_EDGES]]


def renamed(runs: list[Run], name: Callable[[int, int], str], others: Iterable[dict[str, Any]] = ()) -> Message | None:
    """Put the names that are known by now into the frames of runs, and make the message that tells of the changes.

    Parameters
    ----------
    runs
        The runs; what a new view gets of them has the new names.
    name
        Gives the name of a feature from the place of its SAE and its id; where that is empty, the old one stays.
    others
        What the view shows besides, as dictionaries with ``sae``, ``id`` and ``label``: these are told of and left.

    Returns
    -------
    dict or None
        The message; None where nothing has changed.
    """
    changed: dict[Key, str] = {}
    for feature in (feature for run in runs for frame in run.frames for feature in frame["features"]):
        label = clip(name(feature["sae"], feature["id"]), _SIZES[0][0])
        old = feature["label"]
        same = label.startswith(old[:-1]) if old.endswith("…") else label == old  # an ellipsis may stand in for it
        if label and not same:
            feature["label"] = changed[feature["sae"], feature["id"]] = label
    for other in others:
        label = clip(name(other["sae"], other["id"]), _SIZES[0][0])
        if label and label != clip(other["label"], _SIZES[0][0]):
            changed[other["sae"], other["id"]] = label
    return {"kind": "labels", "labels": [[*key, label] for key, label in changed.items()]} if changed else None


def found(
    text: str, rows: list[tuple[int, int, str]], token: str = "", boosting: Iterable[tuple[int, int, str]] = ()
) -> Message:
    """Make the message that tells which features a search found.

    Parameters
    ----------
    text
        What was looked for.
    rows
        The features whose labels hold it, at most `FOUND` are told of.
    token, boosting
        The token that it is, and the features that push that token; empty where it is none.
    """

    def told(features: Iterable[tuple[int, int, str]]) -> list[list[Any]]:
        return [[sae, feature, clip(name, 2 * _LABEL)] for sae, feature, name in features]

    more = len(rows) > FOUND
    answer = {"kind": "found", "text": whole(text), "rows": told(rows[:FOUND]), "more": more}
    return answer | {"token": clip(token, _TOKEN), "boosting": told(boosting)}


def catalog(text: str, entries: Iterable[CatalogEntry], total: int, cached: set[str], loaded: set[str]) -> Message:
    """Make the message that tells which SAEs there are.

    Parameters
    ----------
    text
        What was looked for.
    entries, total
        Those to tell of, at most `CATALOG`; and how many there are.
    cached, loaded
        The names of those that are on this machine, and of those that are loaded.
    """
    from axon_widget.catalog import refusal

    rows = [
        {
            "name": entry.name,
            "model": entry.model,
            "hook": entry.hook,
            "layer": entry.layer,
            "width": entry.width,
            "l0": entry.l0,
            "labelled": entry.labelled,
            "cached": entry.name in cached,
            "loaded": entry.name in loaded,
            "refused": refusal(entry),
        }
        for entry in entries
    ]
    return {"kind": "catalog", "text": whole(text), "total": total, "rows": rows}


def snapshot(runs: list[Run]) -> Iterator[Message]:
    """Make the messages that bring a new view to where a tree of runs is; the last is the newest."""
    told = [{**_begun(run), "total": run.total, "finish": run.trace.finish, "edges": edges(run.graph)} for run in runs]
    yield {"kind": "snapshot", "run": runs[-1].number, "runs": told}
    for run in runs:
        yield from steps(run, 0)


def branch(run: Run) -> Message:
    """Make the message that tells that a branch begins."""
    return {"kind": "branch", **_begun(run)}


def _begun(run: Run) -> Message:
    token = None if run.trace.put_in is None else clip(run.trace.put_in, _TOKEN)
    return {"run": run.number, "parent": run.parent, "from": run.start, "token": token}


def end(run: Run) -> Message:
    """Make the message that tells that a run ended."""
    return {
        "kind": "end",
        "run": run.number,
        "total": run.total,
        "finish": run.trace.finish,
        "edges": edges(run.graph),
    }


def steps(run: Run, start: int) -> Iterator[Message]:
    """Make the messages that hold a run's own frames from a step on."""
    for first in range(max(start - run.start, 0), len(run.frames), CHUNK):
        yield {"kind": "steps", "run": run.number, "steps": run.frames[first : first + CHUNK]}


def missed(after: int, what: Missed) -> Message:
    """Make the message that answers a view which asks what came after the message of a number."""
    told = [[n, message] for n, message in what.messages]
    return {"kind": "missed", "after": after, "last": what.last, "more": what.more, "messages": told}


def why(run: int, found: Why, name: Callable[[int, int], str]) -> Message:
    """Make the message that tells why a token follows; `name` gives a feature's name from its SAE and id."""

    def share(one: Share) -> list[float | None]:
        return [_rounded(one.direct, 4), _rounded(one.exact, 5)]

    return {
        "kind": "why",
        "run": run,
        "step": found.step,
        "token": clip(found.token, _TOKEN),
        "token_id": found.token_id,
        "logprob": _rounded(found.logprob, 4),
        "logit_difference": _rounded(found.logit_difference, 4),
        "done": found.done,
        "total": found.total,
        "saes": [
            {
                "sae": one.sae,
                "features": [
                    [i, clip(name(one.sae, i), _LABEL), _rounded(a, 4), *share(s)]
                    for i, a, s in sorted(
                        zip(one.ids, one.activations, one.features, strict=True),
                        key=lambda row: -abs(row[2].direct or 0.0),
                    )
                ],
                "error": share(one.error),
                "bias": share(one.bias),
                "rest": share(one.rest),
                "whole_stream": one.whole_stream,
                "final": [_rounded((one.final.direct or 0.0) + (one.cap.direct or 0.0), 4), None],
                "gap": share(one.gap),
                "all": share(one.every),
            }
            for one in found.saes
        ],
    }


def edge(a: Key, b: Key, numbers: dict[str, float | None], cosine: float) -> Message:
    """Make the message that tells all numbers of an edge."""
    told = {name: _rounded(value, 5) for name, value in numbers.items()}
    for name in ("p", "q", "q_shift"):  # a rounded p would be 0
        told[name] = numbers.get(name)
    return {"kind": "edge", "a": list(a), "b": list(b), **told, "cosine": _rounded(cosine, 3)}


def places(run: int, found: Iterable[tuple[int, int, float, float]], making: bool, trouble: str) -> Message:
    """Make the message that tells where features lie on the maps of their SAEs.

    Parameters
    ----------
    run
        The run's number.
    found
        ``(sae, id, x, y)`` of those of its nodes whose place is known, within -1 and 1.
    making
        Whether there are maps that are still being made; another message follows then.
    trouble
        Why there are maps that could not be made; empty if there are none.
    """
    rows: list[list[Any]] = [[sae, feature, _rounded(x, 4), _rounded(y, 4)] for sae, feature, x, y in found]
    return {"kind": "map", "run": run, "places": rows, "making": making, "trouble": clip(trouble, 200)}


def similar(run: int, keys: list[Key], cosines: Any, least: float) -> Message:
    """Make the message that tells which nodes have similar decoder directions.

    Parameters
    ----------
    run
        The run's number.
    keys, cosines
        Its nodes (sae, id), and their cosines, shape (nodes, nodes).
    least
        Leave out smaller cosines.
    """
    saes = np.array([sae for sae, _ in keys])
    near = np.abs(saes[:, None] - saes) <= 1  # concepts are followed from one layer to the next
    values = np.asarray(cosines)
    a, b = np.nonzero(np.triu((values >= least) & near, 1))
    order = np.argsort(-values[a, b], kind="stable")[:_EDGES]
    rows: list[list[Any]] = [
        [*keys[i], *keys[j], _rounded(float(values[i, j]), 3)] for i, j in zip(a[order], b[order], strict=True)
    ]
    return {"kind": "similar", "run": run, "least": least, "edges": rows}


def comparison(a: int, b: int, table: pd.DataFrame) -> Message:
    """Make the message that compares two runs, from `Trace.compare`."""
    names = ("sae", "id", "label", "mean_a", "mean_b", "peak_a", "peak_b", "tokens_a", "tokens_b")
    rows: list[list[Any]] = []
    columns: list[list[Any]] = [table[name].head(_ROWS).tolist() for name in names]
    for sae, i, label, *means, tokens_a, tokens_b in zip(*columns, strict=True):
        rows.append([sae, i, clip(label, _LABEL), *(_rounded(mean, 4) for mean in means), tokens_a, tokens_b])
    return {"kind": "comparison", "a": a, "b": b, "from": int(table.attrs["from"]), "rows": rows}


def size(message: Message | list[Any]) -> int:
    """Give the bytes a message, or a part of one, takes as JSON."""
    return len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def clip(text: str, length: int) -> str:
    """Shorten a text, with an ellipsis where something is left out; lone surrogates, which no message holds, go."""
    return whole(text if len(text) <= length else text[: max(length - 1, 0)] + "…" * (length > 0))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _evidence(q: float) -> float:
    """Give -log10 q, 0 for q = 1."""
    return round(min(-math.log10(max(q, 1e-99)), 99.0), 1) + 0.0
