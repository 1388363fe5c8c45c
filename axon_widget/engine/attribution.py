"""Why this token: what each feature adds to a token's logit, and what happens to the token without it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from axon_widget.engine.features import Parts
from axon_widget.engine.hooks import FINAL, Act, HookedModel
from axon_widget.engine.matvec import AllThreads

if TYPE_CHECKING:
    import pandas as pd

    from axon_widget.engine.tracer import Tracer
    from axon_widget.trace import Trace

_ROWS = 16  # ablations in one forward pass


@dataclass(frozen=True)
class Unembedding:
    """The final norm and the unembedding: the way from the residual stream to the logits.

    Parameters
    ----------
    norm
        The final norm: a LayerNorm or an RMSNorm of any make. Hook points, which belong to a pass, do not see it.
    gamma, beta
        Its scale, up to a factor, and its shift, shape (d_model,).
    centred
        Whether it takes the mean over the dimensions away first, as a LayerNorm does.
    matrix, offset
        The unembedding, shape (vocabulary, d_model), and its bias, shape (vocabulary,), or None.
    mean
        The mean row of the matrix, shape (d_model,).
    """

    norm: Callable[[torch.Tensor], torch.Tensor]
    gamma: torch.Tensor
    beta: torch.Tensor
    centred: bool
    matrix: torch.Tensor
    offset: torch.Tensor | None
    mean: torch.Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, model: HookedModel) -> Unembedding:
        """Find them in a model.

        What the norm does is read off its answers, as families store its scale in different ways (some less one).
        """
        forward = model.plain.get_submodule(model.bridge.ln_final.name).forward
        head = model.plain.get_output_embeddings()

        def norm(x: torch.Tensor) -> torch.Tensor:
            return forward(x).to(x.device)  # a device map may have put it elsewhere than the head

        wave = torch.ones(head.weight.shape[1], device=head.weight.device, dtype=head.weight.dtype)
        wave[::2] = -1  # of mean 0 and variance 1: either norm multiplies it by its scale alone
        beta = norm(torch.zeros_like(wave)[None])[0].float()
        answer = norm(wave[None])[0].float()
        shifted = norm(wave[None] + 1)[0].float()
        return cls(
            norm=norm,
            gamma=(answer - beta) * wave.float(),
            beta=beta,
            centred=bool(torch.allclose(shifted, answer, atol=1e-2 * float(answer.abs().max()))),
            matrix=head.weight,
            offset=getattr(head, "bias", None),
            mean=head.weight.float().mean(0),
        )

    def direction(self, rows: torch.Tensor) -> torch.Tensor:
        """Give, for rows of the unembedding (…, d_model), what a vector of the residual stream is multiplied by."""
        direction = rows * self.gamma
        return direction - direction.mean(-1, keepdim=True) if self.centred else direction

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Give sigma, which the norm divides by at this activation (d_model,), in units of `gamma`."""
        answer = self.norm(x[None].to(self.matrix.dtype))[0].float() - self.beta
        x = x.float()
        scaled = self.gamma * (x - x.mean() if self.centred else x)
        return scaled @ scaled / (scaled @ answer)

    def weights(self, d: torch.Tensor) -> torch.Tensor:
        """Give what directions of the residual stream (n, d_model) do to each logit (n, vocabulary), but for sigma."""
        d = d.float().to(self.matrix.device)
        d = (d - d.mean(-1, keepdim=True) if self.centred else d) * self.gamma
        # In this order the rows of the matrix are read once: for a few directions the other one takes up to three times
        # as long on the CPU.
        return (self.matrix @ d.to(self.matrix.dtype).T).T


@dataclass
class Share:
    """What one part adds: to the logit on the direct path, and to the log-probability (None where not known)."""

    direct: float | None = None
    exact: float | None = None


@dataclass
class Attribution:
    """What one SAE's features do for a token.

    Parameters
    ----------
    sae
        The SAE's place.
    ids, activations, features
        The features that are on, strongest first, and the share of each.
    error, bias
        The shares of what the SAE misses, and of what it gives with no feature on.
    rest
        The share of what later layers write; where the SAE reads what one attention or MLP writes, that of all others.
    whole_stream
        Whether it is later layers alone.
    final
        The share of the final norm's and the unembedding's biases.
    cap
        What is done to the logits after the unembedding, such as soft-capping.
    every
        The share of all features together.
    """

    sae: int
    ids: list[int]
    activations: list[float]
    features: list[Share]
    parts: Parts
    error: Share = field(default_factory=Share)
    bias: Share = field(default_factory=Share)
    rest: Share = field(default_factory=Share)
    whole_stream: bool = True
    final: Share = field(default_factory=Share)
    cap: Share = field(default_factory=Share)
    every: Share = field(default_factory=Share)
    gap: Share = field(default_factory=Share)


@dataclass
class Why:
    """Why a token follows: the features that were read on the token before it, and what each does for it.

    Parameters
    ----------
    step, token, token_id
        The place of the token in the trace, its text and its id.
    logprob
        Its log-probability.
    logit_difference
        Its logit less the mean logit: what the direct shares sum to.
    saes
        What the features of each SAE do.
    done, total
        How many ablations have been made, and how many there are.
    """

    step: int
    token: str
    token_id: int
    logprob: float
    logit_difference: float
    saes: list[Attribution]
    done: int = 0

    @property
    def total(self) -> int:
        """How many ablations there are."""
        return sum(len(_removals(one)) for one in self.saes)

    def to_pandas(self, tracer: Tracer) -> pd.DataFrame:
        """Give the shares as a table, see `Tracer.why`."""
        import pandas as pd

        rows: list[tuple[Any, ...]] = []
        for one in self.saes:
            reader = tracer.readers[one.sae]
            at = (one.sae, reader.layer)
            features = zip(one.ids, one.activations, one.features, strict=True)
            rows += [("feature", *at, i, tracer.names(one.sae, i), a, s.direct, s.exact) for i, a, s in features]
            others = {
                "error": one.error,
                "bias": one.bias,
                "later layers" if one.whole_stream else "other layers": one.rest,
                "final biases": one.final,
                "soft cap": one.cap,
                "gap": one.gap,
                "all features": one.every,
            }
            rows += [(name, *at, None, "", None, s.direct, s.exact) for name, s in others.items()]
        columns = ["part", "sae", "layer", "id", "label", "activation", "direct", "exact"]
        table = pd.DataFrame(rows, columns=columns).astype(
            {"id": "Int64", "activation": float, "direct": float, "exact": float}
        )
        names = ("step", "token", "token_id", "logprob", "logit_difference")
        table.attrs |= {name: getattr(self, name) for name in names}
        return table


@torch.inference_mode()
def explain(tracer: Tracer, trace: Trace, step: int, token: int | None = None) -> Why:
    """Find the direct shares in a token's logit.

    With the final norm's scale sigma held at what it is on this token, the logits are a linear function of the
    residual stream, so that each thing written to it adds its own part to the token's logit less the mean logit:
    ``v / sigma . ((W_U[t] - mean W_U) * gamma)``, v being a feature's activation times its decoder row, the SAE's error
    or bias, or what later layers write (direct logit attribution: Elhage et al. 2021, "A Mathematical Framework for
    Transformer Circuits"). What a feature does through later layers is not in its direct share: `ablate` finds that.

    Parameters
    ----------
    tracer
        The model and its SAEs.
    trace
        The run.
    step
        The place of the token; the length of the trace for the one to come.
    token
        Another token to explain in its place; left out, the one that stands there, or the likeliest to come.

    Raises
    ------
    ValueError
        If there is no such place, or no features were read on the token before it.
    """
    if not 0 <= step <= len(trace):
        raise ValueError(f"There is no token {step}: the run has tokens 0 to {len(trace) - 1}.")
    if step == 0 or not trace[step - 1].read:
        before = "nothing" if step == 0 else "a special token" if trace[step - 1].special else "the first token"
        raise ValueError(f"Token {step} follows {before}, on which no features are read: choose a later one.")
    parts: dict[int, Parts] = {}
    final: list[torch.Tensor] = []
    logits = _run(tracer, trace, step, 1, parts, final)[0].float()
    if token is None:
        token = trace[step].token_id if step < len(trace) else int(logits.argmax())
    end = tracer.unembedding
    x = final[0][0, -1].float().to(end.matrix.device)
    sigma = end.scale(x)
    row = end.matrix[token].float() - end.mean
    direction = end.direction(row) / sigma
    known = end.beta @ row
    if end.offset is not None:
        known = known + end.offset[token].float() - end.offset.float().mean()
    truth = float(logits[token] - logits.mean())
    straight = float(x @ direction + known)
    why = Why(
        step,
        tracer.vocabulary.name(token),
        token,
        float(logits.log_softmax(-1)[token]),
        truth,
        [Attribution(place, p.ids, p.activations, [], p) for place, p in sorted(parts.items())],
    )
    for one in why.saes:
        p = one.parts.on(x.device)
        if not tracer.readers[one.sae].writes_residual:
            one.features = [Share() for _ in one.ids]
            continue
        direct = p.contributions @ direction
        one.features = [Share(float(value)) for value in direct]
        one.every.direct = float(direct.sum())
        one.error.direct, one.bias.direct = float(p.error @ direction), float(p.bias @ direction)
        one.rest.direct = float((x - p.used.float()) @ direction)
        one.whole_stream = tracer.readers[one.sae].whole_stream
        one.final.direct, one.cap.direct = float(known), _cap(tracer, truth, straight, logits)
        shares = (one.every, one.error, one.bias, one.rest, one.final, one.cap)
        one.gap.direct = truth - sum(share.direct or 0.0 for share in shares)
    return why


@torch.inference_mode()
def ablate(tracer: Tracer, trace: Trace, why: Why) -> Generator[Why]:
    """Find the exact shares: the log-probability that the token loses when a part is taken out of the stream.

    log p(t | x) - log p(t | x - v), at the one token before it, with all later layers run again; some in each forward
    pass, after each of which the explanation is given out. What all features do together differs from the sum of what
    each does alone, as later layers are not linear: ``gap`` is that difference.
    """
    for one in why.saes:
        removals = _removals(one)
        for first in range(0, len(removals), _ROWS):
            some = removals[first : first + _ROWS]
            without = torch.stack([one.parts.used.float() - vector for _, vector in some])
            logits = _run(tracer, trace, why.step, len(some), {}, [], (one.sae, without))
            left = logits.float().log_softmax(-1)[:, why.token_id]
            for (share, _), value in zip(some, left, strict=True):
                share.exact = why.logprob - float(value)
            why.done += len(some)
            if first + _ROWS >= len(removals):
                one.gap.exact = (one.every.exact or 0.0) - sum(share.exact or 0.0 for share in one.features)
            yield why


def _removals(one: Attribution) -> list[tuple[Share, torch.Tensor]]:
    """Give what is taken out, and where the loss belongs."""
    p = one.parts
    singles = list(zip(one.features, p.contributions, strict=True))
    return [*singles, (one.error, p.error), (one.bias, p.bias), (one.every, p.contributions.sum(0))]


def _run(
    tracer: Tracer,
    trace: Trace,
    step: int,
    rows: int,
    parts: dict[int, Parts],
    final: list[torch.Tensor],
    without: tuple[int, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Run the token before a step again, under the steering it was run with; give its logits (rows, vocabulary).

    Into `parts` goes what each SAE sees on it, into `final` what the final norm reads. With `without` = (sae, x), the
    activation at that SAE's hook point is x, shape (rows, d), whatever was there.
    """
    steering = trace.steering_at(step - 1)

    def act(places: list[int], x: torch.Tensor) -> torch.Tensor | None:
        now = x
        for place in places:
            changes = [c for c in steering.features if c.sae == place]
            if without and without[0] == place:
                now = without[1][:, None].to(x.dtype)
            elif without is None:
                parts[place] = tracer.readers[place].split(now[0, -1], changes, steering.reconstruct)
                now = parts[place].used[None, None]
            elif changes or steering.reconstruct:
                changed = tracer.readers[place].steer(now[:, -1], changes, steering.reconstruct)[1]
                now = now if changed is None else changed[:, None]
        return None if now is x else now

    at: dict[str, list[int]] = {}
    for place, reader in enumerate(tracer.readers):
        at.setdefault(reader.hook, []).append(place)
    acts: dict[str, Act] = {hook: partial(act, places) for hook, places in at.items()}
    if without is None:
        acts[FINAL] = final.append
    cache = tracer.passes.cache_of(trace, step - 1)
    if cache is not None and rows > 1:
        cache.batch_repeat_interleave(rows)
    tokens = torch.full((rows, 1), trace[step - 1].token_id, device=tracer.model.device)
    with tracer.passes.lock, AllThreads():
        return tracer.model.forward(tokens, cache, acts)[0][:, -1]


def _cap(tracer: Tracer, truth: float, straight: float, logits: torch.Tensor) -> float:
    """Give what is done to the logits after the unembedding; 0 where nothing is."""
    config: Any = tracer.model.plain.config
    text = config.get_text_config()
    changed = any(getattr(text, name, None) for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"))
    return truth - straight if changed else 0.0
