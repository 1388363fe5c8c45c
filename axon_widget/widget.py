"""The notebook widget: traits, and messages to and from the view."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anywidget
import traitlets as t

from axon_widget import cells, wire
from axon_widget.export import STATIC, to_html
from axon_widget.graph import Graph
from axon_widget.labels import Label
from axon_widget.session import Session, State
from axon_widget.trace import TokenStep, Trace

if TYPE_CHECKING:
    import ipywidgets

    from axon_widget.engine.sampling import Sampling
    from axon_widget.engine.tracer import Tracer

EXAMPLES = {"stories15M": "Once upon a time, there was a little"}
"""A first prompt by model; others get `EXAMPLE`."""
EXAMPLE = "The capital of France is"

_SAMPLING = ("temperature", "top_k", "top_p", "repetition_penalty", "max_tokens")
_SETTINGS = (*_SAMPLING, "feature_k", "activation_threshold", "seed")


def _asset(name: str) -> Path:
    path = STATIC / name
    if not path.is_file():
        raise ImportError(f"{path} is missing: the view was not built. Run `npm ci && npm run build` in js/.")
    return path


@dataclass
class _Run:
    """A generation as the view knows it."""

    number: int
    trace: Trace = field(default_factory=Trace)
    graph: Graph = field(default_factory=Graph)
    frames: list[wire.Frame] = field(default_factory=list[wire.Frame])


class AxonWidget(anywidget.AnyWidget):
    """A language model whose features show, token by token, as a live 3D graph in the notebook.

    The model loads and writes in a background thread: everything here returns at once, and `wait` waits. Traits
    can be set and observed while it writes; the next token follows them.

    Parameters
    ----------
    model, sae, device, dtype
        As `Tracer.load` takes them. With no model and no SAE: gpt2-small with gpt2-small-res-jb at layer 8, or the
        embedded model where that is neither cached nor reachable, which `status` then says.
    tracer
        A loaded `Tracer` to use instead.
    **traits
        First values of the traits.

    Attributes
    ----------
    prompt, temperature, top_k, top_p, repetition_penalty, max_tokens, seed
        What to write from, and how. `seed` None draws one for each run.
    feature_k, activation_threshold
        How many features of a token are shown at most, and from which activation on. The trace holds all.
    status
        ``idle``, ``loading``, ``running``, ``stopping``, ``failed`` or ``closed``; a colon and a sentence may follow.
    device, info
        Where the model runs; what is loaded.
    error
        What went wrong last, empty if nothing did since the last generation began.
    text
        The prompt and what was written.
    step
        The newest token as the view gets it, see `axon_widget.wire.frame`.
    selected_feature
        The feature under inspection, in the view and here alike.

    Raises
    ------
    traitlets.TraitError
        If a trait is set out of its range.
    """

    _esm = _asset("widget.js")
    _css = _asset("widget.css")

    prompt = t.Unicode().tag(sync=True)
    temperature = t.Float(0.8).tag(sync=True, range=(0.0, 2.0))
    top_k = t.Int(50).tag(sync=True, range=(0, 200))
    top_p = t.Float(0.9).tag(sync=True, range=(0.05, 1.0))
    repetition_penalty = t.Float(1.1).tag(sync=True, range=(1.0, 2.0))
    max_tokens = t.Int(40).tag(sync=True, range=(1, 500))
    feature_k = t.Int(15).tag(sync=True, range=(5, 30))
    activation_threshold = t.Float(0.1).tag(sync=True, range=(0.01, 1.0))
    seed = t.Int(None, allow_none=True).tag(sync=True)
    status = t.Unicode("loading").tag(sync=True)
    device = t.Unicode("auto").tag(sync=True)
    error = t.Unicode().tag(sync=True)
    info = t.Dict().tag(sync=True)
    step = t.Dict().tag(sync=True)
    selected_feature = t.Int(None, allow_none=True).tag(sync=True)
    text = t.Unicode()  # stays here: the view has the tokens

    def __init__(
        self,
        model: str | None = None,
        sae: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        tracer: Tracer | None = None,
        **traits: Any,
    ) -> None:
        unknown = sorted(set(traits) - set(type(self).class_trait_names()))
        if unknown:
            raise TypeError(f"AxonWidget() knows no {', '.join(unknown)}.")
        if tracer is not None and (model, sae) != (None, None):
            raise TypeError("Give either a tracer, or a model and an SAE to load.")
        # Held for a moment only and never while observers run, so that they may call anything.
        self._lock = threading.RLock()
        self._run = _Run(0)
        self._writing = self._run
        super().__init__(device=device, **traits)
        self._device, self._dtype = device, dtype
        self._session = Session(self)
        self.on_msg(self._on_message)
        superseded = cells.supersede(self._session)
        kept = [old.tracer for old in superseded]  # until this one has taken it over, if it is the same
        for old in superseded:
            old.close()
        if tracer is not None:
            self._session.load(lambda _report: tracer)
        else:
            self.load(model, sae)
        self._session.call(kept.clear)

    # Python drives

    def load(self, model: str | None = None, sae: str | Path | None = None) -> None:
        """Load another model in the background. One that writes is stopped; if loading fails, the old one stays.

        Parameters
        ----------
        model, sae
            As `Tracer.load` takes them.
        """

        def make(report: Any) -> Tracer:
            from axon_widget.engine.tracer import Tracer

            return Tracer.load(model, sae, device=self._device, dtype=self._dtype, progress=report)

        self._session.load(make)

    def generate(self, prompt: str | None = None, **settings: Any) -> None:
        """Write on from a prompt, in the background.

        Parameters
        ----------
        prompt
            The text; left out, the `prompt` trait.
        **settings
            Traits to set first: temperature, top_k, top_p, repetition_penalty, max_tokens, feature_k,
            activation_threshold, seed. They stay set.

        Raises
        ------
        ValueError
            If the prompt is empty or blank.
        RuntimeError
            If the model is still writing, or the widget is closed.
        traitlets.TraitError
            If a setting is out of its range.
        TypeError
            If a setting is not known, or the prompt is no text.
        """
        unknown = sorted(set(settings) - set(_SETTINGS))
        if unknown:
            raise TypeError(f"generate() knows no {', '.join(unknown)}: it takes {', '.join(_SETTINGS)}.")
        text: Any = self.prompt if prompt is None else prompt
        if not isinstance(text, str):
            raise TypeError(f"The prompt must be text, not {type(text).__name__}.")
        if not text.strip():
            raise ValueError("The prompt is empty: give the model some text to go on from.")

        def accepted() -> None:
            for name, value in settings.items():
                setattr(self, name, value)
            self.prompt = text
            self.error = ""

        self._session.generate(text, self._sampling, self._seed, accepted)

    def wait(self, timeout: float | None = None) -> Trace:
        """Wait until loading and writing have ended.

        Parameters
        ----------
        timeout
            At most so many seconds.

        Returns
        -------
        Trace
            The trace of the run.

        Raises
        ------
        RuntimeError
            If loading or writing failed.
        TimeoutError
            If they have not ended in time.
        """
        if not self._session.wait(timeout):
            raise TimeoutError(f"Still {self.status} after {timeout} seconds.")
        return self.trace

    def stop(self) -> None:
        """End the generation under way after the token it works on."""
        self._session.stop()

    def reset(self) -> None:
        """Clear the trace, the graph and the view. A generation under way is stopped."""
        self._session.stop()
        self._clear()
        self.error = ""

    def close(self) -> None:
        """Stop the background thread and remove the view. The trace stays readable."""
        if hasattr(self, "_session"):  # a constructor that raised leaves nothing to end
            self._session.close()
        super().close()

    @property
    def trace(self) -> Trace:
        """The record of the newest run; it grows while the model writes."""
        return self._run.trace

    @property
    def graph(self) -> Graph:
        """The co-activation graph of the newest run."""
        return self._run.graph

    @property
    def tracer(self) -> Tracer | None:
        """The engine, None until a model is loaded."""
        return self._session.tracer

    def feature(self, feature: int) -> Label:
        """Tell what is known of a feature.

        Raises
        ------
        RuntimeError
            If no model is loaded.
        ValueError
            If the SAE has no such feature.
        """
        return self._loaded().describe(feature)

    def to_html(self, path: str | Path) -> Path:
        """Write the newest run as one self-contained page: the same view, no kernel, no network.

        Raises
        ------
        ValueError
            If nothing was written yet.
        """
        return to_html(
            self.trace,
            path,
            self.tracer,
            feature_k=self.feature_k,
            activation_threshold=self.activation_threshold,
        )

    def controls(self) -> ipywidgets.VBox:
        """Give a slider for each setting, linked both ways, to put in any cell."""
        from axon_widget.controls import sliders

        return sliders(self)

    # Traits

    @t.validate(*_SAMPLING, "feature_k", "activation_threshold")
    def _within_range(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        low, high = proposal.trait.metadata["range"]
        if not low <= value <= high:  # also refuses NaN
            raise t.TraitError(f"{name}={value!r} cannot be used: give a number from {low} to {high}.")
        return value

    @t.validate("seed")
    def _usable_seed(self, proposal: Any) -> Any:
        if proposal.value is not None and not 0 <= proposal.value < 2**63:
            raise t.TraitError(
                f"seed={proposal.value} cannot be used: give a whole number from 0 to 2**63 - 1, or None."
            )
        return proposal.value

    @t.validate("selected_feature")
    def _known_feature(self, proposal: Any) -> Any:
        last = self.info.get("d_sae", 2**31) - 1
        if proposal.value is not None and not 0 <= proposal.value <= last:
            raise t.TraitError(f"There is no feature {proposal.value}: this SAE has features 0 to {last}.")
        return proposal.value

    def send_state(self, key: Any = None) -> None:
        """Send traits to the view. One thread at a time: ipywidgets keeps unlocked state."""
        with self._lock:
            super().send_state(key)

    def _sampling(self) -> Sampling:
        from axon_widget.engine.sampling import Sampling

        return Sampling(**{name: getattr(self, name) for name in _SAMPLING})

    def _seed(self) -> int | None:
        return self.seed

    # The session reports (in its thread)

    def on_state(self, state: State, detail: str) -> None:
        """Show the session's state."""
        self.status = f"{state}: {detail}" if detail else state

    def on_loaded(self, tracer: Tracer) -> None:
        """Show what is loaded; a run of another SAE's features is cleared."""
        if self.info and (self.info["model"], self.info["sae"]) != (tracer.model_name, tracer.sae_name):
            self._clear()
            self.selected_feature = None
        self.info = tracer.info
        self.device = tracer.info["device"]
        self.prompt = self.prompt or EXAMPLES.get(tracer.model_name, EXAMPLE)

    def on_start(self, trace: Trace) -> None:
        """Begin a run."""
        self._writing = self._begin(trace)

    def on_step(self, step: TokenStep) -> None:
        """Count a token and show it, unless the run was cleared meanwhile."""
        run = self._writing
        run.graph.add(step, self.feature_k)
        run.frames.append(wire.frame(step, run.graph, run.number, self.feature_k, self.activation_threshold))
        if run is self._run:
            self.text += step.token
            self.step = run.frames[-1]
        if run is not self._run:  # cleared by another thread, maybe just between these lines
            self._show_nothing()

    def on_finish(self, trace: Trace) -> None:
        """Say how the run ended."""
        run = self._writing
        self.send(wire.end(run.number, len(run.frames), trace.finish, run.graph))

    def on_error(self, sentence: str) -> None:
        """Show what went wrong."""
        self.error = ""  # the same error again is told again
        self.error = sentence

    def _begin(self, trace: Trace) -> _Run:
        with self._lock:
            run = self._run = _Run(self._run.number + 1, trace)
        self._show_nothing()
        return run

    def _clear(self) -> None:
        run = self._begin(Trace())
        self.send({"kind": "reset", "run": run.number})

    def _show_nothing(self) -> None:
        self.text = ""
        self.step = {}

    # The view asks (in whatever thread the kernel handles messages in; what takes long goes to the worker)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        try:
            if not isinstance(content, dict):
                raise ValueError("The view sent something that is no message.")
            self._handle(cast("dict[str, Any]", content))
        except KeyError as error:
            self.on_error(f"The view sent a message without {error}.")
        except (t.TraitError, ValueError, TypeError, RuntimeError) as error:
            self.on_error(str(error))

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind == "generate":
            self.generate(_part(message, "prompt", str))
        elif kind == "stop":
            self.stop()
        elif kind == "reset":
            self.reset()
        elif kind == "set":
            name = message["name"]
            if name not in _SETTINGS:
                raise ValueError(f"The view cannot set {name!r}.")
            setattr(self, name, message["value"])
        elif kind == "select":
            self.selected_feature = message["id"]
        elif kind == "feature":
            feature: int = _part(message, "id", int)
            self._session.call(lambda: self._send_feature(feature))
        elif kind == "hello":
            self._send_snapshot()
        elif kind == "pull":
            run, start = _part(message, "run", int), _part(message, "from", int)
            self._send_frames(run, start)
        else:
            raise ValueError(f"The view sent an unknown message {kind!r}.")

    def _send_snapshot(self) -> None:
        run = self._run
        for message in wire.snapshot(run.number, run.frames, run.trace.finish, run.graph):
            self.send(message)

    def _send_frames(self, number: int, start: int) -> None:
        run = self._run
        for message in wire.steps(run.number, run.frames, start if number == run.number else 0):
            self.send(message)

    def _send_feature(self, feature: int) -> None:
        tracer = self._loaded()
        self.send(wire.feature_message(feature, tracer.layer, tracer.describe(feature), tracer.page(feature)))

    def _loaded(self) -> Tracer:
        if self._session.state == "closed":
            raise RuntimeError("This widget is closed: make a new one.")
        if self._session.tracer is None:
            raise RuntimeError("No model is loaded yet: call wait() first.")
        return self._session.tracer


def _part(message: dict[str, Any], name: str, kind: type) -> Any:
    value = message[name]
    if type(value) is not kind:
        raise TypeError(f"The view sent {name}={value!r}, which should be of type {kind.__name__}.")
    return value
