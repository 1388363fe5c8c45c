"""How a widget's runs become files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from axon_widget.export import check, csv, page, write

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer
    from axon_widget.trace import Trace


class Saving:
    """The methods that write a run to a file."""

    if TYPE_CHECKING:  # what the widget has
        feature_k: Any
        activation_threshold: Any

        @property
        def trace(self) -> Trace:
            """The newest run."""
            ...

        @property
        def tracer(self) -> Tracer | None:
            """The engine, None until a model is loaded."""
            ...

    def to_html(self, path: str | Path, *, trace: Trace | None = None) -> Path:
        """Write a run as one self-contained page: the same view, no kernel, no network.

        Parameters
        ----------
        path
            The file.
        trace
            The run, one of `branches`; left out, the newest.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ValueError
            If nothing was written yet.
        """
        return write(self.export(self._or_newest(trace), "html"), path)

    def to_image(self, path: str | Path, *, trace: Trace | None = None) -> Path:
        """Draw the graph of a run into a file. No browser is needed.

        Parameters
        ----------
        path
            The file; its ending tells what it becomes: .png, .svg or .pdf.
        trace
            As `to_html` takes it.

        Raises
        ------
        ValueError
            If nothing was written yet, or the file's ending is another.
        """
        from axon_widget.picture import to_image

        shown = {"feature_k": self.feature_k, "activation_threshold": self.activation_threshold}
        return to_image(self._or_newest(trace), path, **shown)

    def to_json(self, path: str | Path, *, trace: Trace | None = None) -> Path:
        """Write a run as JSON, which `Trace.from_json` reads.

        Parameters
        ----------
        path, trace
            As `to_html` takes them.

        Raises
        ------
        ValueError
            If nothing was written yet.
        """
        return write(self.export(self._or_newest(trace), "json"), path)

    def to_csv(self, path: str | Path, *, trace: Trace | None = None) -> Path:
        """Write a run as a table, a row for each feature on each token.

        Parameters
        ----------
        path, trace
            As `to_html` takes them.

        Raises
        ------
        ValueError
            If nothing was written yet.
        """
        return write(self.export(self._or_newest(trace), "csv"), path)

    def export(self, trace: Trace, what: str) -> str:
        """Give a run as the view saves it.

        Parameters
        ----------
        trace
            The run.
        what
            "html", "json" or "csv".

        Returns
        -------
        str
            The file's content.

        Raises
        ------
        ValueError
            If nothing was written yet, or this is not known.
        """
        check(trace)
        if what == "html":
            shown = {"feature_k": self.feature_k, "activation_threshold": self.activation_threshold}
            return page(trace, self.tracer, **shown)
        if what == "json":
            return trace.to_json()
        if what == "csv":
            return csv(trace)
        raise ValueError(f"There is no export {what!r}: there are html, json and csv.")

    def _or_newest(self, trace: Trace | None) -> Trace:
        return self.trace if trace is None else trace
