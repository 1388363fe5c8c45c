"""The runs that the view shows: a first one, and its branches."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

from axon_widget.graph import Graph, graph_of
from axon_widget.trace import Trace

Frame = dict[str, Any]
Message = dict[str, Any]


@dataclass
class Run:
    """A run as the view knows it.

    Parameters
    ----------
    number
        Its number; later runs have larger ones.
    trace, graph
        Its record and its graph.
    frames
        The frames of its own steps, the first of which is `start`.
    parent
        The number of the run it is a branch of.
    start
        Its first own step.
    """

    number: int
    trace: Trace = field(default_factory=Trace)
    graph: Graph = field(default_factory=Graph)
    frames: list[Frame] = field(default_factory=list[Frame])
    parent: int | None = None
    start: int = 0

    @property
    def total(self) -> int:
        """The number of steps the view can have."""
        return self.start + len(self.frames)


class Tree:
    """A run and its branches. Any thread may look, and a reset may come while one writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs = [Run(0)]

    @property
    def newest(self) -> Run:
        """The run that was begun last."""
        return self.runs[-1]

    def begin(self, trace: Trace) -> Run:
        """Begin a new tree."""
        with self._lock:
            run = Run(self.newest.number + 1, trace)
            self.runs = [run]
        return run

    def branch(self, trace: Trace, shown: int, least: float = -math.inf) -> Run | None:
        """Begin a branch, whose graph shows so many features of each token; None if its parent was cleared."""
        graph = graph_of(trace, shown, least=least)
        with self._lock:
            parent = self.holding(trace.parent)
            if parent is None or trace.fork is None:
                return None
            run = Run(self.newest.number + 1, trace, graph, parent=parent.number, start=trace.fork)
            self.runs = [*self.runs, run]
        return run

    def holding(self, trace: Trace | None) -> Run | None:
        """Find the run of a trace."""
        return next((run for run in self.runs if run.trace is trace), None)

    def numbered(self, number: int) -> Run:
        """Find the run of a number; one that is not there was cleared, and in its place stands the newest."""
        return next((run for run in self.runs if run.number == number), self.newest)
