"""A trace as JSON, and back: what a file from elsewhere holds is checked value by value."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast, get_args

from axon_widget.labels.text import whole
from axon_widget.trace import (
    STEP_FIELDS,
    Alternative,
    Feature,
    Finish,
    Fit,
    Origin,
    SAEOrigin,
    Steer,
    Steered,
    Steering,
    TokenStep,
    Trace,
)

SCHEMA = "axon-widget/trace"
VERSION = 2


def dumps(trace: Trace) -> str:
    """Write a trace as JSON."""
    labels: dict[str, str] = {}
    steps: list[dict[str, Any]] = []
    for s in trace:
        row = {name: getattr(s, name) for name in STEP_FIELDS}
        row["alternatives"] = [list(a) for a in s.alternatives]
        row["features"] = [[f.id, f.activation, f.layer, f.sae] for f in s.features]
        row["fits"] = [list(fit) for fit in s.fits]
        row["steered"] = [list(steered) for steered in s.steered]
        labels.update({f"{f.sae}:{f.id}": f.label for f in s.features if f.label})
        steps.append(row)
    return json.dumps(
        {
            "schema": SCHEMA,
            "version": VERSION,
            "origin": asdict(trace.origin),
            "changes": [[step, values] for step, values in list(trace.changes.items())],
            "steering": [
                [step, [list(change) for change in values.features], values.reconstruct]
                for step, values in list(trace.steering.items())
            ],
            "fork": trace.fork,
            "put_in": trace.put_in,
            "finish": trace.finish,
            "labels": labels,
            "steps": steps,
        },
        allow_nan=False,
    )


def loads(text: str) -> Trace:
    """Read a trace that `dumps` wrote.

    Raises
    ------
    ValueError
        If it is not a whole trace of a version this package reads.
    """
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Not a trace: the file is not whole JSON ({error}).") from None
    if not isinstance(data, dict) or cast("dict[str, Any]", data).get("schema") != SCHEMA:
        raise ValueError(f"Not a trace: the file has no schema {SCHEMA!r}. Write one with Trace.to_json().")
    data = cast("dict[str, Any]", data)
    if data.get("version") != VERSION:
        raise ValueError(
            f"This trace has version {data.get('version')!r}; this axon-widget reads version {VERSION}. "
            "Install the axon-widget that wrote it, or write it again."
        )
    try:
        return _trace_from(data)
    except KeyError as error:
        raise ValueError(f"Not a whole trace: {error} is missing.") from None
    except (TypeError, IndexError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"Not a whole trace: {str(error).rstrip('.')}.") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _trace_from(data: dict[str, Any]) -> Trace:
    origin, labels, finish = data["origin"], data["labels"], data["finish"]
    if finish not in get_args(Finish):
        raise ValueError(f"finish {finish!r} is not known")
    settings = {_text(k, "sampling"): _number(v, k) for k, v in origin["sampling"].items()}
    trace = Trace(
        Origin(
            model=_text(origin["model"], "model"),
            saes=tuple(_sae_from(sae) for sae in origin["saes"]),
            prompt=_text(origin["prompt"], "prompt"),
            seed=None if origin["seed"] is None else _whole(origin["seed"], "seed"),
            sampling=settings,
        ),
        finish=finish,
    )
    for step, values in data["changes"]:
        trace.changes[_whole(step, "change")] = {_text(k, "change"): _number(v, k) for k, v in values.items()}
    for step, changes, reconstruct in data["steering"]:
        trace.steering[_whole(step, "steering")] = Steering(
            tuple(
                Steer(_whole(sae, "sae"), _whole(i, "feature id"), _number(value, "value"), _flag(scale, "scale"))
                for sae, i, value, scale in changes
            ),
            _flag(reconstruct, "reconstruct"),
        )
    trace.fork = None if data["fork"] is None else _whole(data["fork"], "fork")
    trace.put_in = None if data["put_in"] is None else _text(data["put_in"], "put_in")
    for place, row in enumerate(data["steps"]):
        try:
            trace.append(_step_from(row, labels))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"step {place}: {error}") from None
    _check_names(trace)
    return trace


def _check_names(trace: Trace) -> None:
    """Raise ValueError where a trace speaks of SAEs, features or steps that it does not have, or of one twice."""
    sizes = [sae.d_sae or sys.maxsize for sae in trace.origin.saes] or [sys.maxsize]
    changed = [(c.sae, c.id) for steering in trace.steering.values() for c in steering.features]
    seen = [(f.sae, f.id) for step in trace for f in (*step.features, *step.steered)]
    for sae, feature in (*changed, *seen):
        if sae >= len(sizes) or feature >= sizes[sae]:
            raise ValueError(f"there is no feature {feature} of SAE {sae}")
    for step in trace:
        if len(step.fits) > len(trace.origin.saes):
            raise ValueError(f"step {step.step}: there are {len(trace.origin.saes)} SAEs but {len(step.fits)} fits")
        fired = [(f.sae, f.id) for f in step.features]
        if len(set(fired)) < len(fired):
            raise ValueError(f"step {step.step}: a feature fires twice")
    if trace.fork is not None and not 1 <= trace.fork <= len(trace):
        raise ValueError(f"a branch cannot begin at step {trace.fork} of {len(trace)}")


def _sae_from(sae: Sequence[Any]) -> SAEOrigin:
    name, hook, layer, d_sae, context = sae
    return SAEOrigin(
        _text(name, "sae"),
        _text(hook, "hook"),
        _whole(layer, "layer"),
        _whole(d_sae, "d_sae"),
        None if context is None else _whole(context, "context"),
    )


def _step_from(row: dict[str, Any], labels: dict[str, Any]) -> TokenStep:
    def optional(name: str) -> float | None:
        return None if row[name] is None else _number(row[name], name)

    return TokenStep(
        token=_text(row["token"], "token"),
        token_id=_whole(row["token_id"], "token_id"),
        position=_whole(row["position"], "position"),
        step=_whole(row["step"], "step"),
        generated=_flag(row["generated"], "generated"),
        special=_flag(row["special"], "special"),
        logprob=optional("logprob"),
        alternatives=tuple(
            Alternative(_text(token, "alternative"), _whole(i, "alternative's id"), _number(p, "probability"))
            for token, i, p in row["alternatives"]
        ),
        features=tuple(
            Feature(
                _whole(i, "feature id"),
                _activation(activation),
                _whole(layer, "layer"),
                _text(labels.get(f"{sae}:{i}", ""), "label"),
                _whole(sae, "sae"),
            )
            for i, activation, layer, sae in row["features"]
        ),
        fits=tuple(
            Fit(_number(explained, "explained variance"), _number(cosine, "cosine"), _whole(l0, "l0"))
            for explained, cosine, l0 in row["fits"]
        ),
        steered=tuple(
            Steered(
                _whole(i, "feature id"),
                _number(before, "activation"),
                _number(after, "activation"),
                _whole(layer, "layer"),
                _whole(sae, "sae"),
            )
            for i, before, after, layer, sae in row["steered"]
        ),
        clean_logprob=optional("clean_logprob"),
        milliseconds=_number(row["milliseconds"], "milliseconds"),
        # Traces written before there were ranks stay readable.
        rank=None if row.get("rank") is None else _whole(row["rank"], "rank"),
    )


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}, not text")
    return whole(value)


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} is {value!r}, not true or false")
    return value


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{what} is {value!r}, not a whole number from 0")
    return value


def _activation(value: Any) -> float:
    # Below 0 is no fault: SAEs of the kind AbsTopK have signed ones.
    if _number(value, "activation") == 0:
        raise ValueError("a feature with activation 0 does not fire")
    return value


def _number(value: Any, what: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{what} is {value!r}, not a number")
    return value
