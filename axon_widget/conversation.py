"""What the view asks and does, and the answers."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, cast

import traitlets as t

from axon_widget import wire
from axon_widget.graph import Key
from axon_widget.labels.text import whole
from axon_widget.naming import Naming
from axon_widget.outbox import Missed
from axon_widget.runs import Run, Tree
from axon_widget.session import Session, sentence
from axon_widget.trace import Trace

if TYPE_CHECKING:
    from axon_widget.engine.attribution import Why
    from axon_widget.widget import AxonWidget


class Conversation:
    """Hears messages from the view, in whatever thread the kernel handles them; what takes long goes to the worker.

    Parameters
    ----------
    widget
        What the messages act on.
    session
        Where the worker is.
    naming
        Names what has no name.
    tree
        The runs they are about.
    settable
        The traits that a ``set`` message may set.
    """

    def __init__(
        self, widget: AxonWidget, session: Session, naming: Naming, tree: Tree, settable: tuple[str, ...]
    ) -> None:
        self._widget, self._session, self._naming = widget, session, naming
        self._tree, self._settable = tree, settable
        self._asked_why = 0
        self._mapped = 0  # the run whose nodes' places were asked for last
        self._pushing: list[dict[str, Any]] = []  # what was found last to push a token, as the view names it

    def hear(self, content: Any) -> None:
        """Act on a message; what is wrong with it becomes the widget's error."""
        try:
            if not isinstance(content, dict):
                raise ValueError("The view sent something that is no message.")
            self._handle(cast("dict[str, Any]", content))
        except KeyError as error:
            self._widget.on_error(f"The view sent a message without {error}.")
        except (t.TraitError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            self._widget.on_error(str(error))

    def _handle(self, message: dict[str, Any]) -> None:
        widget = self._widget
        kind = message.get("kind")
        if kind == "generate":
            widget.generate(_part(message, "prompt", str))
        elif kind == "stop":
            widget.stop()
        elif kind == "reset":
            widget.reset()
        elif kind == "set":
            name = message["name"]
            if name not in self._settable:
                raise ValueError(f"The view cannot set {name!r}.")
            setattr(widget, name, message["value"])
        elif kind == "select":
            key = None if message["id"] is None else (_part(message, "sae", int), _part(message, "id", int))
            widget.on_choose([key] if key else [], key)
        elif kind == "choose":
            keys = _keys(message, "features")
            widget.on_choose(keys, None if message["inspected"] is None else _key(message, "inspected"))
        elif kind == "pin":
            widget.on_pin(_keys(message, "features"))
        elif kind == "feature":
            feature = (_part(message, "sae", int), _part(message, "id", int))
            self._answer(self._tell_feature, *feature)
            self._answer(lambda: widget.loaded().inquire(feature[1], feature[0]))
        elif kind == "activations":
            number = _part(message, "run", int)
            self._answer(self._tell_activations, number, _keys(message, "features"))
        elif kind == "maxima":
            self._answer(self._tell_maxima, _keys(message, "features"))
        elif kind == "hello":
            for told in wire.snapshot(self._tree.runs):
                self._send(told)
        elif kind == "poll":
            self._tell_missed(_part(message, "seen", int))
        elif kind == "reload":
            widget.reload()
        elif kind == "pull":
            number, start = _part(message, "run", int), _part(message, "from", int)
            run = self._tree.numbered(number)
            gone = run.number != number  # the view did not hear that it was cleared
            for told in wire.snapshot(self._tree.runs) if gone else wire.steps(run, start):
                self._send(told)
        elif kind == "steer":
            self._steer(message)
        elif kind == "steering":
            self._steering_action(message["action"])
        elif kind == "branch":
            widget.branch(_part(message, "step", int), _token(message), trace=self._run_of(message, "run").trace)
        elif kind == "why":
            asked = (_part(message, "run", int), _part(message, "step", int), _token(message))
            exact = _part(message, "exact", bool)
            self._asked_why += exact
            self._answer(self._tell_why, self._asked_why, *asked, exact)
        elif kind == "search":
            self._answer(self._tell_found, _part(message, "text", str))
        elif kind == "catalog":
            self._aside(self._tell_catalog, _part(message, "text", str))
        elif kind == "load":
            widget.load(_part(message, "model", str), None if message["sae"] is None else _part(message, "sae", str))
        elif kind == "token":
            self._answer(self._tell_token, _part(message, "text", str))
        elif kind == "edge":
            self._answer(self._tell_edge, self._run_of(message, "run"), _key(message, "a"), _key(message, "b"))
        elif kind == "similar":
            run = self._tree.numbered(_part(message, "run", int))
            self._answer(self._tell_similar, run, _number(message, "least"))
        elif kind == "map":
            self._mapped = _part(message, "run", int)
            self._answer(self._tell_map)
        elif kind == "export":
            self._aside(self._tell_export, _part(message, "run", int), _part(message, "text", str))
        elif kind == "compare":
            self._answer(self._tell_comparison, self._run_of(message, "a"), self._run_of(message, "b"))
        else:
            raise ValueError(f"The view sent an unknown message {kind!r}.")

    def _run_of(self, message: dict[str, Any], name: str) -> Run:
        return self._run(_part(message, name, int))

    def _run(self, number: int) -> Run:
        run = self._tree.numbered(number)
        if run.number != number:
            raise ValueError(f"There is no run {number} any more: it was cleared.")
        return run

    def _send(self, message: wire.Message) -> None:
        self._widget.send(message)

    def _tell_missed(self, seen: int) -> None:
        """Tell all that a view missed, at once: what is sent later may not arrive there either."""
        outbox = self._widget.outbox
        missed = outbox.since(seen)
        if missed is None:
            missed = Missed([], outbox.traits(), outbox.count, False)
            for told in wire.snapshot(self._tree.runs):
                self._send(told)
        if missed.traits:
            self._widget.send_state(missed.traits)
        self._send(wire.missed(seen, missed))

    def _steer(self, message: dict[str, Any]) -> None:
        sae, feature = _part(message, "sae", int), _part(message, "id", int)
        kept = [change for change in self._widget.steering if (change["sae"], change["id"]) != (sae, feature)]
        if message["value"] is None:
            self._widget.steering = kept
            return
        change = {"sae": sae, "id": feature, "value": message["value"], "scale": _part(message, "scale", bool)}
        place = next(
            (i for i, c in enumerate(self._widget.steering) if (c["sae"], c["id"]) == (sae, feature)), len(kept)
        )
        self._widget.steering = [*kept[:place], change, *kept[place:]]

    def _steering_action(self, action: str) -> None:
        if action == "clear":
            self._widget.steering = []
        elif action in ("mute", "hold"):
            self._widget.steering_muted = action == "mute"
        else:
            raise ValueError(f"The view sent an unknown steering action {action!r}.")

    def _answer(self, tell: Callable[..., None], *arguments: Any) -> None:
        """Answer from the worker, between two tokens if it writes."""
        self._session.call(lambda: tell(*arguments))

    def _aside(self, tell: Callable[..., None], *arguments: Any) -> None:
        """Answer from a thread of its own: what takes long and needs nothing of the worker, so that no token waits."""

        def told() -> None:
            try:
                tell(*arguments)
            except Exception as error:  # nobody else would hear of it in this thread
                self._widget.on_error(sentence(error))

        threading.Thread(target=told, name="axon-answer", daemon=True).start()

    def forget(self) -> None:
        """Hear that features are those of other SAEs now."""
        self._pushing = []

    def tell_names(self) -> None:
        """Tell of names that have come in, of the feature under inspection too. Called in the worker."""
        widget = self._widget
        tracer = widget.loaded()
        if told := wire.renamed(self._tree.runs, tracer.names, [*widget.steering, *self._pushing]):
            self._send(told)
        self._pushing = [row | {"label": tracer.names(row["sae"], row["id"])} for row in self._pushing]
        if (inspected := widget.inspected) is not None:  # read once: another thread may select meanwhile
            self._tell_feature(*inspected)

    def _tell_feature(self, sae: int, feature: int) -> None:
        tracer = self._widget.loaded()
        label, page = tracer.describe(feature, sae), tracer.page(feature, sae)
        [nearest] = tracer.nearest([(sae, feature)])
        self._naming.want((of, near) for of, near, _ in nearest)
        layer = tracer.info["saes"][sae]["layer"]
        self._send(wire.feature_message(feature, sae, layer, label, page, nearest, tracer.names))

    def _tell_activations(self, number: int, keys: list[Key]) -> None:
        run = self._tree.numbered(number)
        if run.number == number:  # else it was cleared meanwhile, which the view hears anyway
            self._send(wire.activations(number, run.trace, keys))

    def _tell_maxima(self, keys: list[Key]) -> None:
        tracer = self._widget.loaded()
        known = [(tracer.check(*key), tracer.readers[key[0]].labels.get(key[1])) for key in keys]
        self._send(wire.maxima(known))

    def _tell_why(self, asked: int, number: int, step: int, token: int | None, exact: bool) -> None:
        from axon_widget.engine.attribution import ablate, explain

        try:
            trace, tracer = self._run(number).trace, self._widget.loaded()
            tracer.check_trace(trace)
            found = explain(tracer, trace, step, None if token is None else tracer.vocabulary.find(token))
        except (ValueError, RuntimeError) as error:
            self._send({"kind": "why", "run": number, "step": step, "token_id": token, "error": str(error)})
            return

        def tell() -> None:
            self._send(wire.why(number, found, tracer.names))

        tell()
        if exact:
            self._answer(self._tell_more, asked, trace, ablate(tracer, trace, found), tell)

    def _tell_more(self, asked: int, trace: Trace, rounds: Generator[Why], tell: Callable[[], None]) -> None:
        """Ablate some features, tell, and ask for another turn."""
        # Nobody waits for the rest where another was asked for, the run was cleared or the widget closed.
        wanted = asked == self._asked_why and self._tree.holding(trace) and self._session.state != "closed"
        if wanted and next(rounds, None) is not None:
            tell()
            self._answer(self._tell_more, asked, trace, rounds, tell)

    def _tell_found(self, text: str) -> None:
        try:
            tracer = self._widget.loaded()
        except RuntimeError:  # the view does not wait for ever
            self._send(wire.found(text, []))
            raise
        rows = tracer.names.search(text, wire.FOUND + 1)
        token, name, _ = self._token_of(text)
        boosting = [] if token is None else tracer.boosting(token)
        named = [(*key, tracer.names(*key)) for key in boosting]
        self._pushing = [{"sae": sae, "id": feature, "label": label} for sae, feature, label in named]
        self._send(wire.found(text, rows, name, named))
        self._naming.want(boosting)

    def _tell_catalog(self, text: str) -> None:
        """Tell which SAEs there are. That needs no model: it waits for none to load."""
        from axon_widget import catalog

        entries, total = catalog.search(text, wire.CATALOG)
        here, loaded = catalog.cached(entries), {sae["name"] for sae in self._widget.info.get("saes", [])}
        self._send(wire.catalog(text, entries, total, here, loaded))

    def _tell_token(self, text: str) -> None:
        token, name, error = self._token_of(text)
        self._send({"kind": "token", "text": whole(text), "token_id": token, "token": name, "error": error})

    def _token_of(self, text: str) -> tuple[int | None, str, str]:
        """Find the token that a text means: its id and its own text, or why it is none."""
        vocabulary, error = self._widget.loaded().vocabulary, ""
        # Most words stand behind a space, which belongs to the token and which nobody types.
        for guess in (f" {text}", text) if not text[:1].isspace() else (text,):
            try:
                return vocabulary.find(guess), wire.clip(guess, 60), ""
            except ValueError as refused:
                error = wire.clip(str(refused), 200)
        return None, "", error

    def _tell_edge(self, run: Run, a: Key, b: Key) -> None:
        numbers = run.graph.pair(a, b)  # which knows whether these are nodes
        self._send(wire.edge(a, b, numbers, float(self._widget.loaded().cosines([a, b])[0, 1])))

    def _tell_similar(self, run: Run, least: float) -> None:
        keys = run.graph.keys()
        self._send(wire.similar(run.number, keys, self._widget.loaded().cosines(keys), least))

    def _map_made(self) -> None:
        self._answer(self._tell_map)

    def _tell_map(self) -> None:
        maps, run = self._widget.loaded().maps, self._tree.numbered(self._mapped)
        making = maps.ask(self._map_made)
        self._send(wire.places(run.number, maps.places(run.graph.keys()), making, maps.trouble))

    def _tell_export(self, number: int, what: str) -> None:
        told: wire.Message = {"kind": "export", "run": number, "text": wire.clip(what, 20), "content": "", "error": ""}
        try:
            # Halves of characters, which a label from elsewhere may hold, are no text that can be sent.
            told["content"] = whole(self._widget.export(self._run(number).trace, what))
        except Exception as error:  # a view waits for the answer, whatever went wrong
            told["error"] = wire.clip(sentence(error), 300)
        self._send(told)

    def _tell_comparison(self, a: Run, b: Run) -> None:
        self._send(wire.comparison(a.number, b.number, a.trace.compare(b.trace)))


def _part(message: dict[str, Any], name: str, kind: type) -> Any:
    value = message[name]
    if type(value) is not kind:
        raise TypeError(f"The view sent {name}={value!r}, which should be of type {kind.__name__}.")
    return value


def _token(message: dict[str, Any]) -> int | None:
    return None if message["token_id"] is None else _part(message, "token_id", int)


def _number(message: dict[str, Any], name: str) -> float:
    value = message[name]
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError(f"The view sent {name}={value!r}, which should be a number.")
    return float(value)


def _keys(message: dict[str, Any], name: str) -> list[Key]:
    return [_key({name: value}, name) for value in cast("list[Any]", _part(message, name, list))]


def _key(message: dict[str, Any], name: str) -> Key:
    value = message[name]
    if not isinstance(value, list) or [type(part) for part in cast("list[Any]", value)] != [int, int]:
        raise TypeError(f"The view sent {name}={value!r}, which should name a feature by two whole numbers.")
    sae, feature = cast("list[int]", value)
    return sae, feature
