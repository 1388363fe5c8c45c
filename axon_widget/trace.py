"""The record of a run: what was written, token by token, and which features fired."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args, overload

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "axon-widget/trace"
VERSION = 1

Finish = Literal["", "length", "eos", "context", "stopped", "error"]
"""Why a run ended: all tokens written, end of text, context full, stopped, failed; empty while it runs."""


class Feature(NamedTuple):
    """A feature that fired on a token."""

    id: int
    activation: float
    layer: int
    label: str = ""


class Alternative(NamedTuple):
    """A token that could have stood at a place, with the model's probability for it (before any sampling rule)."""

    token: str
    token_id: int
    probability: float


@dataclass(frozen=True)
class TokenStep:
    """One token of a run and what the model showed on it.

    Parameters
    ----------
    token
        Its text. Joined over a trace these are the decoded whole; a character spread over several tokens stands
        with the last of them, and special tokens give the empty string.
    token_id, position, step
        Its id in the vocabulary, its place in the model's context and its place in the trace, both from 0.
    generated
        Whether the model wrote it (the prompt's tokens come first).
    special
        Whether it is a special token (BOS, EOS): these carry no features.
    logprob
        Natural logarithm of the model's probability for it given the tokens before, before any sampling rule;
        None for the first token.
    alternatives
        The five likeliest tokens at its place, likeliest first.
    features
        Every feature that fired, strongest first. They were read on this token and help to predict the next.
    l0
        How many features fired.
    explained_variance, cosine
        How well the SAE reconstructs the activation, see `axon_widget.engine.features.Reading`; None on special
        tokens.
    milliseconds
        The time the token took: model, SAE and sampling. The prompt's tokens share the time of their one pass.
    """

    token: str
    token_id: int
    position: int
    step: int
    generated: bool
    special: bool = False
    logprob: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    features: tuple[Feature, ...] = ()
    explained_variance: float | None = None
    cosine: float | None = None
    milliseconds: float = 0.0

    @property
    def l0(self) -> int:
        """How many features fired."""
        return len(self.features)


@dataclass(frozen=True)
class Origin:
    """Where a trace comes from: the model, the SAE and the settings at its start."""

    model: str = ""
    sae: str = ""
    hook: str = ""
    layer: int = 0
    d_sae: int = 0
    prompt: str = ""
    seed: int | None = None
    sampling: dict[str, float] = field(default_factory=dict[str, float])


class Trace(Sequence[TokenStep]):
    """An append-only record of a run, a sequence of `TokenStep`.

    One thread may append while others read: a step never changes once it stands.

    Parameters
    ----------
    origin
        Where the run comes from.
    steps
        The steps to begin with.
    finish
        Why the run ended.

    Attributes
    ----------
    changes
        Settings that were changed while the model wrote: by step, their values from that token on.
    """

    def __init__(self, origin: Origin | None = None, steps: Sequence[TokenStep] = (), finish: Finish = "") -> None:
        self.origin = origin or Origin()
        self.changes: dict[int, dict[str, float]] = {}
        self.finish: Finish = finish
        self._steps = list(steps)

    def append(self, step: TokenStep) -> None:
        """Add the next step.

        Raises
        ------
        ValueError
            If it is not the next one.
        """
        if step.step != len(self._steps):
            raise ValueError(f"Step {step.step} cannot follow {len(self._steps)} steps.")
        self._steps.append(step)

    @property
    def text(self) -> str:
        """The text: the prompt and what was written."""
        return "".join(step.token for step in self)

    @property
    def generated(self) -> str:
        """The text the model wrote."""
        return "".join(step.token for step in self if step.generated)

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, index: int) -> TokenStep: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenStep]: ...
    def __getitem__(self, index: int | slice) -> TokenStep | list[TokenStep]:
        return self._steps[index]

    def __iter__(self) -> Iterator[TokenStep]:
        return iter(self._steps[:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        mine = (self.origin, self.changes, self.finish, self._steps)
        return mine == (other.origin, other.changes, other.finish, other._steps)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return (
            f"Trace({len(self)} tokens, {self.origin.model or 'no model'}, finish={self.finish!r}, {self.text[:60]!r})"
        )

    def to_pandas(self, per: Literal["feature", "token"] = "feature") -> pd.DataFrame:
        """Give the trace as a table.

        Parameters
        ----------
        per
            ``"feature"``: a row for each feature firing on each token. ``"token"``: a row for each token.

        Raises
        ------
        ValueError
            If `per` is neither.
        """
        import pandas as pd

        token_columns = [*_STEP_FIELDS, "l0"]
        if per == "token":
            return pd.DataFrame([[getattr(s, c) for c in token_columns] for s in self], columns=token_columns)
        if per != "feature":
            raise ValueError(f"per={per!r} is not known: give 'feature' or 'token'.")
        columns = ["step", "position", "token", "generated", *Feature._fields]
        rows = [(s.step, s.position, s.token, s.generated, *f) for s in self for f in s.features]
        return pd.DataFrame(rows, columns=columns)

    @overload
    def to_json(self) -> str: ...
    @overload
    def to_json(self, path: str | Path) -> Path: ...
    def to_json(self, path: str | Path | None = None) -> str | Path:
        """Write the trace as JSON.

        Parameters
        ----------
        path
            A file to write to.

        Returns
        -------
        str or pathlib.Path
            The JSON text, or the file where one is given.
        """
        labels: dict[str, str] = {}
        steps: list[dict[str, Any]] = []
        for s in self:
            row = {name: getattr(s, name) for name in _STEP_FIELDS}
            row["alternatives"] = [list(a) for a in s.alternatives]
            row["features"] = [[f.id, f.activation, f.layer] for f in s.features]
            labels.update({f"{f.layer}:{f.id}": f.label for f in s.features if f.label})
            steps.append(row)
        text = json.dumps(
            {
                "schema": SCHEMA,
                "version": VERSION,
                "origin": asdict(self.origin),
                "changes": [[step, values] for step, values in self.changes.items()],
                "finish": self.finish,
                "labels": labels,
                "steps": steps,
            },
            allow_nan=False,
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
            return Path(path)
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> Trace:
        """Read a trace that `to_json` wrote.

        Parameters
        ----------
        source
            The JSON text, or the path of a file that holds it.

        Raises
        ------
        ValueError
            If it is not a whole trace of a version this package reads.
        FileNotFoundError
            If the file does not exist.
        """
        if not str(source).strip():
            raise ValueError("Not a trace: there is nothing in it.")
        text = source if isinstance(source, str) and source.lstrip().startswith("{") else None
        if text is None:
            text = Path(source).read_text(encoding="utf-8", errors="replace")
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


_STEP_FIELDS = [field.name for field in fields(TokenStep) if field.name not in ("alternatives", "features")]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _trace_from(data: dict[str, Any]) -> Trace:
    origin, labels, finish = data["origin"], data["labels"], data["finish"]
    if finish not in get_args(Finish):
        raise ValueError(f"finish {finish!r} is not known")
    settings = {_text(k, "sampling"): _number(v, k) for k, v in origin["sampling"].items()}
    trace = Trace(
        Origin(
            **{name: _text(origin[name], name) for name in ("model", "sae", "hook", "prompt")},
            layer=_whole(origin["layer"], "layer"),
            d_sae=_whole(origin["d_sae"], "d_sae"),
            seed=None if origin["seed"] is None else _whole(origin["seed"], "seed"),
            sampling=settings,
        ),
        finish=finish,
    )
    for step, values in data["changes"]:
        trace.changes[_whole(step, "change")] = {_text(k, "change"): _number(v, k) for k, v in values.items()}
    for place, row in enumerate(data["steps"]):
        try:
            trace.append(_step_from(row, labels))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"step {place}: {error}") from None
    return trace


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
                _number(activation, "activation"),
                _whole(layer, "layer"),
                _text(labels.get(f"{layer}:{i}", ""), "label"),
            )
            for i, activation, layer in row["features"]
        ),
        explained_variance=optional("explained_variance"),
        cosine=optional("cosine"),
        milliseconds=_number(row["milliseconds"], "milliseconds"),
    )


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}, not text")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} is {value!r}, not true or false")
    return value


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{what} is {value!r}, not a whole number from 0")
    return value


def _number(value: Any, what: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{what} is {value!r}, not a number")
    return value
