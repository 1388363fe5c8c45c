"""What a check found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from axon_widget.trace import Steering

if TYPE_CHECKING:
    from axon_widget.engine.features import Reading
    from axon_widget.engine.tracer import Tracer

Verdict = Literal["pass", "fail", "not judged"]

WORDS: Mapping[Verdict, str] = {"fail": "failed", "not judged": "not judged", "pass": "passed"}
"""The verdicts, the worst first, in the words that follow a number."""

Say: TypeAlias = Callable[[str], None]
"""Is told how far a check is."""


@dataclass(frozen=True)
class Result:
    """What one check found.

    Parameters
    ----------
    name
        The check.
    verdict
        Whether it passed; "not judged" where this model gives nothing to judge by.
    found
        The figures, as a sentence.
    looked_at
        What was looked at, as a sentence.
    details
        More, line by line.
    figures
        The same as plain values.
    """

    name: str
    verdict: Verdict
    found: str
    looked_at: str = ""
    details: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return f"{self.name}: {self.verdict}. {self.found}"


def together(name: str, titles: Sequence[str], results: Sequence[Result], looked_at: str) -> Result:
    """Make one result of those of several SAEs, as good as the worst of them."""
    if len(results) == 1:
        return results[0]
    worst = min(results, key=lambda result: list(WORDS).index(result.verdict))
    lines = tuple(f"{title}: {r.verdict}. {r.found}" for title, r in zip(titles, results, strict=True))
    figures = {title: {"verdict": r.verdict, **r.figures} for title, r in zip(titles, results, strict=True)}
    return Result(name, worst.verdict, f"Of {len(results)} SAEs: {counted(results)}.", looked_at, lines, figures)


def counted(results: Sequence[Result]) -> str:
    """Count the verdicts, the worst first."""
    verdicts = [result.verdict for result in results]
    return ", ".join(f"{verdicts.count(verdict)} {words}" for verdict, words in WORDS.items() if verdict in verdicts)


def read(tracer: Tracer, text: str) -> list[list[Reading]]:
    """Read the features of a text, as much of it as the model's context holds: by token, special ones left out."""
    ids = tracer.vocabulary.encode(text, sys.maxsize)[: tracer.model.context]
    return [readings for readings in tracer.passes.forward(ids, None, Steering())[2] if readings]
