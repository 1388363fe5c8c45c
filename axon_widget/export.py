"""A run as one page: the same view, with no kernel and no network."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from axon_widget import wire
from axon_widget.graph import Graph
from axon_widget.labels import Label
from axon_widget.labels.text import no_formula, whole
from axon_widget.trace import Trace

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

_SIMILAR = 0.3  # the least cosine between decoder directions that a page tells of

STATIC = Path(__file__).parent / "static"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; padding: 16px; background: light-dark(#ffffff, #0b0e14); }}
#axon {{ max-width: 1400px; margin: 0 auto; }}
{css}
body {{ --height: clamp(560px, 100vh - 32px, 900px); }}
</style>
</head>
<body>
<div id="axon"></div>
<script type="application/json" id="axon-replay">{data}</script>
<script type="text/plain" id="axon-bundle">{bundle}</script>
<script>
const text = (id) => document.getElementById(id).textContent;
const bundle = URL.createObjectURL(new Blob([text("axon-bundle")], {{ type: "text/javascript" }}));
import(bundle).then((view) => view.replay(JSON.parse(text("axon-replay")), document.getElementById("axon")));
</script>
</body>
</html>
"""


def replay_data(
    trace: Trace, tracer: Tracer | None = None, *, feature_k: int = 15, activation_threshold: float = 0.1
) -> dict[str, Any]:
    """Give what the view needs to replay a trace.

    Parameters
    ----------
    trace
        The run.
    tracer
        The tracer that wrote it tells more of each feature than its name; the page then holds that too.
    feature_k, activation_threshold
        Show at most so many features of a token, and none below this activation.
    """
    if tracer and (tracer.model_name, tracer.saes) != (trace.origin.model, trace.origin.saes):
        tracer = None  # it knows the features of another SAE
    graph = Graph()
    frames: list[wire.Frame] = []
    steps = list(trace)  # it may grow meanwhile
    dense = tracer.dense if tracer else wire.unknown
    for step in steps:
        graph.add(step, feature_k, activation_threshold)
        frames.append(wire.frame(step, graph, 1, feature_k, activation_threshold, dense))
    seen = {(f["sae"], f["id"]) for frame in frames for f in frame["features"]}
    shown: list[tuple[int, int]] = sorted(seen | {(s.sae, s.id) for step in steps for s in step.steered})
    names = {(f.sae, f.id): f.label for step in steps for f in step.features}
    nearest: list[list[tuple[int, int, float]]] = tracer.nearest(shown) if tracer else [[] for _ in shown]
    origin = trace.origin
    saes: list[dict[str, Any]] = [
        sae._asdict() | {"title": title} for sae, title in zip(origin.saes, origin.titles, strict=True)
    ]
    first = saes[0] if saes else {}
    info: dict[str, Any] = {"model": origin.model, "sae": first.get("name"), **first, "context": None, "saes": saes}
    return {
        "schema": 2,
        "info": tracer.info if tracer else info,
        "traits": {
            "prompt": origin.prompt,
            "seed": origin.seed,
            **origin.sampling,
            "feature_k": feature_k,
            "activation_threshold": activation_threshold,
            "changed": bool(trace.changes),
        },
        "run": 1,
        "finish": trace.finish,
        "steps": frames,
        "edges": wire.edges(graph),
        "similar": wire.similar(1, shown, tracer.cosines(shown), _SIMILAR)["edges"] if tracer else [],
        # Maps that were looked at: to make one takes too long here.
        "places": wire.places(1, tracer.maps.places(shown), False, "")["places"] if tracer else [],
        "activations": _unshown(wire.activations(1, steps, shown)["rows"], frames),
        "features": [
            wire.feature_message(
                feature,
                sae,
                origin.saes[sae].layer if saes else 0,
                tracer.describe(feature, sae) if tracer else Label(names.get((sae, feature), "")),
                tracer.page(feature, sae) if tracer else "",
                near,
                tracer.names if tracer else lambda sae, feature: names.get((sae, feature), ""),
            )
            for (sae, feature), near in zip(shown, nearest, strict=True)
        ],
    }


def _unshown(rows: list[Any], frames: list[wire.Frame]) -> list[Any]:
    """Leave out of the rows of `wire.activations` what the frames tell."""
    told = {(f["sae"], f["id"], frame["step"]) for frame in frames for f in frame["features"]}
    left = [[sae, i, [one for one in fired if (sae, i, one[0]) not in told]] for sae, i, fired in rows]
    return [row for row in left if row[2]]


def page(trace: Trace, tracer: Tracer | None = None, **settings: Any) -> str:
    """Give a trace as one self-contained page.

    Parameters
    ----------
    trace
        The run.
    tracer, **settings
        As `replay_data` takes them.

    Raises
    ------
    ValueError
        If the trace is empty.
    """
    check(trace)
    data = whole(json.dumps(replay_data(trace, tracer, **settings), ensure_ascii=False, allow_nan=False))
    return _PAGE.format(
        title=html.escape(f"{wire.clip(trace.text, 60)} - axon-widget"),
        css=(STATIC / "widget.css").read_text(encoding="utf-8"),
        data=data.replace("<", "\\u003c"),
        # Inside a string or a regular expression, which is where they can stand, these mean the same.
        bundle=(STATIC / "widget.js")
        .read_text(encoding="utf-8")
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--"),
    )


def to_html(trace: Trace, path: str | Path, tracer: Tracer | None = None, **settings: Any) -> Path:
    """Write a trace as the page that `page` gives, and give the file.

    Raises
    ------
    ValueError
        If the trace is empty.
    OSError
        If the file cannot be written.
    """
    return write(page(trace, tracer, **settings), path)


def csv(trace: Trace) -> str:
    """Give `Trace.to_pandas` as CSV.

    Parameters
    ----------
    trace
        The run.

    Returns
    -------
    str
        The table, a header above it. Labels that a spreadsheet would take for formulas begin with an apostrophe.

    Raises
    ------
    ValueError
        If the trace is empty.
    """
    check(trace)
    table = trace.to_pandas()
    table["label"] = [no_formula(label) for label in cast("list[str]", table["label"].tolist())]
    return table.to_csv(index=False, lineterminator="\n")


def check(trace: Trace) -> None:
    """Raise ValueError if there is nothing to export."""
    if not len(trace):
        raise ValueError("There is nothing to show yet: the trace is empty. Run a prompt first.")


def write(text: str, path: str | Path) -> Path:
    """Write an export to a file, and give the file."""
    # Lone surrogates, which a label from elsewhere may hold, have no UTF-8. And a CSV's line ends are its own.
    Path(path).write_text(text, encoding="utf-8", errors="replace", newline="")
    return Path(path)
