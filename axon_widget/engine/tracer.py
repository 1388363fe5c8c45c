"""The token loop: run the model, read its features, choose the next token."""

from __future__ import annotations

import math
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch

from axon_widget.engine.decoding import IncrementalDecoder
from axon_widget.engine.features import FeatureReader, Reading
from axon_widget.engine.hooks import HookedModel
from axon_widget.engine.loading import Progress, load
from axon_widget.engine.matvec import AllThreads
from axon_widget.engine.sampling import Sampling
from axon_widget.labels import Label, Labels, NoLabels
from axon_widget.labels.logits import LogitLabels
from axon_widget.trace import Alternative, Feature, Finish, Origin, TokenStep, Trace

_ALTERNATIVES = 5

Choice: TypeAlias = tuple[float | None, tuple[Alternative, ...]]
"""A token's log-probability and the likeliest tokens in its place."""

_NO_CHOICE: Choice = (None, ())


class Tracer:
    """A model with a sparse autoencoder at one of its hook points.

    Most people want `Tracer.load`.

    Parameters
    ----------
    model
        The model.
    tokenizer
        Its tokenizer.
    sae
        A SAELens SAE whose metadata names the hook point it reads.
    labels
        Names the features.
    model_name, sae_name
        What to call them in traces.
    neuronpedia
        The SAE's id on Neuronpedia, empty where it has none.
    fallback
        Why this model runs in place of the one asked for, empty where it does not.

    Raises
    ------
    ValueError
        If the model lacks the SAE's hook point, or the SAE's width is not the hook point's.
    """

    def __init__(
        self,
        model: HookedModel,
        tokenizer: Any,
        sae: Any,
        *,
        labels: Labels | None = None,
        model_name: str = "",
        sae_name: str = "",
        neuronpedia: str = "",
        fallback: str = "",
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.reader = FeatureReader(sae)
        self.labels = labels or NoLabels()
        self.hook = str(sae.cfg.metadata.hook_name)
        self.layer = model.layer_of(self.hook)
        self.model_name, self.sae_name = model_name, sae_name or self.hook
        self.neuronpedia, self.fallback = neuronpedia, fallback
        self._special = set(tokenizer.all_special_ids)
        self._eos = _end_tokens(model.plain, tokenizer)
        self._anchor: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()  # one forward pass at a time, whoever asks
        width = model.forward(torch.tensor([[self._bos() or 0]], device=model.device), None, [self.hook])
        found = width.read[self.hook].shape[-1]
        if found != self.reader.d_in:
            raise ValueError(
                f"The SAE {self.sae_name} reads {self.reader.d_in} dimensions, but {self.hook} of "
                f"{model_name or 'this model'} has {found}: it was trained on another model or hook point."
            )

    @classmethod
    def load(
        cls,
        model: str | None = None,
        sae: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        progress: Progress | None = None,
    ) -> Tracer:
        """Load a model and an SAE of it, or give the tracer that already holds them.

        What lies in a directory is read anew each time: it may have changed.

        Parameters
        ----------
        model
            ``"embedded"``, a model's name (``"gpt2-small"``, any on the Hugging Face hub) or a local directory. Left
            out: gpt2-small, or the embedded model where gpt2-small is neither cached nor reachable.
        sae
            ``"release/id"`` from SAELens' directory or a local directory in SAELens' format. Left out: the model's
            default.
        device
            ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        dtype
            ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        progress
            Is called with a sentence as loading goes on.

        Raises
        ------
        ValueError
            If a name is not known, or the SAE does not fit the model.
        ConnectionError
            If files are neither cached nor reachable.
        TypeError
            If a name is neither text nor a path.
        """
        for name in (model, sae):
            if not isinstance(name, str | Path | None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"Models and SAEs are named by text or a path, not by {name!r}.")
        model = None if model is None else str(model)
        key = (model, str(sae), device, dtype)
        report = progress or _silent
        report("waiting for another model to load" if _loading.locked() else "")
        with _loading:
            report("")
            tracer = _loaded.get(key)
            if tracer is None:
                tracer = cls(**vars(load(model, sae, device, dtype, report)))
                local = any(name is not None and Path(name).is_dir() for name in (model, sae))
                if not (local or tracer.fallback):
                    _loaded[key] = tracer
            return tracer

    @property
    def info(self) -> dict[str, Any]:
        """What is loaded, as plain values."""
        return {
            "model": self.model_name,
            "sae": self.sae_name,
            "hook": self.hook,
            "layer": self.layer,
            "d_sae": self.reader.d_sae,
            "context": self.model.context,
            "device": str(self.model.device),
            "fallback": self.fallback,
            "neuronpedia": self.neuronpedia,
        }

    def encode(self, prompt: str) -> list[int]:
        """Turn a prompt into token ids, BOS first where the model has one.

        The names of special tokens (``</s>``) in it stand for these tokens, as prompts of chat models need: they carry
        no features and no text.

        Raises
        ------
        ValueError
            If the prompt is empty or blank, or longer than the model's context.
        """
        if not prompt.strip():
            raise ValueError("The prompt is empty: give the model some text to go on from.")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise ValueError("The prompt holds half a character (a lone surrogate): remove it.") from None
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        bos = self._bos()
        if bos is not None and ids[:1] != [bos]:
            ids = [bos, *ids]
        if len(ids) > self.model.context:
            raise ValueError(
                f"The prompt has {len(ids)} tokens, but {self.model_name or 'the model'} sees at most "
                f"{self.model.context}: shorten it."
            )
        return ids

    def stream(
        self,
        prompt: str,
        sampling: Sampling | Callable[[], Sampling] | None = None,
        *,
        seed: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        trace: Trace | None = None,
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
        **settings
            Fields of `Sampling`, in place of `sampling`.

        Returns
        -------
        generator of TokenStep
            The steps.

        Raises
        ------
        ValueError
            If the prompt or a setting cannot be used. Raised here, before the first step is asked for.
        RuntimeError
            If the model's logits are not finite.
        """
        if sampling is not None and settings:
            raise ValueError(f"Give either sampling or {', '.join(settings)}, not both.")
        current = sampling if callable(sampling) else _always(sampling or Sampling(**settings))
        first = current()
        ids = self.encode(prompt)
        seed = secrets.randbits(31) if seed is None else int(seed)
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed={seed} cannot be used: give a whole number from 0 to 2**63 - 1, or None.")
        trace = Trace() if trace is None else trace
        trace.origin = Origin(
            model=self.model_name,
            sae=self.sae_name,
            hook=self.hook,
            layer=self.layer,
            d_sae=self.reader.d_sae,
            prompt=prompt,
            seed=seed,
            sampling=asdict(first),
        )
        return self._run(ids, first, current, seed, stop, trace)

    def run(self, prompt: str, sampling: Sampling | None = None, **kwargs: Any) -> Trace:
        """Run a prompt to its end and give the trace. Takes what `stream` takes."""
        trace = Trace()
        for _ in self.stream(prompt, sampling, trace=trace, **kwargs):
            pass
        return trace

    def _run(
        self,
        ids: list[int],
        settings: Sampling,
        sampling: Callable[[], Sampling],
        seed: int,
        stop: Callable[[], bool],
        trace: Trace,
    ) -> Generator[TokenStep]:
        generator = torch.Generator(self.model.device).manual_seed(seed)
        decoder = IncrementalDecoder(self.tokenizer)
        finish: Finish = "error"
        try:
            prompt_length = len(ids)
            start = time.perf_counter()
            logits, cache, readings = self._forward(ids, None)
            choices = [_NO_CHOICE, *self._choices(logits[:-1], ids[1:])]
            elapsed = (time.perf_counter() - start) * 1e3 / prompt_length
            for position, (token, choice, reading) in enumerate(zip(ids, choices, readings, strict=True)):
                if stop():
                    finish = "stopped"
                    return
                step = self._step(token, decoder.push(token), position, False, choice, reading, elapsed)
                trace.append(step)
                yield step
            while True:
                written = len(ids) - prompt_length
                before, settings = settings, sampling()
                if settings != before:
                    old = asdict(before)
                    trace.changes[len(trace)] = {k: v for k, v in asdict(settings).items() if v != old[k]}
                if stop():
                    finish = "stopped"
                    return
                if written >= settings.max_tokens:
                    finish = "length"
                    return
                if len(ids) >= self.model.context:
                    finish = "context"
                    return
                start = time.perf_counter()
                ahead = logits[-1:].float()
                if not math.isfinite(float(ahead.max())):  # NaN anywhere makes the maximum NaN
                    raise RuntimeError(
                        "The model's logits are not finite, so no token can be chosen: load it in float32."
                    )
                token = settings.choose(torch.tensor([ids], device=ahead.device), ahead, generator)
                [choice] = self._choices(ahead, [token])
                ids.append(token)
                ends = token in self._eos
                reading = None
                if not ends:
                    logits, cache, [reading] = self._forward([token], cache)
                last = ends or written + 1 >= settings.max_tokens or len(ids) >= self.model.context
                text = decoder.push(token, last=last)
                elapsed = (time.perf_counter() - start) * 1e3
                step = self._step(token, text, len(ids) - 1, True, choice, reading, elapsed)
                trace.append(step)
                yield step
                if ends:
                    finish = "eos"
                    return
        except GeneratorExit:
            finish = "stopped"
            raise
        finally:
            trace.finish = finish

    def _forward(self, ids: list[int], cache: Any) -> tuple[torch.Tensor, Any, list[Reading | None]]:
        """Run new tokens: their logits (n, vocabulary), the cache, and a reading for each that is not special."""
        with self._lock, AllThreads():
            out = self.model.forward(torch.tensor([ids], device=self.model.device), cache, [self.hook])
            shown = [i for i, token in enumerate(ids) if token not in self._special]
            readings: list[Reading | None] = [None] * len(ids)
            if shown:
                for i, reading in zip(shown, self.reader.read(out.read[self.hook][0, shown]), strict=True):
                    readings[i] = reading
        return out.logits[0], out.cache, readings

    def _choices(self, logits: torch.Tensor, tokens: list[int]) -> list[Choice]:
        """Give each token's log-probability under its logits (n, vocabulary), and the likeliest in its place."""
        choices: list[Choice] = []
        for row, token in zip(logits, tokens, strict=True):
            logprobs = row.float().log_softmax(-1)
            top = logprobs.topk(min(_ALTERNATIVES, len(logprobs)))
            ids = cast("list[int]", top.indices.tolist())
            probabilities = cast("list[float]", top.values.exp().tolist())
            alternatives = tuple(Alternative(self._name(i), i, p) for i, p in zip(ids, probabilities, strict=True))
            logprob = float(logprobs[token])
            choices.append((logprob if math.isfinite(logprob) else None, alternatives))
        return choices

    def _step(
        self,
        token: int,
        text: str,
        position: int,
        generated: bool,
        choice: Choice,
        reading: Reading | None,
        milliseconds: float,
    ) -> TokenStep:
        firing = zip(reading.ids, reading.activations, strict=True) if reading else ()
        return TokenStep(
            token=text,
            token_id=token,
            position=position,
            step=position,
            generated=generated,
            special=token in self._special,
            logprob=choice[0],
            alternatives=choice[1],
            features=tuple(Feature(i, a, self.layer, self._label(i)) for i, a in firing),
            explained_variance=reading.explained_variance if reading else None,
            cosine=reading.cosine if reading else None,
            milliseconds=milliseconds,
        )

    def describe(self, feature: int) -> Label:
        """Tell what is known of a feature: its label, or failing that the tokens it boosts, from the weights.

        Raises
        ------
        ValueError
            If the SAE has no such feature.
        """
        if not isinstance(feature, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A feature is named by its number, not by {feature!r}.")
        if not 0 <= feature < self.reader.d_sae:
            raise ValueError(f"There is no feature {feature}: this SAE has features 0 to {self.reader.d_sae - 1}.")
        label = self.labels.get(feature)
        if label is None and self._logit_labels:
            label = self._logit_labels.get(feature)
        return label or Label(source="this SAE has no labels")

    def page(self, feature: int) -> str:
        """Give the address of a feature's page on Neuronpedia, empty where the SAE has none."""
        return f"https://www.neuronpedia.org/{self.neuronpedia}/{feature}" if self.neuronpedia else ""

    @cached_property
    def _logit_labels(self) -> LogitLabels | None:
        """What the weights say of a feature; nothing where its direction is not one of the residual stream."""
        if not self.reader.writes_residual:
            return None
        bridge, plain = self.model.bridge, self.model.plain
        norm = plain.get_submodule(bridge.ln_final.name)
        centred = not bridge.cfg.uses_rms_norm
        with torch.inference_mode():
            # An RMSNorm's scale is read off the module, as some families store it less one.
            gamma = norm.weight if centred else norm(torch.ones_like(norm.weight)[None])[0]
        return LogitLabels(
            decoder=self.reader.sae.W_dec,
            gamma=gamma,
            unembedding=plain.get_output_embeddings().weight,
            centred=centred,
            name=self._name,
        )

    def _label(self, feature: int) -> str:
        label = self.labels.get(feature)
        return label.text if label else ""

    def _name(self, token: int) -> str:
        """Give one token's own text, its leading space kept."""
        if token not in self._names:
            # Some tokenizers drop the space a text begins with, so the token is decoded behind another one.
            ahead = self.tokenizer.decode(self._anchor)
            self._names[token] = str(self.tokenizer.decode([*self._anchor, token]))[len(ahead) :]
        return self._names[token]

    def _bos(self) -> int | None:
        return self.tokenizer.bos_token_id


# Forty runs of a cell make forty widgets, of which each would hold a model of its own.
_loaded: weakref.WeakValueDictionary[tuple[str | None, str, str, str], Tracer] = weakref.WeakValueDictionary()


# transformers switches global state of torch while it loads: one at a time.
_loading = threading.Lock()


def _silent(_sentence: str) -> None:
    return


def _always(sampling: Sampling) -> Callable[[], Sampling]:
    return lambda: sampling


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Give every token that ends a text: the model's own list first, as `generate` does."""
    config = getattr(model, "generation_config", None)
    eos = getattr(config, "eos_token_id", None)
    if eos is None:
        eos = tokenizer.eos_token_id
    return set() if eos is None else {eos} if isinstance(eos, int) else set(eos)
