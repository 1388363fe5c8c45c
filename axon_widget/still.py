"""What a cell's output holds for readers that run no widgets: a picture and a table of tokens."""

from __future__ import annotations

import base64
import html
import logging
import math
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from axon_widget import cells
from axon_widget.labels.text import clean, clean_token
from axon_widget.trace import TokenStep, Trace

_MOST_TOKENS = 200
_FEATURES = 3
_CELL = "text-align: left; vertical-align: top"

KINDS = ("text/html", "image/png")
"""What `bundle` gives, by MIME type."""

Bundle: TypeAlias = "tuple[dict[str, Any], dict[str, Any]]"
"""What is displayed, by MIME type, and what is said of that."""


class Outputs:
    """The outputs of cells that show a widget where nobody looks: a notebook that is only run.

    A cell shows the widget before its run, as a rule, so the picture of the run has to get there later. Where a view
    lives, its output is left alone: what is written into it would begin the view anew.

    Parameters
    ----------
    bundle
        Gives what is displayed as it is now.
    """

    def __init__(self, bundle: Callable[[], Bundle]) -> None:
        self._bundle = bundle
        self._ids: list[str] = []
        self._held: object = None

    def display(self) -> None:
        """Display the widget such that the output can be brought up to date.

        Raises
        ------
        NotImplementedError
            If it is to be displayed as any other object is.
        """
        from IPython.core.getipython import get_ipython

        if getattr(get_ipython(), "kernel", None) is None or cells.told():
            raise NotImplementedError
        made = uuid.uuid4().hex
        self._ids.append(made)  # which a view that speaks up meanwhile takes out again
        _publish(self._bundle(), made, update=False)

    def live(self) -> None:
        """Hear that there is a view."""
        self._ids.clear()

    def refresh(self, trace: Trace) -> None:
        """Bring the outputs up to date with a run that has ended."""
        now, ids = (trace.key, len(trace)), list(self._ids)
        if now != self._held:
            self._held = now
            if ids:
                shown = self._bundle()
                for id in ids:
                    _publish(shown, id, update=True)


def _publish(shown: Bundle, id: str, *, update: bool) -> None:
    from IPython import display

    publish = cast("Any", display).publish_display_data
    publish(*shown, transient={"display_id": id}, update=update)


def bundle(trace: Trace, **settings: Any) -> dict[str, Any]:
    """Give a run as HTML and PNG, by MIME type; of one that holds nothing yet, a sentence. It never fails.

    Parameters
    ----------
    trace
        The run.
    **settings
        As `axon_widget.picture.png` takes them.
    """
    if not len(trace):
        said = "The run had not ended when this was shown. Show the widget again after it and save the notebook."
        return {"text/html": f"<p>{said}</p>"}
    try:
        return _bundle(trace, **settings)
    except Exception as error:  # a cell that shows the live view must not fail for want of its picture
        _log.warning("no picture for readers without widgets", exc_info=error)
        return {"text/html": f"<p>{html.escape(clean(trace.text, 2000))}</p>"}


def _bundle(trace: Trace, **settings: Any) -> dict[str, Any]:
    from axon_widget.picture import png

    picture = base64.b64encode(png(trace, **settings)).decode()
    about = html.escape(f"Features of {trace.origin.model or 'a model'} on: {clean(trace.text, 200)}")
    return {
        "text/html": f'<p><img alt="{about}" src="data:image/png;base64,{picture}"></p>{_table(trace)}',
        "image/png": picture,
    }


def _table(trace: Trace) -> str:
    steps = [step for step in trace if not step.special]
    rows = "".join(map(_row, steps[:_MOST_TOKENS]))
    head = "".join(f'<th style="{_CELL}">{word}</th>' for word in ("token", "probability", "strongest features"))
    more = len(steps) - _MOST_TOKENS
    rest = f"<p>and {more} more tokens</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"


def _row(step: TokenStep) -> str:
    token = html.escape(clean_token(step.token).replace(" ", "\N{NO-BREAK SPACE}"))
    word = f"<b><code>{token}</code></b>" if step.generated else f"<code>{token}</code>"
    chance = "" if step.logprob is None else f"{math.exp(step.logprob):.1%}"
    features = ", ".join(
        html.escape(f"{clean(f.label, 60) or f'#{f.id}'} ({f.activation:.2f})") for f in step.features[:_FEATURES]
    )
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in (word, chance, features)) + "</tr>"


_log = logging.getLogger(__name__)
