"""Stand-ins that need no model: a tracer whose tokens a test lets through one by one, and a listener that notes."""

import threading
import time
from dataclasses import replace

import numpy as np

from axon_widget.engine.names import Names
from axon_widget.labels import Label, Labels
from axon_widget.trace import Alternative, Feature, Fit, Origin, SAEOrigin, Steered, TokenStep

D_SAE = 100


class FakeVocabulary:
    """Knows the words " w0", " w1" and so on."""

    def name(self, token):
        return f" w{token}"

    def find(self, token):
        if isinstance(token, str):
            if not token.startswith(" w") or not token[2:].isdecimal():
                raise ValueError(f"{token!r} is not one token of this model: a leading space counts.")
            token = int(token[2:])
        if not 0 <= token < 1000:
            raise ValueError(f"There is no token {token}: this model has tokens 0 to 999.")
        return token


class FakeLabels(Labels):
    """Labels made up by a function, which a test may replace."""

    def __init__(self, label, count):
        super().__init__()
        self.label, self.count, self.asked, self.said = label, count, [], ""

    def get(self, feature):
        return Label(self.label(feature), "a fake")

    def names(self):
        return [(i, self.label(i)) for i in range(self.count)]

    def ask(self, feature):
        self.asked.append(feature)

    @property
    def status(self):
        return self.said

    def become(self, label, status=""):
        """Have labels come in."""
        self.label, self.said = label, status
        self.tell()


class FakeReader:
    """As much of a `FeatureReader` as is looked at from outside the engine."""

    def __init__(self, layer, d_sae=D_SAE, label="label {}".format, name=""):
        self.hook = f"blocks.{layer}.hook_resid_pre"
        self.name = name or "fake/sae"
        self.layer, self.d_sae, self.context = layer, d_sae, 50
        self.labels = FakeLabels(label, d_sae)
        self.d_in = 8


class FakeMaps:
    """Maps that are there once a test says so; a feature's place goes by its number."""

    def __init__(self):
        self.ready, self.trouble, self.asked = False, "", []

    def ask(self, tell):
        self.asked.append(tell)
        return not self.ready

    def places(self, features):
        return [(sae, i, i / 100, -i / 100) for sae, i in features] if self.ready else []


class FakeEngine:
    """What is the same for every stand-in of a tracer: the features it knows. Needs no torch before one is named."""

    model_name = "fake"

    def __init__(self, readers, fallback=""):
        self.readers, self.fallback, self.vocabulary = readers, fallback, FakeVocabulary()
        self.names = Names(readers, lambda sae: None)
        self.maps = FakeMaps()
        self.dense_ones = set()  # (id, sae)

    @property
    def saes(self):
        return tuple(SAEOrigin(r.name, r.hook, r.layer, r.d_sae, r.context) for r in self.readers)

    @property
    def info(self):
        titles = Origin(saes=self.saes).titles
        saes = [
            sae._asdict() | {"title": title, "neuronpedia": "", "labels": "made up"}
            for sae, title in zip(self.saes, titles, strict=True)
        ]
        first = {name: saes[0][name] for name in ("hook", "layer", "d_sae", "neuronpedia", "labels")}
        here = {"model": self.model_name, "sae": saes[0]["name"], "device": "cpu", "fallback": self.fallback}
        return {**here, **first, "context": 10_000, "saes": saes}

    def address(self, feature):
        from axon_widget.engine.tracer import Tracer

        return Tracer.address(self, feature)

    def check(self, sae, feature):
        if not 0 <= sae < len(self.readers):
            raise ValueError(f"There is no SAE {sae}: there are {len(self.readers)}, numbered from 0.")
        if not 0 <= feature < self.readers[sae].d_sae:
            raise ValueError(
                f"There is no feature {feature}: this SAE has features 0 to {self.readers[sae].d_sae - 1}."
            )
        return sae, feature

    def check_trace(self, trace):
        if (trace.origin.model, trace.origin.saes) != (self.model_name, self.saes):
            raise ValueError("The trace is of another model or other SAEs than those that are loaded.")

    def dense(self, feature, sae=0):
        return (feature, sae) in self.dense_ones

    def describe(self, feature, sae=0):
        self.check(sae, feature)
        return Label(self.names(sae, feature), "a fake", **self.known_of(feature))

    def inquire(self, feature, sae=0):
        self.readers[sae].labels.ask(feature)

    def known_of(self, feature):
        """What else is known of a feature."""
        return {}

    def page(self, feature, sae=0):
        return ""

    def nearest(self, features, count=8):
        """Whatever has the next number."""
        return [[(sae, (i + 1) % self.readers[sae].d_sae, 0.4)] for sae, i in features]

    def boosting(self, token, count=5):
        """The feature of the token's number, in every SAE."""
        return [(sae, token % reader.d_sae) for sae, reader in enumerate(self.readers)]

    def cosines(self, features):
        """The same number in another SAE points nearly the same way; neighbours a little."""
        near = {0: 0.9, 1: 0.4}
        assert all(0 <= i < self.readers[sae].d_sae for sae, i in features)
        found = [1.0 if a == b else near.get(abs(a[1] - b[1]), 0.0) for a in features for b in features]
        return np.array(found).reshape(len(features), len(features))


class FakeTracer(FakeEngine):
    """Writes numbered words. While `gate` is not set it waits before each generated one."""

    def __init__(self, fallback="", *, layers=(1,), d_sae=D_SAE):
        super().__init__([FakeReader(layer, d_sae) for layer in layers], fallback)
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Semaphore(0)  # released each time it comes to the gate
        self.fail_at = None
        self.used = []  # the settings of each generated token
        self.steered = []  # the steering of each generated token
        self.seeds = []

    def one(self):
        """Let one token through and wait until the next comes to the gate."""
        self.gate.set()
        self.gate.clear()
        assert self.waits.acquire(timeout=10)

    def stream(self, prompt, sampling, *, seed, stop, trace, steering):
        if len(prompt) > 200:
            raise ValueError("The prompt has too many tokens: shorten it.")
        trace.origin = Origin(self.model_name, self.saes, prompt, seed)
        self.seeds.append(seed)
        self.names.keep(trace)
        return self._run(prompt.split(), sampling, stop, trace, steering, range(1000))

    def resume(self, trace, token, sampling, *, seed, stop, steering):
        self.check_trace(trace)
        forced = None if token is None else self.vocabulary.find(token)
        trace.put_in = None if forced is None else self.vocabulary.name(forced)
        trace.origin = replace(trace.origin, seed=seed)
        self.seeds.append(seed)
        self.names.keep(trace)
        return self._run([], sampling, stop, trace, steering, range(100, 1000), forced, "b")

    def _run(self, words, sampling, stop, trace, steering, ids, forced=None, word=""):
        try:
            trace.finish = "error"
            now = steering()
            for prompted in words:
                yield self._add(f" {prompted}", ids[len(trace)], False, trace, now)
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
                now = steering()
                self.steered.append(now)
                written += 1
                text = f" {word}{written}" if forced is None else self.vocabulary.name(forced)
                yield self._add(text, ids[len(trace)] if forced is None else forced, True, trace, now)
                forced = None
        except GeneratorExit:
            trace.finish = "stopped"
            raise

    def _add(self, text, token, generated, trace, steering):
        n = len(trace)
        if steering != trace.steering_at(n):
            trace.steering[n] = steering
        features = tuple(
            Feature(i, 3.0 - i / 10 - sae / 100, reader.layer, self.names(sae, i), sae)
            for sae, reader in enumerate(self.readers)
            for i in range(n % 3, n % 3 + 20)
        )
        trace.append(
            TokenStep(
                text,
                token,
                n,
                n,
                generated,
                logprob=-0.5,
                alternatives=tuple(Alternative(f" w{i}", i, 0.5 / (i + 1)) for i in range(5)),
                features=features,
                fits=(Fit(0.5, 0.7, 20),) * len(self.readers),
                steered=tuple(Steered(s.id, 1.0, s.value, self.readers[s.sae].layer, s.sae) for s in steering.features),
                clean_logprob=-0.25 if steering.reconstruct else None,
            )
        )
        return trace[-1]


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


def listening(widget):
    """Note what a widget sends, and give it."""
    widget.sent = []
    widget.send = lambda content, buffers=None: widget.sent.append(content)
    return widget


def sent(widget, kind):
    """What was sent of a kind."""
    return [message for message in widget.sent if message["kind"] == kind]


def message(widget, content=None, **parts):
    """Do as the kernel does with what the view sends."""
    widget._handle_custom_msg(parts if content is None else content, [])


def settle(widget):
    """Wait until the worker has done all that was asked of it."""
    done = threading.Event()
    widget._session.call(done.set)
    assert done.wait(10)


def until(condition):
    """Wait until something holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.002)


def write(widget, fake, prompt="a b c", **settings):
    """Begin to write and come to a stand before the first token."""
    fake.gate.clear()
    widget.generate(prompt, **settings)
    assert fake.waits.acquire(timeout=10)


def still_works(widget):
    """Write a text as if nothing had happened."""
    widget.generate("a b", max_tokens=3)
    trace = widget.wait(10)
    assert [step.token for step in trace] == [" a", " b", " 1", " 2", " 3"]
    assert trace.finish == "length"
    assert widget.error == ""
    assert widget.status == "idle"
