"""The token loop: run the model, read its features, choose the next token."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from typing import Any, NamedTuple, cast

import torch

from axon_widget.engine.decoding import IncrementalDecoder
from axon_widget.engine.passes import Passes, Readings
from axon_widget.engine.sampling import Sampling
from axon_widget.engine.vocabulary import Vocabulary
from axon_widget.trace import Alternative, Feature, Finish, Fit, Steered, Steering, TokenStep, Trace

_ALTERNATIVES = 5


class Choice(NamedTuple):
    """A token's log-probability, its rank, and the likeliest tokens in its place."""

    logprob: float | None = None
    rank: int | None = None
    alternatives: tuple[Alternative, ...] = ()


class TokenLoop:
    """Writes traces.

    Parameters
    ----------
    passes
        The model and its SAEs.
    vocabulary
        Its tokens.
    name
        Gives a feature's name from the place of its SAE and its id.
    """

    def __init__(self, passes: Passes, vocabulary: Vocabulary, name: Callable[[int, int], str]) -> None:
        self._passes, self._vocabulary, self._name = passes, vocabulary, name
        self._context = passes.model.context
        self._eos = _end_tokens(passes.model.plain, vocabulary.tokenizer)

    def write(
        self,
        trace: Trace,
        ids: list[int],
        forced: int | None,
        settings: Sampling,
        sampling: Callable[[], Sampling],
        steering: Callable[[], Steering],
        seed: int,
        stop: Callable[[], bool],
    ) -> Generator[TokenStep]:
        """Write a trace, one step at a time.

        Parameters
        ----------
        trace
            The trace to write to: empty, or with steps to go on from.
        ids
            The prompt's tokens, or those of the steps; the new ones are added.
        forced
            The next token, None to choose it.
        settings, sampling
            How tokens are chosen now; and what is asked for that before each.
        steering
            Is asked before each token what to change in the residual stream.
        seed
            Seeds the random choices.
        stop
            Is asked before every token whether to end.
        """
        passes = self._passes
        generator = torch.Generator(passes.model.device).manual_seed(seed)
        decoder = IncrementalDecoder(self._vocabulary.tokenizer)
        beside = _Beside(passes)
        finish: Finish = "error"
        try:
            start = time.perf_counter()
            now = steering()
            given = len(ids)
            if len(trace):
                for step in trace:
                    decoder.push(step.token_id, last=bool(step.token))
                logits, cache = passes.again(trace, ids, now)
            else:
                if now:
                    trace.steering[0] = now
                logits, cache, readings = passes.forward(ids, None, now)
                passes.keep(trace, cache)
                choices = [Choice(), *self._choices(logits[:-1], ids[1:])]
                clean = [None, *(beside.logprobs(ids) if now.reconstruct else [None] * (given - 1))]
                elapsed = (time.perf_counter() - start) * 1e3 / given
                parts = zip(ids, choices, readings, clean, strict=True)
                for position, (token, choice, reading, plain) in enumerate(parts):
                    if stop():
                        finish = "stopped"
                        return
                    step = self._step(token, decoder.push(token), position, False, choice, reading, plain, elapsed)
                    trace.append(step)
                    yield step
            while True:
                written = len(ids) - given
                before, settings = settings, sampling()
                if settings != before:
                    trace.change(**asdict(settings))
                if stop():
                    finish = "stopped"
                    return
                if written >= settings.max_tokens:
                    finish = "length"
                    return
                if len(ids) >= self._context:
                    finish = "context"
                    return
                start = time.perf_counter()
                fresh = steering()
                if fresh != now:
                    now = fresh
                    logits, cache = passes.again(trace, ids, now)
                ahead = logits[-1:].float()
                if not math.isfinite(float(ahead.max())):  # NaN anywhere makes the maximum NaN
                    raise RuntimeError(
                        "The model's logits are not finite, so no token can be chosen: steer less, or load it in "
                        "float32."
                    )
                token = forced
                if token is None:
                    token = settings.choose(torch.tensor([ids], device=ahead.device), ahead, generator)
                forced = None
                [choice] = self._choices(ahead, [token])
                plain = beside.logprobs([*ids, token])[-1] if now.reconstruct else None
                ids.append(token)
                ends = token in self._eos
                reading: Readings = []
                if not ends:
                    logits, cache, [reading] = passes.forward([token], cache, now)
                last = ends or written + 1 >= settings.max_tokens or len(ids) >= self._context
                text = decoder.push(token, last=last)
                elapsed = (time.perf_counter() - start) * 1e3
                step = self._step(token, text, len(ids) - 1, True, choice, reading, plain, elapsed)
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

    def _choices(self, logits: torch.Tensor, tokens: list[int]) -> list[Choice]:
        """Give each token's log-probability and rank under its logits (n, vocabulary), and the likeliest."""
        choices: list[Choice] = []
        for row, token in zip(logits, tokens, strict=True):
            logprobs = row.float().log_softmax(-1)
            top = logprobs.topk(min(_ALTERNATIVES, len(logprobs)))
            ids = cast("list[int]", top.indices.tolist())
            probabilities = cast("list[float]", top.values.exp().tolist())
            likeliest = zip(map(self._vocabulary.name, ids), ids, probabilities, strict=True)
            alternatives = tuple(Alternative(*one) for one in likeliest)
            logprob = float(logprobs[token])
            if math.isfinite(logprob):
                choices.append(Choice(logprob, 1 + int((logprobs > logprob).sum()), alternatives))
            else:
                choices.append(Choice(alternatives=alternatives))
        return choices

    def _step(
        self,
        token: int,
        text: str,
        position: int,
        generated: bool,
        choice: Choice,
        readings: Readings,
        clean_logprob: float | None,
        milliseconds: float,
    ) -> TokenStep:
        read = [(i, self._passes.readers[i], reading) for i, reading in enumerate(readings)]
        return TokenStep(
            token=text,
            token_id=token,
            position=position,
            step=position,
            generated=generated,
            special=token in self._vocabulary.special,
            logprob=choice.logprob,
            rank=choice.rank,
            alternatives=choice.alternatives,
            features=tuple(
                Feature(i, a, reader.layer, self._name(sae, i), sae)
                for sae, reader, reading in read
                for i, a in zip(reading.ids, reading.activations, strict=True)
            ),
            fits=tuple(Fit(r.explained_variance, r.cosine, len(r.ids)) for r in readings),
            steered=tuple(
                Steered(i, a, b, reader.layer, sae) for sae, reader, reading in read for i, a, b in reading.steered
            ),
            clean_logprob=clean_logprob,
            milliseconds=milliseconds,
        )


class _Beside:
    """The model as it is, run beside the one that is read through its SAEs."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes
        self._cache: Any = None
        self._ahead: list[torch.Tensor] = []  # the logits behind the last token that was run
        self._read = 0

    def logprobs(self, ids: list[int]) -> list[float]:
        """Give the log-probability of those tokens that were not asked for before, but the very first."""
        logits, self._cache = self._passes.bare(ids[self._read :], self._cache)
        rows = [*self._ahead, *logits]
        asked = ids[max(self._read, 1) :]
        self._ahead, self._read = rows[-1:], len(ids)
        return [float(row.float().log_softmax(-1)[token]) for row, token in zip(rows, asked, strict=False)]


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Give every token that ends a text: the model's own list first, as `generate` does."""
    config = getattr(model, "generation_config", None)
    eos = getattr(config, "eos_token_id", None)
    if eos is None:
        eos = tokenizer.eos_token_id
    return set() if eos is None else {eos} if isinstance(eos, int) else set(eos)
