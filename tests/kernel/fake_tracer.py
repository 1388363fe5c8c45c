"""An engine without a model, for tests that need to know exactly what is written and when. Runs inside kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from axon_widget.labels import Label
from axon_widget.trace import Alternative, Feature, Finish, Origin, TokenStep, Trace

D_SAE = 500
_SHOWN = 32


class FakeTracer:
    """Writes as many tokens as it is asked for, at a steady pace.

    Parameters
    ----------
    pace
        Seconds from one token to the next.
    fail_at
        Raise on this step.
    token, label
        Make a token's text from its step, and a feature's label from its id.
    """

    layer = 3
    model_name = "fake"
    fallback = ""

    def __init__(
        self,
        pace: float = 0.0,
        *,
        fail_at: int | None = None,
        token: Callable[[int], str] = " t{}".format,
        label: Callable[[int], str] = "feature number {}".format,
    ) -> None:
        self.pace, self.fail_at = pace, fail_at
        self.token, self.label = token, label
        self.took = 0.0
        self.info = {
            "model": "fake",
            "sae": "fake/blocks.3.hook_resid_pre",
            "hook": "blocks.3.hook_resid_pre",
            "layer": self.layer,
            "d_sae": D_SAE,
            "context": 10_000,
            "device": "cpu",
            "fallback": "",
            "neuronpedia": "",
        }

    def stream(
        self,
        prompt: str,
        sampling: Callable[[], Any],
        *,
        seed: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        trace: Trace | None = None,
    ) -> Iterator[TokenStep]:
        if prompt.startswith("refuse"):
            raise ValueError("The prompt is refused.")
        trace = Trace() if trace is None else trace
        trace.origin = Origin(model="fake", layer=self.layer, d_sae=D_SAE, prompt=prompt, seed=seed)
        return self._run(sampling, stop, trace)

    def _run(self, sampling: Callable[[], Any], stop: Callable[[], bool], trace: Trace) -> Iterator[TokenStep]:
        started = time.perf_counter()
        finish: Finish = "error"
        try:
            for index in range(500):
                if stop():
                    finish = "stopped"
                    return
                if index >= sampling().max_tokens:
                    break
                if index == self.fail_at:
                    raise RuntimeError("The fake engine broke, as it was told to.")
                # The pace is that of a clock: what handling a token costs does not slow the next one down.
                time.sleep(max(0.0, started + index * self.pace - time.perf_counter()))
                trace.append(self._step(index))
                yield trace[index]
            finish = "length"
        finally:
            trace.finish = finish
            self.took = time.perf_counter() - started

    def _step(self, index: int) -> TokenStep:
        # Groups of features that return every few tokens, so that there are edges, significant ones too; a little
        # further on each time, so that the graph grows.
        turn, group = divmod(index, 7)
        ids = [group * _SHOWN + (place + turn) % _SHOWN for place in range(_SHOWN)]
        return TokenStep(
            token=self.token(index),
            token_id=index,
            position=index,
            step=index,
            generated=True,
            logprob=-0.5,
            alternatives=tuple(Alternative(self.token(index + n), index + n, 0.5 / (n + 1)) for n in range(5)),
            features=tuple(Feature(id, 4.0 * 0.9**place, self.layer, self.label(id)) for place, id in enumerate(ids)),
            explained_variance=0.9,
            cosine=0.95,
            milliseconds=5.0,
        )

    def describe(self, feature: int) -> Label:
        if not 0 <= feature < D_SAE:
            raise ValueError(f"There is no feature {feature}: this SAE has features 0 to {D_SAE - 1}.")
        return Label(self.label(feature), "made up for a test", fires_on=((self.token(feature), 1.0),))

    def page(self, feature: int) -> str:
        return ""
