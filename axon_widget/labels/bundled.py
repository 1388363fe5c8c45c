"""Labels that lie in a file beside the SAE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from axon_widget.labels import DENSE, Label, Labels, bundle
from axon_widget.labels.text import clean, clean_token


class BundledLabels(Labels):
    """The labels in a ``labels.sqlite3`` that `axon_widget.embedded.label` writes.

    The names are read at once; what else is known of a feature, and the text around where it fires, when it is asked.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If it is no such file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            about = bundle.about(path)
            self._source, self._scored_by = clean(about["source"]), clean(about["scored_by"])
            self._known = {
                feature: one._replace(label=clean(one.label), rule=clean(one.rule))
                for feature, one in bundle.summaries(path).items()
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} holds no labels that can be read ({type(error).__name__}: {clean(str(error), 200)}). "
                "Give others with labels=, or labels=False for none."
            ) from None
        self._path, self._texts = path, path.parent.parent / bundle.TEXTS
        self._digest = about.get("digest", "")
        self._dense_from = DENSE * sum(one.frequency for one in self._known.values()) / max(len(self._known), 1)

    @property
    def source(self) -> str:
        """How the labels were made."""
        return self._source

    def names(self) -> Iterable[tuple[int, str]]:
        """Give every feature that has a name, and the name."""
        return [(feature, one.label) for feature, one in self._known.items()]

    def name(self, feature: int) -> str:
        """Give a feature's name, empty where it never fired when labels were made."""
        one = self._known.get(feature)
        return one.label if one else ""

    def get(self, feature: int) -> Label | None:
        """Give a feature's name and numbers, or None where the feature never fired when labels were made."""
        one = self._known.get(feature)
        if one is None:
            return None
        return Label(
            text=one.label,
            source=self._source,
            explainer="rule" if one.rule else "",
            method=one.rule,
            score=one.score,
            scored_by=self._scored_by if one.score is not None else "",
            frequency=one.frequency,
            max_activation=one.max_activation,
            dense=one.frequency > self._dense_from,
        )

    def full(self, feature: int) -> Label | None:
        """Give all that is known of a feature, its contexts included: they are read now."""
        label = self.get(feature)
        if label is None:
            return None
        try:
            more = bundle.more(self._path, feature, label.max_activation or 0.0)
            return replace(label, **self._told(more)) if more else label
        except ValueError:  # damaged, or gone: what was read before stays
            return label

    def known(self) -> Iterator[tuple[int, Label]]:
        """Give every feature of which anything is known, in order, and what that is."""
        for feature in sorted(self._known):
            if label := self.full(feature):
                yield feature, label

    def _told(self, more: bundle.More) -> dict[str, Any]:
        """Put tokens' own texts in place of their numbers."""
        if not self._has_text:
            return {}
        contexts = bundle.windows(self._texts, more.contexts)
        ids = [token for token, _ in more.fires_on] + [*more.boosts, *more.suppresses]
        ids += [token for context in contexts for token, _ in context]
        said = {token: clean_token(text) for token, text in bundle.token_texts(self._texts, ids).items()}
        return {
            "fires_on": tuple((said[token], mean) for token, mean in more.fires_on if said.get(token)),
            "boosts": tuple(said[token] for token in more.boosts if said.get(token)),
            "suppresses": tuple(said[token] for token in more.suppresses if said.get(token)),
            # Special tokens say nothing: a text's beginning and end are no part of it.
            "contexts": tuple(
                tuple((said[token], value) for token, value in context if said.get(token)) for context in contexts
            ),
        }

    @cached_property
    def _has_text(self) -> bool:
        """Tell whether the text beside the SAEs is the one that these labels were made from."""
        try:
            return self._texts.is_file() and bundle.about(self._texts).get("digest") == self._digest
        except ValueError:
            return False
