"""The notebook widget: traits, and messages to and from the view."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anywidget
import traitlets as t

from axon_widget import cells, steering, still, wire
from axon_widget.conversation import Conversation
from axon_widget.export import STATIC
from axon_widget.graph import Graph
from axon_widget.labels import Label
from axon_widget.labels.text import whole
from axon_widget.naming import Naming
from axon_widget.outbox import Outbox
from axon_widget.runs import Tree
from axon_widget.saving import Saving
from axon_widget.selection import Selecting
from axon_widget.session import Begin, Session, State
from axon_widget.settings import SETTINGS, HasSettings
from axon_widget.trace import Feature, SAEOrigin, Steering, TokenStep, Trace

if TYPE_CHECKING:
    import pandas as pd

    from axon_widget.controls import Controls
    from axon_widget.engine.tracer import Tracer

EXAMPLES = {"stories15M": "Once upon a time, there was a little"}
"""A first prompt by model; others get `EXAMPLE`."""
EXAMPLE = "The capital of France is"


def _asset(name: str) -> str:
    path = STATIC / name
    if not path.is_file():
        raise ImportError(f"{path} is missing: the view was not built. Run `npm ci && npm run build` in js/.")
    # As text: a file anywidget would watch, and that would hold every widget there ever was.
    return path.read_text(encoding="utf-8")


def _sent_so_far(_value: int, widget: AxonWidget) -> int:
    return widget.outbox.count


class AxonWidget(Selecting, HasSettings, Saving, anywidget.AnyWidget):
    """A language model whose features show, token by token, as a live 3D graph in the notebook.

    The model loads and writes in a background thread: everything here returns at once, and `wait` waits. Traits
    can be set and observed while it writes; the next token follows them.

    Parameters
    ----------
    model, sae, device, dtype, device_map, labels
        As `Tracer.load` takes them; several SAEs are read in one pass. With no model and no SAE: gpt2-small with
        gpt2-small-res-jb at layer 8, or the embedded model where that is neither cached nor reachable, which `status`
        then says.
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
    selected
        The features that are selected, in the view and here alike, newest last: plain numbers, or (layer, number)
        where several SAEs are read, as `feature` takes them. It can be set to one feature, several, or a table such as
        `Trace.to_pandas` gives: ``w.selected = df[df.activation > 3]`` lights those nodes, and
        ``df[df.id.isin(w.selected)]`` keeps the rows of those that were clicked. One alone is inspected; of several the
        one that was inspected before, if it is among them. The list cannot be changed in place: assign another.
    pinned
        The features that stay in the view whatever fires; as `selected`.
    selected_feature, selected_sae
        The feature under inspection, and the place of its SAE. Setting it selects it alone.
    steering
        The features that are steered, see `steer`: a list of ``{"sae", "id", "value", "scale"}``. It can be kept and
        set again.
    steering_muted
        Whether the next run goes on without them; it turns itself off when that run has ended.
    reconstruct
        Whether the model is read through its SAEs: their output takes the place of the residual stream.
    label_status
        How far the labels are that are fetched in the background; empty where there is nothing to say.

    Raises
    ------
    traitlets.TraitError
        If a trait is set out of its range.
    """

    _esm = _asset("widget.js")
    _css = _asset("widget.css")

    prompt = t.Unicode().tag(sync=True)
    status = t.Unicode("loading").tag(sync=True)
    device = t.Unicode("auto").tag(sync=True)
    error = t.Unicode().tag(sync=True)
    info = t.Dict().tag(sync=True)
    step = t.Dict().tag(sync=True)
    steering = t.List(t.Dict()).tag(sync=True)
    steering_muted = t.Bool(False).tag(sync=True)
    reconstruct = t.Bool(False).tag(sync=True)
    label_status = t.Unicode().tag(sync=True)
    _sent = t.Int().tag(sync=True, to_json=_sent_so_far)
    text = t.Unicode()  # stays here: the view has the tokens

    def __init__(
        self,
        model: str | None = None,
        sae: str | Path | Sequence[str | Path] | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        device_map: str | Mapping[str, Any] | None = None,
        labels: Any = None,
        tracer: Tracer | None = None,
        **traits: Any,
    ) -> None:
        unknown = sorted(set(traits) - set(type(self).class_trait_names()))
        if unknown:
            raise TypeError(f"AxonWidget() knows no {', '.join(unknown)}.")
        if tracer is not None and not all(given is None for given in (model, sae, labels, device_map)):
            raise TypeError("Give either a tracer, or what to load: a model, an SAE, their labels and a device_map.")
        if tracer is not None and not hasattr(tracer, "stream"):
            raise TypeError(f"tracer= takes a Tracer, such as Tracer.load('embedded'), not {type(tracer).__name__}.")
        # Held for a moment only and never while observers run, so that they may call anything.
        self._lock = threading.RLock()
        self.outbox = Outbox()
        self._tree = Tree()
        self._writing = self._tree.newest
        super().__init__(device=device, **traits)
        self._read: tuple[str, tuple[SAEOrigin, ...]] | None = None  # the model and the SAEs that runs are of
        self._placing: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
        self._labelled = labels is not False
        self._make: Callable[[Any], Tracer] | None = None
        self._session = Session(self)
        self._naming = Naming(self._session, self._on_names)
        self._outputs = still.Outputs(lambda: self._repr_mimebundle_() or ({}, {}))
        self._conversation = Conversation(self, self._session, self._naming, self._tree, (*SETTINGS, "reconstruct"))
        self.on_msg(self._on_message)
        superseded = cells.supersede(self._session)
        kept = [old.tracer for old in superseded]  # until this one has taken it over, if it is the same
        for old in superseded:
            old.close()
        if tracer is not None:
            self._session.load(lambda _report: tracer)
        else:
            self.load(model, sae, labels=labels)
        self._session.call(kept.clear)

    # Python drives

    def load(
        self, model: str | None = None, sae: str | Path | Sequence[str | Path] | None = None, *, labels: Any = None
    ) -> None:
        """Load another model in the background. One that writes is stopped; if loading fails, the old one stays.

        Parameters
        ----------
        model, sae, labels
            As `Tracer.load` takes them. A widget that was made with ``labels=False`` stays without labels unless some
            are given here.
        """
        if labels is None and not self._labelled:
            labels = False

        def make(report: Any) -> Tracer:
            from axon_widget.engine.tracer import Tracer

            return Tracer.load(model, sae, labels=labels, progress=report, **self._placing)

        self._make = make
        self.reload()

    def reload(self) -> None:
        """Load again what was to be loaded last, as when that failed and the network is back.

        Raises
        ------
        RuntimeError
            If nothing was to be loaded: the widget was made with a tracer.
        """
        if self._make is None:
            raise RuntimeError("There is nothing to load again: this widget was made with a tracer.")
        self.error = ""
        self._session.load(self._make)

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
            If a setting is out of its range, or the prompt holds half of a character.
        TypeError
            If a setting is not known, or the prompt is no text.
        """
        text: Any = self.prompt if prompt is None else prompt
        if not isinstance(text, str):
            raise TypeError(f"The prompt must be text, not {type(text).__name__}.")
        if not text.strip():
            raise ValueError("The prompt is empty: give the model some text to go on from.")

        def begin(tracer: Tracer, stop: Callable[[], bool]) -> tuple[Trace, Generator[TokenStep]]:
            trace = Trace()
            return trace, tracer.stream(
                text, self._sampling, seed=self.seed, stop=stop, trace=trace, steering=self._steering
            )

        def accepted() -> None:
            self.prompt = text

        self._generate(begin, accepted, settings)

    def branch(
        self, position: int, token: str | int | None = None, *, trace: Trace | None = None, **settings: Any
    ) -> None:
        """Write another end to a run, in the background. What both have in common is not computed again.

        Parameters
        ----------
        position
            Go on after this token of the run.
        token
            Put this token (its text, its leading space included, or its id) in the place of the one that stands there,
            and go on after it.
        trace
            The run, one of `branches`; left out, the newest.
        **settings
            As `generate` takes them.

        Raises
        ------
        ValueError
            If there is no such place. Whether the text is one token is known once the run begins: `wait` raises then.
        RuntimeError
            If the model is still writing, or the widget is closed.
        traitlets.TraitError
            If a setting is out of its range.
        TypeError
            If a setting is not known, or the place is no whole number.
        """
        parent, position = self.trace if trace is None else trace, operator.index(position)
        if self._tree.holding(parent) is None:
            raise ValueError("This trace is none of this widget's branches, or its run was cleared.")
        if not len(parent):
            raise ValueError("There is nothing to go on from yet: write something first.")
        first = 1 if token is not None else 0
        if not first <= position < len(parent):
            raise ValueError(
                f"There is no token {position} to go on from: the run has tokens {first} to {len(parent) - 1}."
            )

        def begin(tracer: Tracer, stop: Callable[[], bool]) -> tuple[Trace, Generator[TokenStep]] | None:
            if self._tree.holding(parent) is None:
                return None  # cleared before its turn came
            made = parent.branch(position if token is not None else position + 1)
            return made, tracer.resume(made, token, self._sampling, seed=self.seed, stop=stop, steering=self._steering)

        self._generate(begin, lambda: None, settings)

    def _generate(self, begin: Begin, accepted: Callable[[], None], settings: Mapping[str, Any]) -> None:
        unknown = sorted(set(settings) - set(SETTINGS))
        if unknown:
            raise TypeError(f"There is no setting {', '.join(unknown)}: there are {', '.join(SETTINGS)}.")

        def prepare() -> None:
            before = {name: getattr(self, name) for name in settings}
            try:
                for name, value in settings.items():
                    setattr(self, name, value)
                accepted()
            except BaseException:
                with suppress(Exception):
                    self._tell(**before)
                raise
            self.error = ""

        self._session.generate(begin, prepare)

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
        self._outputs.refresh(self.trace)
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
            self._outputs.live()
        super().close()

    @property
    def trace(self) -> Trace:
        """The record of the newest run; it grows while the model writes."""
        return self._tree.newest.trace

    @property
    def branches(self) -> list[Trace]:
        """The records of the first run and all branches of it, in the order they were written."""
        return [run.trace for run in self._tree.runs]

    @property
    def graph(self) -> Graph:
        """The co-activation graph of the newest run."""
        graph, tracer = self._tree.newest.graph, self._session.tracer
        if tracer is not None:
            graph.rename(tracer.names)
        return graph

    @property
    def tracer(self) -> Tracer | None:
        """The engine, None until a model is loaded."""
        return self._session.tracer

    def feature(self, feature: int | tuple[int | str, int] | Feature) -> Label:
        """Tell what is known of a feature by now; what is not is looked up in the background, for a later call.

        Parameters
        ----------
        feature
            Its number; where several SAEs are read, (layer, number) or (hook point, number). Or a feature of a trace.

        Returns
        -------
        Label
            What is known.

        Raises
        ------
        RuntimeError
            If no model is loaded.
        ValueError
            If there is no such feature.
        """
        tracer = self.loaded()
        sae, number = tracer.address(feature)
        tracer.inquire(number, sae)
        return tracer.describe(number, sae)

    def search(self, text: str, limit: int = 50) -> pd.DataFrame:
        """Find features by their labels, whether or not they have fired.

        Parameters
        ----------
        text
            Words that the label holds, all of them, or a feature's number.
        limit
            Give at most so many.

        Returns
        -------
        pandas.DataFrame
            A row for each: ``sae, layer, id, label``, those first that hold the text as it stands.

        Raises
        ------
        RuntimeError
            If no model is loaded.
        TypeError
            If it is no text.
        """
        import pandas as pd

        tracer, given = self.loaded(), cast("object", text)
        if not isinstance(given, str):
            raise TypeError(f"Search for a text, or for a feature's number as text, not for {type(given).__name__}.")
        rows = [(sae, tracer.readers[sae].layer, i, label) for sae, i, label in tracer.names.search(text, limit)]
        return pd.DataFrame(rows, columns=["sae", "layer", "id", "label"])

    def why(self, token: str | int | None = None, position: int | None = None, *, exact: bool = True) -> pd.DataFrame:
        """Tell why a token follows: what each feature that was read on the token before it does for it.

        Parameters
        ----------
        token
            Another token to explain in the place of the one that stands there, by its text or its id.
        position
            The place of the token in the newest run, the run's length for the token to come; left out, the newest.
        exact
            Whether to ablate each feature as well.

        Returns
        -------
        pandas.DataFrame
            See `Tracer.why`.

        Raises
        ------
        RuntimeError
            If no model is loaded.
        ValueError
            If nothing was written yet, or there is no such place or token.
        """
        if not len(self.trace):
            raise ValueError("There is nothing to explain yet: write something first.")
        return self.loaded().why(self.trace, position, token, exact=exact)

    def steer(
        self,
        values: Mapping[int | tuple[int | str, int] | Feature, float | None] | None = None,
        *,
        scale: Mapping[int | tuple[int | str, int] | Feature, float] | None = None,
    ) -> None:
        """Steer features from the very next token on: x' = x + sum (a' - a) d at every token from then.

        What was steered before stays so; `unsteer` ends it all.

        Parameters
        ----------
        values
            The activation a' each feature gets whether or not it fires: 0 switches it off. None ends its steering.
            Features are named as `feature` takes them.
        scale
            What each feature's activation is multiplied by: a' = scale * a.

        Raises
        ------
        RuntimeError
            If no model is loaded.
        ValueError
            If there is no such feature.
        TypeError
            If a feature is not named in one of these ways.
        traitlets.TraitError
            If a value is no number from -1e9 to 1e9.
        """
        self.steering = steering.changed(self.loaded(), self.steering, values or {}, scale or {})

    def unsteer(self) -> None:
        """End the steering of all features."""
        self.steering = []

    def controls(self, *settings: str) -> Controls:
        """Give sliders for the settings, linked both ways, recipes and presets, to put in any cell.

        A cell that is run again takes its earlier ones away.

        Parameters
        ----------
        *settings
            Which settings get a slider: temperature, top_k, top_p, repetition_penalty, max_tokens, feature_k,
            activation_threshold. Left out, all.

        Raises
        ------
        ValueError
            If there is no slider for one of them.
        """
        from axon_widget.controls import Controls

        return Controls(self, settings)

    def _ipython_display_(self, **_: Any) -> None:
        if self._session.state == "closed":
            raise NotImplementedError  # there is no view: it is displayed as any other object
        self._outputs.display()

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None, **kwargs: Any
    ) -> Any:
        """Give the live view, and for readers that run no widgets a picture and a table of tokens."""
        made = cast("Any", super())._repr_mimebundle_(**kwargs)
        if made is None:
            return None

        def wanted(kind: str) -> bool:
            return (not include or kind in include) and not (exclude and kind in exclude)

        data, metadata = made
        if any(map(wanted, still.KINDS)):
            ended = self.trace if self.trace.finish else Trace()
            data = data | still.bundle(ended, feature_k=self.feature_k, activation_threshold=self.activation_threshold)
        return {kind: value for kind, value in data.items() if wanted(kind)}, metadata

    # Traits

    @t.validate("prompt")
    def _whole_prompt(self, proposal: Any) -> Any:
        if whole(proposal.value) != proposal.value:
            raise t.TraitError("prompt cannot be used: it holds half of a character, a lone surrogate. Take it out.")
        return proposal.value

    @t.validate("steering")
    def _usable_steering(self, proposal: Any) -> Any:
        if not proposal.value:
            return []
        try:
            tracer = self.loaded()
        except AttributeError:  # while first values are set
            raise t.TraitError("No model is loaded yet, so no feature can be steered: set this later.") from None
        except RuntimeError as error:
            raise t.TraitError(str(error)) from None
        return steering.usable(tracer, proposal.value)

    def send_state(self, key: Any = None) -> None:
        """Send traits to the view. One thread at a time: ipywidgets keeps unlocked state."""
        with self._lock:
            super().send_state(key)

    def _send(self, msg: wire.Message, buffers: Any = None) -> None:
        deliver: Any = super()._send  # pyright: ignore[reportUnknownVariableType]
        self.outbox.send(msg, lambda numbered: deliver(numbered, buffers))

    def _steering(self) -> Steering:
        return steering.in_force([] if self.steering_muted else self.steering, self.reconstruct)

    # The session reports (in its thread)

    def on_state(self, state: State, detail: str) -> None:
        """Show the session's state."""
        if state == "closed":
            self.outbox.clear()  # somebody may hold this widget for long
            self._naming.end(self.branches)
        self.status = f"{state}: {detail}" if detail else state

    def on_loaded(self, tracer: Tracer) -> None:
        """Show what is loaded; a run of another SAE's features is cleared."""
        read, self._read = self._read, (tracer.model_name, tracer.saes)
        same = read in (None, self._read)
        told: dict[str, Any] = {}
        if not same:
            self._restart()
            self._conversation.forget()
            told = {"text": "", "step": {}, "steering": []}
        self._naming.follow(tracer, self.branches)
        prompt = self.prompt or EXAMPLES.get(tracer.model_name, EXAMPLE)
        told |= {"label_status": tracer.names.status, "info": tracer.info, "device": tracer.info["device"]}
        try:
            self._reread(same)
        finally:
            self._tell(**told, prompt=prompt)

    def on_start(self, trace: Trace) -> None:
        """Begin a run, or a branch of one."""
        if trace.parent is None:
            self._writing = self._tree.begin(trace)
            self._show_nothing()
            return
        run = self._tree.branch(trace, self.feature_k, self.activation_threshold)
        if run is None:
            raise RuntimeError("The run to go on from was cleared.")
        self._writing = run
        self.send(wire.branch(run))
        self.text = trace.text

    def on_step(self, step: TokenStep) -> None:
        """Count a token and show it, unless the run was cleared meanwhile."""
        run = self._writing
        run.graph.add(step, self.feature_k, self.activation_threshold)
        dense = self._session.tracer.dense if self._session.tracer else wire.unknown
        shown = (self.feature_k, self.activation_threshold, dense, self._watched)
        run.frames.append(wire.frame(step, run.graph, run.number, *shown))
        if run is self._tree.newest:
            self.text += step.token
            self.step = run.frames[-1]
        if run is not self._tree.newest:  # cleared by another thread, maybe just between these lines
            self._show_nothing()
        self._naming.after_token((f["sae"], f["id"]) for f in run.frames[-1]["features"])

    def on_finish(self, trace: Trace) -> None:
        """Say how the run ended."""
        self.send(wire.end(self._writing))
        self.steering_muted = False
        self._naming.at_rest(trace)

    def _on_names(self, tracer: Tracer) -> None:
        """Show names that have come in. Called in the worker."""
        if self._session.state != "closed":
            self.label_status = tracer.names.status
            self._conversation.tell_names()

    def on_error(self, sentence: str) -> None:
        """Show what went wrong."""
        self.error = ""  # the same error again is told again
        self.error = whole(sentence)

    def _restart(self) -> None:
        self.send({"kind": "reset", "run": self._tree.begin(Trace()).number})

    def _clear(self) -> None:
        self._restart()
        self._show_nothing()

    def _show_nothing(self) -> None:
        self._tell(text="", step={})

    def _tell(self, **values: Any) -> None:
        """Set traits, all of them, also where somebody who hears of one fails."""
        failed: Exception | None = None
        for name, value in values.items():
            try:
                setattr(self, name, value)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        self._outputs.live()
        self._conversation.hear(content)

    def loaded(self) -> Tracer:
        """Give the engine.

        Raises
        ------
        RuntimeError
            If no model is loaded, or the widget is closed.
        """
        if self._session.state == "closed":
            raise RuntimeError("This widget is closed: make a new one.")
        if self._session.tracer is None:
            raise RuntimeError("No model is loaded yet: call wait() first.")
        return self._session.tracer
