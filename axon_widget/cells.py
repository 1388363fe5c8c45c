"""What runs of the same notebook cell made."""

from __future__ import annotations

import weakref
from typing import Any, TypeVar, cast

T = TypeVar("T")

_by_cell: dict[tuple[str, type], tuple[str, weakref.WeakSet[object]]] = {}


def supersede(new: T) -> list[T]:
    """Note what the running cell makes, and give what earlier runs of it made of that type: their views are gone."""
    running = _running()
    if running is None:
        return []
    cell, execution = (running[0], type(new)), running[1]
    earlier, made = _by_cell.get(cell, ("", weakref.WeakSet[object]()))
    old: list[Any] = []
    if earlier != execution:
        old, made = list(made), weakref.WeakSet[object]()
    made.add(new)
    _by_cell[cell] = (execution, made)
    return old


def told() -> bool:
    """Tell whether the front end says which cell runs. Where a person sits it does; a mere runner does not."""
    return _running() is not None


def _running() -> tuple[str, str] | None:
    """Give the running cell and its execution; None if not in a notebook, or in one that does not tell."""
    from IPython.core.getipython import get_ipython

    try:
        request: Any = cast("Any", get_ipython()).get_parent()
        return str(request["metadata"]["cellId"]), str(request["header"]["msg_id"])
    except (AttributeError, KeyError, TypeError):
        return None
