"""The record of a run: what was written, token by token, and which features fired."""

from __future__ import annotations

import errno
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

if TYPE_CHECKING:
    import pandas as pd

Finish = Literal["", "length", "eos", "context", "stopped", "error"]
"""Why a run ended: all tokens written, end of text, context full, stopped, failed; empty while it runs."""


class Feature(NamedTuple):
    """A feature that fired on a token; `sae` is the place of its SAE among those that were read."""

    id: int
    activation: float
    layer: int
    label: str = ""
    sae: int = 0


class Alternative(NamedTuple):
    """A token that could have stood at a place, with the model's probability for it (before any sampling rule)."""

    token: str
    token_id: int
    probability: float


class Fit(NamedTuple):
    """How well one SAE sees one token, see `axon_widget.engine.features.Reading`; `l0` features fired."""

    explained_variance: float
    cosine: float
    l0: int


class Steered(NamedTuple):
    """A feature whose activation was changed on a token: as it was read, and as the model was run with."""

    id: int
    before: float
    after: float
    layer: int
    sae: int = 0


class Steer(NamedTuple):
    """A change of one feature: its activation is set to `value`, or, with `scale`, multiplied by it."""

    sae: int
    id: int
    value: float
    scale: bool = False


@dataclass(frozen=True)
class Steering:
    """What is changed in the residual stream while the model runs.

    Parameters
    ----------
    features
        The features that are steered: x' = x + sum (a' - a) d at every token that is not special.
    reconstruct
        Whether the model is read through its SAEs: x' is the SAE's output, steered features included.
    """

    features: tuple[Steer, ...] = ()
    reconstruct: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is changed."""
        return bool(self.features) or self.reconstruct


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
        Whether it was written after the prompt: by the model, or put in by somebody (see `Trace.put_in`).
    special
        Whether it is a special token (BOS, EOS): these carry no features.
    logprob
        Natural logarithm of the model's probability for it given the tokens before, before any sampling rule;
        None for the first token.
    rank
        Its place among all tokens by that probability, from 1; None for the first token.
    alternatives
        The five likeliest tokens at its place, likeliest first.
    features
        Every feature that fired, by SAE, strongest first. They were read on this token and help to predict the next.
    fits
        How well each SAE sees the token; empty where no features were read.
    steered
        The features that were steered on this token.
    clean_logprob
        Where the model is read through its SAEs: what `logprob` is without that.
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
    fits: tuple[Fit, ...] = ()
    steered: tuple[Steered, ...] = ()
    clean_logprob: float | None = None
    milliseconds: float = 0.0
    rank: int | None = None

    @property
    def read(self) -> bool:
        """Whether features were read on it: not on special tokens, nor on a first one that is the attention sink."""
        return not self.special and (self.position > 0 or bool(self.fits or self.features))

    @property
    def l0(self) -> int:
        """How many features fired."""
        return len(self.features)

    @property
    def explained_variance(self) -> float | None:
        """The share of variance the first SAE explains; None where no features were read."""
        return self.fits[0].explained_variance if self.fits else None

    @property
    def cosine(self) -> float | None:
        """The cosine between what the first SAE reads and what it gives back; None where no features were read."""
        return self.fits[0].cosine if self.fits else None


class SAEOrigin(NamedTuple):
    """An SAE that was read: its name, where it reads, its size, and the length of the texts it was trained on."""

    name: str = ""
    hook: str = ""
    layer: int = 0
    d_sae: int = 0
    context: int | None = None


class _Key:
    """An identity that weak references can hold."""


@dataclass(frozen=True)
class Origin:
    """Where a trace comes from: the model, its SAEs and the settings at its start."""

    model: str = ""
    saes: tuple[SAEOrigin, ...] = ()
    prompt: str = ""
    seed: int | None = None
    sampling: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def titles(self) -> list[str]:
        """Name each SAE by its layer, and by what else tells it apart from the others."""
        layers = Counter(sae.layer for sae in self.saes)
        titles: list[str] = []
        for sae in self.saes:
            title = f"layer {sae.layer}"
            if layers[sae.layer] > 1:
                title += " " + re.sub(r"^blocks\.\d+\.|hook_(resid_)?", "", sae.hook)
            alike = [set(other.name.split("/")) for other in self.saes if other.hook == sae.hook]
            own = [part for part in sae.name.split("/") if part not in set.intersection(*alike)]
            titles.append(", ".join(filter(None, (title, "/".join(own)))))
        return titles


class Trace(Sequence[TokenStep]):
    """An append-only record of a run, a sequence of `TokenStep`.

    One thread may append while others read: a step never changes once it stands, but for the names of its features,
    which may come in later (see `rename`).

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
        Settings that were changed while the model wrote, and the seed of what was added later: by step, their values
        from that token on.
    steering
        What was changed in the residual stream: by step, what was in force from that token on.
    fork
        The first step that is this trace's own; None where it is not a branch of another.
    put_in
        The text of a token that somebody put in at `fork`; None where the model chose it.
    parent
        The trace it is a branch of. A branch holds all steps, those it shares with its parent too.
    key
        Tells this trace from any other, equal ones too: what else is known of a run can be kept by it.
    """

    def __init__(self, origin: Origin | None = None, steps: Sequence[TokenStep] = (), finish: Finish = "") -> None:
        self.origin = origin or Origin()
        self.changes: dict[int, dict[str, float]] = {}
        self.steering: dict[int, Steering] = {}
        self.finish: Finish = finish
        self.fork: int | None = None
        self.put_in: str | None = None
        self.parent: Trace | None = None
        self.key = _Key()
        self._steps = list(steps)

    def change(self, **settings: float) -> None:
        """Note the settings in force from the next token on: those that differ from the ones before."""
        now: dict[str, float | None] = {"seed": self.origin.seed, **self.origin.sampling}
        for values in self.changes.values():
            now |= values
        if new := {name: value for name, value in settings.items() if now.get(name) != value}:
            self.changes[len(self)] = {**self.changes.get(len(self), {}), **new}

    def branch(self, fork: int) -> Trace:
        """Begin a branch that shares this trace's first steps; `fork` is the first that will be its own.

        Raises
        ------
        ValueError
            If there are not so many steps, or none would be shared.
        """
        if not 1 <= fork <= len(self._steps):
            raise ValueError(f"A branch cannot begin at step {fork} of {len(self._steps)}.")
        made = Trace(self.origin, self._steps[:fork])
        made.changes = {step: dict(values) for step, values in list(self.changes.items()) if step < fork}
        made.steering = {step: values for step, values in list(self.steering.items()) if step < fork}
        made.fork, made.parent = fork, self
        return made

    def steering_at(self, step: int) -> Steering:
        """Give what was in force on a token."""
        known = [at for at in list(self.steering) if at <= step]
        return self.steering[max(known)] if known else Steering()

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

    def rename(self, name: Callable[[int, int], str]) -> None:
        """Give features the names that are known by now.

        Parameters
        ----------
        name
            Gives the name of a feature from the place of its SAE and its id; where that is empty, the old one stays.
        """
        for place, step in enumerate(self._steps):
            features = tuple(
                f if (label := name(f.sae, f.id) or f.label) == f.label else f._replace(label=label)
                for f in step.features
            )
            if any(new is not old for new, old in zip(features, step.features, strict=True)):
                self._steps[place] = replace(step, features=features)

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
        same = ("origin", "changes", "steering", "finish", "fork", "put_in", "_steps")
        return all(getattr(self, name) == getattr(other, name) for name in same)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return (
            f"Trace({len(self)} tokens, {self.origin.model or 'no model'}, finish={self.finish!r}, {self.text[:60]!r})"
        )

    def to_pandas(self, per: Literal["feature", "token", "layer"] = "feature") -> pd.DataFrame:
        """Give the trace as a table.

        Parameters
        ----------
        per
            ``"feature"``: a row for each feature firing on each token. ``"token"``: a row for each token.
            ``"layer"``: a row for each SAE on each token: how well it sees it (see `Fit`), its strongest activation
            (``peak``) and the sum of its five strongest (``top5``).

        Raises
        ------
        ValueError
            If `per` is none of these.
        """
        import pandas as pd

        if per == "token":
            columns = [*STEP_FIELDS, "l0", "explained_variance", "cosine"]
            return pd.DataFrame([[getattr(s, c) for c in columns] for s in self], columns=columns)
        if per == "layer":
            columns = ["step", "position", "token", "sae", "layer", *Fit._fields, "peak", "top5"]
            layers = [(s, sae, fit, *strength(s, sae)) for s in self for sae, fit in enumerate(s.fits)]
            saes = self.origin.saes
            return pd.DataFrame(
                [(s.step, s.position, s.token, i, saes[i].layer, *fit, *strong) for s, i, fit, *strong in layers],
                columns=columns,
            )
        if per != "feature":
            raise ValueError(f"per={per!r} is not known: give 'feature', 'token' or 'layer'.")
        columns = ["step", "position", "token", "generated", *Feature._fields]
        rows = [(s.step, s.position, s.token, s.generated, *f) for s in self for f in s.features]
        return pd.DataFrame(rows, columns=columns)

    def common(self, other: Trace) -> int:
        """Give the number of steps at the beginning on which both have the same tokens and the same features."""
        same = 0
        for mine, its in zip(self._steps, other._steps, strict=False):
            if mine is not its and (mine.token_id, _activations(mine)) != (its.token_id, _activations(its)):
                break
            same += 1
        return same

    def compare(self, other: Trace) -> pd.DataFrame:
        """Compare the features of two runs where they differ: what both have in common at the beginning is left out.

        Parameters
        ----------
        other
            A run read by the same SAEs, such as another branch. Below, this trace is a and the other is b.

        Returns
        -------
        pandas.DataFrame
            A row for each feature that fires in either: ``sae, layer, id, label``; ``mean_a, mean_b``: its mean
            activation over the tokens compared; ``peak_a, peak_b``: its largest; ``tokens_a, tokens_b``: the number
            of tokens it fires on; ``only``: ``"a"``, ``"b"`` or ``""``; ``difference``: mean_a - mean_b. Largest
            difference first. ``attrs["from"]`` is the first step compared.

        Raises
        ------
        ValueError
            If the two were not read by the same SAEs.
        """
        import pandas as pd

        if self.origin.saes != other.origin.saes:
            raise ValueError("These traces were not read by the same SAEs, so their features cannot be compared.")
        start = self.common(other)
        mine, its = _tally(self._steps[start:]), _tally(other._steps[start:])
        rows: list[tuple[Any, ...]] = []
        for key in mine.keys() | its.keys():
            layer, label = (mine.get(key) or its[key])[:2]
            (mean_a, peak_a, tokens_a), (mean_b, peak_b, tokens_b) = (
                tally[key][2:] if key in tally else (0.0, 0.0, 0) for tally in (mine, its)
            )
            only = "" if tokens_a and tokens_b else "a" if tokens_a else "b"
            row = (key[0], layer, key[1], label, mean_a, mean_b, peak_a, peak_b, tokens_a, tokens_b, only)
            rows.append((*row, mean_a - mean_b))
        rows.sort(key=lambda row: (-abs(row[-1]), row[0], row[2]))
        names = "sae layer id label mean_a mean_b peak_a peak_b tokens_a tokens_b only difference"
        table = pd.DataFrame(rows, columns=names.split())
        table.attrs["from"] = start
        return table

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
        from axon_widget import trace_json

        text = trace_json.dumps(self)
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
        from axon_widget import trace_json

        if not str(source).strip():
            raise ValueError("Not a trace: there is nothing in it.")
        text = source if isinstance(source, str) and source.lstrip().startswith("{") else None
        if text is None:
            try:
                text = Path(source).read_text(encoding="utf-8", errors="replace")
            except (OSError, ValueError) as error:
                # What is too long, or holds a zero byte, can be no file's name.
                if isinstance(error, OSError) and error.errno not in (errno.ENAMETOOLONG, errno.EINVAL):
                    raise
                raise ValueError(
                    "Not a trace: give the JSON object that Trace.to_json() writes, as text, or the path of a file "
                    "that holds it."
                ) from None
        return trace_json.loads(text)


_NESTED = ("alternatives", "features", "fits", "steered")
STEP_FIELDS = [field.name for field in fields(TokenStep) if field.name not in _NESTED]
"""The fields of a step that are a single value."""


def strength(step: TokenStep, sae: int) -> tuple[float, float]:
    """Give the strongest activation of an SAE's features on a token, and the sum of the five strongest."""
    strongest = sorted((f.activation for f in step.features if f.sae == sae), reverse=True)[:5]
    return max(strongest, default=0.0), sum(strongest)


def strongest(step: TokenStep, count: int | None, least: float = -math.inf) -> list[Feature]:
    """Give so many of the features of each SAE on a token, strongest first, from an activation on; all with None."""
    seen: Counter[int] = Counter()
    found: list[Feature] = []
    for feature in step.features:
        seen[feature.sae] += 1
        if (count is None or seen[feature.sae] <= count) and feature.activation >= least:
            found.append(feature)
    return found


def _activations(step: TokenStep) -> list[tuple[int, int, float]]:
    return [(f.sae, f.id, f.activation) for f in step.features]


def _tally(steps: Sequence[TokenStep]) -> dict[tuple[int, int], tuple[int, str, float, float, int]]:
    """Give each feature's layer, label, mean and largest activation, and the number of tokens it fires on."""
    counted = [step for step in steps if step.read]
    found: dict[tuple[int, int], tuple[int, str, float, float, int]] = {}
    for f in (feature for step in counted for feature in step.features):
        _, label, total, peak, tokens = found.get((f.sae, f.id), (f.layer, "", 0.0, 0.0, 0))
        found[f.sae, f.id] = (f.layer, f.label or label, total + f.activation, max(peak, f.activation), tokens + 1)
    return {
        key: (layer, label, total / len(counted), peak, tokens)
        for key, (layer, label, total, peak, tokens) in found.items()
    }
