"""What is true of every whole trace."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import TYPE_CHECKING

from axon_widget.trace import TokenStep, Trace

if TYPE_CHECKING:
    from axon_widget.engine.tracer import Tracer

SILENT = 0.05
"""The share of tokens on which an SAE may have no feature at all."""
_ROUNDING = 1e-3


def problems(tracer: Tracer, trace: Trace, ends: Container[int] = ()) -> list[str]:
    """Give what is wrong with a trace, a sentence each; nothing where it is whole.

    Steps, tokens and features have numbers there are; all figures are finite; each SAE's features are distinct, on,
    counted, and strongest first; probabilities are such, and agree with one another; the pieces of text make the whole;
    and no SAE is silent on more than one token in twenty. Special tokens are not read, nor is a first one that is the
    attention sink, nor are those that end a text: the steps in `ends`, and the last one where the run ended so.
    """
    if not len(trace):
        return ["The trace is empty."]
    last = len(trace) - 1 if trace.finish == "eos" else None
    shown = [s for n, s in enumerate(trace) if s.read and n not in ends and n != last]
    read = set(map(id, shown))
    found = [f"Step {n}: {w}." for n, step in enumerate(trace) for w in _of_step(tracer, step, n, id(step) in read)]
    for sae, reader in enumerate(tracer.readers):
        silent = sum(all(f.sae != sae for f in step.features) for step in shown)
        if silent > SILENT * len(shown):
            found.append(f"{reader.name} has no feature on {silent} of {len(shown)} tokens.")
    ids = [step.token_id for step in trace]
    whole = tracer.vocabulary.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if trace.text != whole:
        found.append("The steps' texts do not make the decoded text.")
    return found


def _of_step(tracer: Tracer, step: TokenStep, n: int, read: bool) -> list[str]:
    found: list[str] = []
    if (step.step, step.position) != (n, n):
        found.append(f"it is numbered {step.step} and stands at {step.position}")
    if not 0 <= step.token_id < int(tracer.model.plain.get_input_embeddings().weight.shape[0]):
        found.append(f"there is no token {step.token_id}")
    if len(step.fits) != (len(tracer.readers) if read else 0):
        found.append(f"{len(step.fits)} SAEs were read")
    if step.features and not read:
        found.append("it has features and was not read")
    for sae, reader in enumerate(tracer.readers):
        of = [f for f in step.features if f.sae == sae]
        activations = [f.activation for f in of]
        if any(not 0 <= f.id < reader.d_sae for f in of):
            found.append(f"there is no such feature in {reader.name}")
        if len({f.id for f in of}) < len(of):
            found.append(f"a feature of {reader.name} stands twice")
        if not all(math.isfinite(a) and a != 0 for a in activations):
            found.append(f"an activation of {reader.name} is not finite, or 0")
        elif activations != sorted(activations, reverse=True):
            found.append(f"the features of {reader.name} are not strongest first")
        if sae < len(step.fits):
            fit = step.fits[sae]
            if not all(map(math.isfinite, fit)):
                found.append(f"how well {reader.name} sees it is not finite")
            if fit.l0 != len(of):
                found.append(f"{fit.l0} features of {reader.name} are counted and {len(of)} given")
    if len(step.features) != sum(0 <= f.sae < len(tracer.readers) for f in step.features):
        found.append("a feature is of no SAE")
    return found + _of_choice(step)


def _of_choice(step: TokenStep) -> list[str]:
    """Compare a token's own probability with those of its alternatives."""
    if not step.step:
        return []
    if step.logprob is None or not math.isfinite(step.logprob):
        return ["its probability is not finite"]
    own = math.exp(step.logprob)
    others = {a.token_id: a.probability for a in step.alternatives}
    listed = list(others.values())
    total = sum(listed) + (0.0 if step.token_id in others else own)
    least = listed[-1] if listed else 1.0
    agree = abs(others[step.token_id] - own) if step.token_id in others else own - least
    if not all(0 <= p <= 1 + _ROUNDING for p in (*listed, own)) or total > 1 + _ROUNDING:
        return [f"probabilities add up to {total:.4f}"]
    if listed != sorted(listed, reverse=True) or agree > _ROUNDING:
        return ["its probability does not agree with those of its alternatives"]
    return []
