"""How the next token is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Sampling:
    """The settings that choose each next token and end a run.

    Parameters
    ----------
    temperature
        0 (or less than 1e-4, where logits would overflow) takes the likeliest token; larger values flatten the
        distribution.
    top_k
        Keep only this many of the likeliest tokens; 0 keeps all.
    top_p
        Keep the smallest set of tokens whose probabilities reach this sum, in (0, 1].
    repetition_penalty
        Divides the positive logits (multiplies the negative ones) of tokens that have occurred, once per
        distinct token; 1 is off.
    max_tokens
        How many tokens to write at most.

    Raises
    ------
    ValueError
        If a value is not finite or out of its range.
    """

    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    max_tokens: int = 40

    def __post_init__(self) -> None:
        self._check("temperature", lambda x: x >= 0, "0 (always the likeliest token) or more")
        self._check("top_k", lambda x: x >= 0 and x == int(x), "a whole number, 0 to keep all")
        self._check("top_p", lambda x: 0 < x <= 1, "a number above 0 and at most 1")
        self._check("repetition_penalty", lambda x: x > 0, "a number above 0; 1 turns it off")
        self._check("max_tokens", lambda x: x >= 1 and x == int(x), "a whole number from 1")

    def _check(self, name: str, usable: Callable[[float], bool], wanted: str) -> None:
        value = getattr(self, name)
        if not (isinstance(value, Real) and math.isfinite(float(value)) and usable(float(value))):
            raise ValueError(f"{name}={value!r} cannot be used: give {wanted}.")

    def choose(self, ids: torch.Tensor, logits: torch.Tensor, generator: torch.Generator) -> int:
        """Choose the next token as ``transformers``' ``generate`` does.

        Parameters
        ----------
        ids
            The tokens so far, shape (1, n).
        logits
            The model's logits for the next token, shape (1, vocabulary).
        generator
            The source of randomness, on the logits' device.

        Returns
        -------
        int
            The id of the chosen token.
        """
        processors = LogitsProcessorList()
        if self.repetition_penalty != 1:
            processors.append(RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty)))
        greedy = self.temperature < 1e-4
        if not greedy:
            processors.append(TemperatureLogitsWarper(float(self.temperature)))
            if self.top_k:
                processors.append(TopKLogitsWarper(int(self.top_k)))
            if self.top_p < 1:
                processors.append(TopPLogitsWarper(float(self.top_p)))
        scores = processors(ids, logits)  # pyright: ignore[reportArgumentType]
        if greedy:
            return int(scores.argmax(-1).item())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=generator).item())
