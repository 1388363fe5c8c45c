"""Which features are selected, inspected and pinned, in Python and in the view alike."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import traitlets as t

from axon_widget import wire
from axon_widget.graph import Key
from axon_widget.trace import Feature

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

_GIVE = (
    "Give a feature as feature() takes it, a list of such, or a table with the columns of Trace.to_pandas(), such as "
    "df[df.activation > 3]."
)


def _fixed(*_: Any, **__: Any) -> Any:
    raise TypeError("This list cannot be changed, as nobody would hear of it. Assign another: w.selected = [...].")


class Features(list[Any]):
    """A list of features, each named as `AxonWidget.feature` takes it, that knows which they are. It cannot be changed.

    Parameters
    ----------
    keys
        The features, each by the place of its SAE and its number.
    tracer
        The engine, None while there is none: then features are plain numbers.
    """

    def __init__(self, keys: Iterable[Key] = (), tracer: Tracer | None = None) -> None:
        self.keys = tuple(dict.fromkeys(keys))
        super().__init__(_names(self.keys, tracer))

    append = extend = insert = remove = pop = clear = sort = reverse = _fixed
    __setitem__ = __delitem__ = __imul__ = _fixed

    def __iadd__(self, more: Iterable[Any]) -> Any:
        """Give another list, so that ``w.selected += [7]`` assigns one."""
        return [*self, *more]

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Let a copy be a plain list."""
        return list, ([*self],)


class FeatureList(t.TraitType[Features, Any]):
    """A trait that holds features, and takes them in the forms in which people have them."""

    info_text = "features"

    def default(self, obj: Any = None) -> Features:
        """Give no features."""
        return Features()

    def validate(self, obj: Any, value: Any) -> Features:
        """Find the features that a value names."""
        tracer = _tracer(obj)
        try:
            return Features(_find(value, tracer), tracer)
        except (TypeError, ValueError) as error:
            raise t.TraitError(f"{self.name}: {wire.clip(str(error), 300)} {_GIVE}") from None


class Selecting(t.HasTraits):
    """The traits that tell what is selected. Whichever of them is set, the others follow.

    Attributes
    ----------
    selected, pinned
        See `axon_widget.AxonWidget`.
    selected_feature, selected_sae
        The one of the selected features that is inspected, and the place of its SAE.
    """

    selected = FeatureList()
    pinned = FeatureList()
    selected_feature = t.Int(None, allow_none=True).tag(sync=True)
    selected_sae = t.Int(0).tag(sync=True)
    # All of it at once, for the view: it need not guess which of several changes belong together.
    _selection = t.Dict().tag(sync=True)

    _inspected: Key | None = None
    _assigned: tuple[str, Any] | None = None  # by itself, not by anybody else

    def on_choose(self, keys: Iterable[Key], inspected: Key | None) -> None:
        """Hear from the view which features are selected, each named by (sae, id), and which of them is inspected.

        Raises
        ------
        ValueError
            If there is no such feature.
        """
        tracer = _tracer(self)
        chosen = Features((_check(key, tracer) for key in keys), tracer)
        self._inspected = inspected if inspected in chosen.keys else None
        sae, feature = self._inspected or (self.selected_sae, None)
        changes: list[tuple[str, Any]] = [("selected_feature", feature), ("selected", chosen)]
        if sae != self.selected_sae:  # the SAE that comes may have fewer
            changes = [("selected_feature", None), ("selected_sae", sae), *changes]
        failed: Exception | None = None
        for change in changes:
            self._assigned = change
            try:
                setattr(self, *change)
            except Exception as error:  # of who heard of it: what was begun is ended all the same
                failed = failed or error
            if self._assigned != change:  # who heard of it has selected something else
                break
        self._assigned = None
        self._show()
        if failed:
            raise failed

    @property
    def inspected(self) -> Key | None:
        """The feature under inspection, as (sae, id): both parts of one moment, whichever thread asks."""
        return self._inspected

    def on_pin(self, keys: Iterable[Key]) -> None:
        """Hear from the view which features are pinned, each named by (sae, id).

        Raises
        ------
        ValueError
            If there is no such feature.
        """
        tracer = _tracer(self)
        self.pinned = Features((_check(key, tracer) for key in keys), tracer)

    @property
    def _watched(self) -> frozenset[Key]:
        """The features that are followed token by token: those that are pinned, and the one that is inspected."""
        return frozenset(self.pinned.keys + ((self._inspected,) if self._inspected else ()))

    def _reread(self, same: bool) -> None:
        """Hear that SAEs are loaded. Where they are the same as before, or the first, what is selected stays so."""
        tracer, inspected = _tracer(self), self._inspected
        pinned, selected = (
            [key for key in features.keys if same and _exists(key, tracer)] for features in (self.pinned, self.selected)
        )
        self.on_pin(pinned)
        self.on_choose(selected, inspected)
        if not same:
            self.selected_sae = 0

    @t.observe("selected")
    def _on_selected(self, change: Any) -> None:
        if self._assigned != ("selected", change.new):
            keys = change.new.keys
            self.on_choose(keys, keys[0] if len(keys) == 1 else self._inspected)

    @t.observe("selected_feature", "selected_sae")
    def _on_inspected(self, change: Any) -> None:
        if self._assigned == (change.name, change.new):
            return
        key = None if self.selected_feature is None else (self.selected_sae, self.selected_feature)
        there = key is not None and _exists(key, _tracer(self))
        self.on_choose([key] if key and there else [], key)

    @t.observe("pinned")
    def _show(self, _change: Any = None) -> None:
        self._selection = {
            "features": [list(key) for key in self.selected.keys],
            "inspected": None if self._inspected is None else list(self._inspected),
            "pinned": [list(key) for key in self.pinned.keys],
        }

    @t.validate("selected_sae")
    def _known_sae(self, proposal: Any) -> Any:
        tracer = _tracer(self)
        count = len(tracer.readers) if tracer else 1
        if not 0 <= proposal.value < count:
            raise t.TraitError(f"There is no SAE {proposal.value}: {count} are read, numbered from 0.")
        return proposal.value

    @t.validate("selected_feature")
    def _known_feature(self, proposal: Any) -> Any:
        if proposal.value is not None:
            try:
                _check((self.selected_sae, proposal.value), _tracer(self))
            except ValueError as error:
                raise t.TraitError(str(error)) from None
        return proposal.value


def _tracer(widget: Any) -> Tracer | None:
    return getattr(widget, "tracer", None)  # there is none while the first values are set


def _find(value: Any, tracer: Tracer | None) -> Iterator[Key]:
    """Find the features that a value names."""
    if value is None:
        return iter(())
    if hasattr(value, "columns"):
        return _rows(value, tracer)
    if hasattr(value, "iloc") and "id" in value.index:  # a row of a table
        return _rows(value.to_frame().T, tracer)
    one = isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or _is_address(value)
    return (_address(feature, tracer) for feature in cast("Iterable[Any]", (value,) if one else value))


def _is_address(value: Any) -> bool:
    """Tell a pair, or a feature of a trace, from several in a tuple."""
    parts = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else ()
    return isinstance(value, Feature) or (bool(parts) and not any(isinstance(part, tuple) for part in parts))


def _rows(table: Any, tracer: Tracer | None) -> Iterator[Key]:
    if "id" not in table.columns:
        raise ValueError("The table has no column id.")
    place = next((name for name in ("sae", "layer") if name in table.columns), None)
    rows = table[table["id"].notna()]  # what else adds to a logit, in the table of why(), is no feature
    if place is None:
        return (_address(feature, tracer) for feature in rows["id"].drop_duplicates())
    rows = rows.drop_duplicates([place, "id"])
    pairs: Iterator[tuple[Any, Any]] = zip(rows[place], rows["id"], strict=True)
    if place == "layer":
        return (_address(pair, tracer) for pair in pairs)
    return (_check((_whole(sae), _whole(feature)), tracer) for sae, feature in pairs)


def _address(feature: Any, tracer: Tracer | None) -> Key:
    if tracer is not None:
        return tracer.address(feature)
    if isinstance(feature, Feature):
        return _check((feature.sae, feature.id), None)
    if isinstance(feature, tuple):
        raise ValueError("No model is loaded yet, so that layers are not known: call wait() first.")
    return _check((0, _whole(feature)), None)


def _whole(value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"A feature's number is a whole number, not {value!r}.")


def _check(key: Key, tracer: Tracer | None) -> Key:
    if tracer is not None:
        return tracer.check(*key)
    if key[0] != 0 or not 0 <= key[1] < 2**31:
        raise ValueError(f"No model is loaded yet, so that feature {key[1]} of SAE {key[0]} cannot be looked for.")
    return key


def _exists(key: Key, tracer: Tracer | None) -> bool:
    try:
        return bool(_check(key, tracer))
    except ValueError:
        return False


def _names(keys: Iterable[Key], tracer: Tracer | None) -> Iterator[Any]:
    """Name features so that `Tracer.address` finds them again: by the least that tells their SAEs apart."""
    if tracer is None or len(tracer.readers) == 1:
        return (number for _, number in keys)
    ways = ([getattr(reader, part) for reader in tracer.readers] for part in ("layer", "hook", "name"))
    places = next(way for way in ways if max(Counter(way).values()) == 1)
    return ((places[sae], number) for sae, number in keys)
