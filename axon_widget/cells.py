"""What runs of the same notebook cell made."""

from __future__ import annotations

import weakref
from typing import Any, Protocol, cast


class Closable(Protocol):
    """Something that can be ended."""

    def close(self) -> None:
        """End it."""
        ...


_by_cell: dict[str, tuple[str, weakref.WeakSet[Closable]]] = {}


def supersede(new: Closable) -> None:
    """End what earlier runs of the running cell made: its view is gone, and it is not."""
    from IPython.core.getipython import get_ipython

    try:
        request: Any = cast("Any", get_ipython()).get_parent()
        cell, execution = str(request["metadata"]["cellId"]), str(request["header"]["msg_id"])
    except (AttributeError, KeyError, TypeError):
        return  # not in a notebook, or in one that does not tell which cell runs
    earlier, made = _by_cell.get(cell, ("", weakref.WeakSet[Closable]()))
    if earlier != execution:
        for old in made:
            old.close()
        made = weakref.WeakSet[Closable]()
    made.add(new)
    _by_cell[cell] = (execution, made)
