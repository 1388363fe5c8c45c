"""Forward passes in which features are read and steered, and the KV caches of runs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from axon_widget.engine.features import FeatureReader, Reading
from axon_widget.engine.hooks import Act, HookedModel, fork
from axon_widget.engine.matvec import AllThreads
from axon_widget.trace import Steering, Trace

_CACHES = 4  # runs whose KV caches are kept, so that branches of them need not read them again

Readings: TypeAlias = list[Reading]
"""What each SAE sees at a token; none where it is not read."""


class Passes:
    """A model with its SAEs.

    Parameters
    ----------
    model
        The model.
    readers
        The SAEs, in the order of their depth.
    special
        Tokens that are neither read nor steered.
    first
        Whether the first token of a text is, whatever it is. Where no BOS stands before it attention rests on it, so
        that what the model holds there is many times larger and tells of no text.

    Attributes
    ----------
    lock
        Held in a pass: hook points belong to one pass at a time, whoever asks.

    Raises
    ------
    ValueError
        If the model lacks an SAE's hook point, or an SAE's width is not its hook point's.
    """

    def __init__(
        self, model: HookedModel, readers: Sequence[FeatureReader], special: set[int], first: bool = True
    ) -> None:
        self.model, self.readers = model, readers
        self._special, self._first = special, first
        self._caches: weakref.WeakKeyDictionary[object, Any] = weakref.WeakKeyDictionary()
        self.lock = threading.RLock()
        for reader in readers:
            self._check_width(reader)

    def _check_width(self, reader: FeatureReader) -> None:
        found = 0

        def measure(x: torch.Tensor) -> None:
            nonlocal found
            found = x.shape[-1]

        self.model.forward(torch.tensor([[0]], device=self.model.device), None, {reader.hook: measure})
        if found != reader.d_in:
            raise ValueError(
                f"The SAE {reader.name} reads {reader.d_in} dimensions, but {reader.hook} of "
                f"this model has {found}: it was trained on another model or hook point."
            )

    def forward(
        self,
        ids: Sequence[int],
        cache: Any,
        steering: Steering | Sequence[Steering],
        also: dict[str, Act] | None = None,
    ) -> tuple[torch.Tensor, Any, list[Readings]]:
        """Run new tokens, read their features and steer them.

        Parameters
        ----------
        ids
            The new tokens.
        cache
            The KV cache of the tokens before, which grows, or None.
        steering
            What is changed, at all of them or at each.
        also
            What else to do, at hook points that no SAE reads.

        Returns
        -------
        logits, cache, readings
            The logits, shape (n, vocabulary); the cache; and for each token that is read a reading by each SAE.
        """
        readings: list[Readings] = [[] for _ in ids]
        unread = 1 if cache is None and not self._first else 0
        shown = [i for i, token in enumerate(ids) if i >= unread and token not in self._special]
        alike: dict[Steering, list[int]] = {}
        for i in shown:
            alike.setdefault(steering if isinstance(steering, Steering) else steering[i], []).append(i)

        def act_of(places: list[int]) -> Act:
            def act(x: torch.Tensor) -> torch.Tensor | None:
                result = None
                for place in places:
                    for settings, rows in alike.items():
                        changes = [c for c in settings.features if c.sae == place]
                        raw = (x if result is None else result)[0, rows]
                        read, changed = self.readers[place].steer(raw, changes, settings.reconstruct)
                        for row, reading in zip(rows, read, strict=True):
                            readings[row].append(reading)
                        if changed is not None:
                            result = x.clone() if result is None else result
                            result[0, rows] = changed
                return result

            return act

        at: dict[str, list[int]] = {}
        for place, reader in enumerate(self.readers):
            at.setdefault(reader.hook, []).append(place)
        acts = {hook: act_of(places) for hook, places in at.items()} if shown else {}
        logits, cache = self._run(ids, cache, acts | (also or {}))
        return logits, cache, readings

    def bare(self, ids: Sequence[int], cache: Any) -> tuple[torch.Tensor, Any]:
        """Run new tokens through the model as it is; give logits (n, vocabulary) and cache."""
        return self._run(ids, cache, {})

    def _run(self, ids: Sequence[int], cache: Any, acts: dict[str, Act]) -> tuple[torch.Tensor, Any]:
        with self.lock, AllThreads():
            try:
                logits, grown = self.model.forward(torch.tensor([ids], device=self.model.device), cache, acts)
            except BaseException:
                # Its first layers may hold tokens that its last ones do not: nobody may go on from it.
                for key in [key for key, kept in self._caches.items() if kept is cache]:
                    self._caches.pop(key, None)
                raise
        return logits[0], grown

    def again(self, trace: Trace, ids: list[int], steering: Steering) -> tuple[torch.Tensor, Any]:
        """Run the last token of a run again under this steering, so that the next one follows it.

        Returns
        -------
        logits, cache
            Its logits, shape (1, vocabulary), and the run's cache.
        """
        last = len(ids) - 1
        cache = self.cache_of(trace, last)
        if steering != trace.steering_at(last):
            trace.steering[last] = steering
        logits, cache, _ = self.forward(ids[last:], cache, steering)
        self.keep(trace, cache)
        return logits, cache

    def keep(self, trace: Trace, cache: Any) -> None:
        """Remember a run's KV cache, and forget those that were not asked for lately."""
        with self.lock:
            self._caches.pop(trace.key, None)
            self._caches[trace.key] = cache
            for key in list(self._caches)[:-_CACHES]:
                self._caches.pop(key, None)

    def cache_of(self, trace: Trace, length: int) -> Any:
        """Give a KV cache of a run's first tokens that may be appended to; None for no token.

        It is the run's own or that of a run it is a branch of; where neither is kept, the tokens are run once more,
        each under the steering that was in force on it, and kept for all that share them. The last token that two runs
        share need not have been run alike in both.
        """
        if not length:
            return None
        run = trace
        with self.lock:
            while True:
                kept = self._caches.get(run.key)
                found = None if kept is None else fork(kept, length)
                if found is not None:
                    self.keep(run, kept)
                    return found
                if run.parent is None or run.fork is None or run.fork <= length:
                    break
                run = run.parent
            ids = [step.token_id for step in trace[:length]]
            cache = self.forward(ids, None, [trace.steering_at(i) for i in range(length)])[1]
            made = fork(cache, length)
            if made is None:
                return cache
            self.keep(run, cache)
            return made
