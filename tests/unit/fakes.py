"""Stand-ins that need no model: a tracer whose tokens a test lets through one by one, and a listener that notes."""

import threading

from axon_widget.labels import Label
from axon_widget.trace import Feature, Origin, TokenStep

INFO = {
    "model": "fake",
    "sae": "fake/sae",
    "hook": "blocks.1.hook_resid_pre",
    "layer": 1,
    "d_sae": 100,
    "context": 50,
    "device": "cpu",
    "fallback": "",
    "neuronpedia": "",
}


class FakeTracer:
    """Writes numbered words. While `gate` is not set it waits before each generated one."""

    def __init__(self, fallback=""):
        self.info = {**INFO, "fallback": fallback}
        self.fallback = fallback
        self.model_name = "fake"
        self.layer = 1
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Semaphore(0)  # released each time it comes to the gate
        self.fail_at = None
        self.used = []  # the settings of each generated token
        self.seeds = []

    def one(self):
        """Let one token through and wait until the next comes to the gate."""
        self.gate.set()
        self.gate.clear()
        assert self.waits.acquire(timeout=10)

    def stream(self, prompt, sampling, *, seed, stop, trace):
        if len(prompt) > 200:
            raise ValueError("The prompt has too many tokens: shorten it.")
        trace.origin = Origin(prompt=prompt, seed=seed)
        self.seeds.append(seed)
        return self._run(prompt.split(), sampling, stop, trace)

    def _run(self, words, sampling, stop, trace):
        try:
            trace.finish = "error"
            for word in words:
                yield self._add(f" {word}", False, trace)
            written = 0
            while True:
                if not self.gate.is_set():
                    self.waits.release()
                    self.gate.wait(10)
                settings = sampling()
                if stop():
                    trace.finish = "stopped"
                    return
                if written >= settings.max_tokens:
                    trace.finish = "length"
                    return
                if written == self.fail_at:
                    raise RuntimeError("The fake broke.")
                self.used.append(settings)
                written += 1
                yield self._add(f" {written}", True, trace)
        except GeneratorExit:
            trace.finish = "stopped"
            raise

    def _add(self, text, generated, trace):
        n = len(trace)
        features = tuple(Feature(i, 3.0 - i / 10, 1, f"label {i}") for i in range(n % 3, n % 3 + 20))
        trace.append(TokenStep(text, n, n, n, generated, features=features, explained_variance=0.5))
        return trace[-1]

    def describe(self, feature):
        if not 0 <= feature < 100:
            raise ValueError(f"There is no feature {feature}: this SAE has features 0 to 99.")
        return Label(f"label {feature}", "a fake")

    def page(self, feature):
        return ""


class Notes:
    """A listener that notes what it hears, and raises where a test wants it to."""

    def __init__(self):
        self.states, self.details, self.steps, self.errors, self.finishes = [], [], [], [], []
        self.loaded, self.traces = [], []
        self.raise_at = None

    def on_state(self, state, detail):
        if not self.states or self.states[-1] != state:
            self.states.append(state)
        self.details.append(detail)

    def on_loaded(self, tracer):
        self.loaded.append(tracer)

    def on_start(self, trace):
        self.traces.append(trace)

    def on_step(self, step):
        self.steps.append(step)
        if len(self.steps) == self.raise_at:
            raise KeyError("the observer's own mistake")

    def on_finish(self, trace):
        self.finishes.append(trace.finish)

    def on_error(self, sentence):
        self.errors.append(sentence)
