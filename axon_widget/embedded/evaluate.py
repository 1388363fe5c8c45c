"""Measure a shipped model's autoencoders with SAELens' own evaluation and write their cards.

``python -m axon_widget.embedded.evaluate --model stories15m`` writes ``metrics.json`` and ``CARD.md`` beside each
autoencoder, from held-out text. What was measured of the same weights on the same text is not measured again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from sae_lens.evals import get_recons_loss, get_sparsity_and_variance_metrics
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors import safe_open
from scipy import optimize

from axon_widget.embedded.activations import batches, load_model, load_sae, read
from axon_widget.embedded.card import card_text
from axon_widget.embedded.label import CLEAR
from axon_widget.embedded.recipes import RECIPES, Recipe, arguments
from axon_widget.engine.hooks import HookedModel
from axon_widget.labels import bundle

log = logging.getLogger(__name__)

WEIGHTS = "sae_weights.safetensors"
SAME = 0.7
"""Two features of different training seeds are the same one from this cosine of their decoder vectors on."""
_UNCOUNTED = -1  # stands for any token that does not count, so that SAELens leaves it out

Rows = Sequence[torch.Tensor]


class _Replay:
    """Stands in for SAELens' model and its store of texts: gives activations that were read before."""

    def __init__(self, recipe: Recipe, rows: Rows, hook: str, read_before: Sequence[dict[str, torch.Tensor]]) -> None:
        self._batches = iter(zip(rows, read_before, strict=True))
        self._recipe, self._hook = recipe, hook

    def get_batch_tokens(self, size: int) -> torch.Tensor:
        tokens, self._found = next(self._batches)
        return tokens.masked_fill(~self._recipe.counted(tokens), _UNCOUNTED)

    def run_with_cache(self, tokens: torch.Tensor, **_: Any) -> tuple[None, dict[str, torch.Tensor]]:
        return None, self._found


class _Spliced:
    """Stands in for the model where SAELens measures losses: it is told which tokens count, the model what they are."""

    def __init__(self, bridge: Any, tokens: torch.Tensor) -> None:
        self._bridge, self._tokens = bridge, tokens.to(bridge.cfg.device)
        self._clean: Any = None

    def __call__(self, tokens: torch.Tensor, **options: Any) -> Any:
        if self._clean is None:  # the same for every autoencoder
            self._clean = self._bridge(self._tokens, **options)
        return self._clean

    def run_with_hooks(self, tokens: torch.Tensor, **options: Any) -> Any:
        return self._bridge.run_with_hooks(self._tokens, **options)


@torch.inference_mode()
def measure(
    model: HookedModel, saes: dict[str, Any], recipe: Recipe, rows: torch.Tensor, loss_rows: int
) -> dict[str, dict[str, float]]:
    """Measure autoencoders, by hook point, on rows of text; their losses on the first so many rows."""
    parts: list[torch.Tensor] = []
    found: list[dict[str, torch.Tensor]] = []
    for tokens in batches(rows, "reading"):
        parts.append(tokens)
        found.append(read(model, list(saes), tokens))
    measured = {hook: _fit(sae, _Replay(recipe, parts, hook, found), len(parts)) for hook, sae in saes.items()}
    del found
    losses: dict[str, dict[str, list[torch.Tensor]]] = {hook: {} for hook in saes}
    for tokens in batches(rows[:loss_rows], "losses"):
        mask = recipe.counted(tokens)
        follows = mask[:, :-1] & mask[:, 1:]
        spliced = _Spliced(model.bridge, tokens)
        for hook, sae in saes.items():
            values = get_recons_loss(
                sae,
                cast(Any, spliced),
                ActivationScaler(),
                tokens.masked_fill(~mask, _UNCOUNTED).to(model.device),
                compute_kl=False,
                compute_ce_loss=True,
                ignore_tokens=[_UNCOUNTED],
                hook_name=model.resolve(hook),
            )
            for name, value in values.items():
                losses[hook].setdefault(name, []).append(value.cpu()[follows])
    tokens_counted = int(recipe.counted(rows).sum())
    return {hook: {"tokens": tokens_counted, **measured[hook], **_losses(losses[hook])} for hook in saes}


def _fit(sae: Any, replay: _Replay, count: int) -> dict[str, float]:
    """Tell how well an autoencoder gives activations back, and how many features it takes."""
    name = sae.cfg.metadata.hook_name
    fit, features = get_sparsity_and_variance_metrics(
        sae,
        cast(Any, replay),
        cast(Any, replay),
        ActivationScaler(),
        compute_l2_norms=False,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=True,
        n_batches=count,
        eval_batch_size_prompts=0,  # the rows are batches already
        model_kwargs={},
        ignore_tokens=[_UNCOUNTED],
    )
    density = features["feature_density"]
    log.info("%s: explained variance %.4f, L0 %.2f", name, fit["explained_variance"], fit["l0"])
    return {
        "explained_variance": fit["explained_variance"],
        "l0": fit["l0"],
        "cossim": fit["cossim"],
        "dead_share": sum(value == 0 for value in density) / len(density),
    }


def _losses(found: dict[str, list[torch.Tensor]]) -> dict[str, float]:
    joined = {name: torch.cat(parts) for name, parts in found.items()}
    clean, spliced, zeroed = (joined[f"ce_loss_{name}"] for name in ("without_sae", "with_sae", "with_ablation"))
    return {
        "loss_tokens": len(clean),
        "loss_clean": clean.mean().item(),
        "loss_spliced": spliced.mean().item(),
        "loss_zeroed": zeroed.mean().item(),
        "loss_recovered": ((zeroed - spliced).mean() / (zeroed - clean).mean()).item(),
    }


@torch.inference_mode()
def stability(sae: Any, second: Any) -> dict[str, float]:
    """Tell how many features are found again in the autoencoder of a second training seed, and what that one is.

    ``found_again`` is the share of features with any of cosine `SAME` or more in the other one, ``matched`` that where
    each of the other's may stand for one feature only, paired so that the sum of cosines is the largest.
    """
    one, other = (torch.nn.functional.normalize(each.W_dec.float().cpu(), dim=1) for each in (sae, second))
    cosines = one @ other.T
    pairs = cast(Any, optimize).linear_sum_assignment(cosines.numpy(), maximize=True)
    return {
        "second_seed": second.cfg.metadata.training_seed,
        "second_tokens": second.cfg.metadata.training_tokens,
        "found_again": float((cosines.amax(1) >= SAME).float().mean()),
        "matched": float((cosines.numpy()[pairs] >= SAME).sum() / len(cosines)),
    }


def detection(folder: Path) -> dict[str, float]:
    """Sum up the scores of the labels beside an autoencoder; nothing where there are none of its weights."""
    path = folder / bundle.LABELS
    if not path.is_file() or bundle.about(path)["weights"] != bundle.digest_of(folder / WEIGHTS):
        return {}
    scores = [one.score for one in bundle.summaries(path).values()]
    scored = [score for score in scores if score is not None]
    return {
        "labels_tokens": int(bundle.about(path)["tokens"]),
        "labels_live": len(scores),
        "labels_scored": len(scored),
        "labels_clear": sum(score >= CLEAR for score in scored),
        "labels_mean_score": sum(scored) / max(len(scored), 1),
    }


def evaluate(
    recipe: Recipe,
    folder: Path,
    hooks: Sequence[str],
    rows: torch.Tensor,
    loss_rows: int,
    device: str = "cpu",
    second: Path | None = None,
    again: bool = False,
    seed: int = 1,
) -> None:
    """Measure the autoencoders at these hook points that were not measured on these rows, and write all their cards."""
    saes = {hook: load_sae(folder / hook, device) for hook in hooks}
    text = bundle.digest(rows.numpy())
    of: dict[str, dict[str, Any]] = {
        hook: {"weights": bundle.digest_of(folder / hook / WEIGHTS), "text": text, "loss_rows": loss_rows}
        for hook in saes
    }
    known = {} if again else {hook: found for hook in saes if (found := _known(folder / hook, of[hook]))}
    todo = {hook: sae for hook, sae in saes.items() if hook not in known}
    if todo:
        known |= measure(load_model(recipe.directory(), device), todo, recipe, rows, loss_rows)
    for hook, sae in saes.items():
        metrics: dict[str, Any] = {"of": of[hook], "seed": seed, **known[hook]}
        with cast(Any, safe_open)(folder / hook / WEIGHTS, framework="pt") as weights:
            metrics["stored"] = str(weights.get_tensor("W_dec").dtype).removeprefix("torch.")
        if recipe.weights:
            metrics["model_weights"] = recipe.weights
        if second is not None and (second / hook).is_dir():
            metrics |= stability(sae, load_sae(second / hook))
        metrics |= detection(folder / hook)
        (folder / hook / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        (folder / hook / "CARD.md").write_text(card_text(recipe, sae, metrics), encoding="utf-8")
        log.info("%s %s", hook, json.dumps(metrics, indent=2))


def _known(folder: Path, of: dict[str, Any]) -> dict[str, float] | None:
    """Give what was measured of the same weights on the same text; labels are looked at anew."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if metrics.get("of") != of:
        return None
    return {name: value for name, value in metrics.items() if name not in ("of", "seed") and "label" not in name}


def main(arguments_given: Sequence[str] | None = None) -> None:
    """Run the evaluation from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, help="held-out tokens (default: the recipe's)")
    parser.add_argument("--loss-rows", type=int, help="rows for the losses, all logits each (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the held-out text (%(default)s)")
    parser.add_argument("--hooks", nargs="+", help="measure only those at these hook points")
    parser.add_argument("--second", type=Path, help="the folder of the autoencoders of a second training seed")
    parser.add_argument("--again", action="store_true", help="measure those again that are measured")
    options = parser.parse_args(arguments_given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = RECIPES[options.model]
    tokens = options.tokens or recipe.measured
    rows = recipe.rows(options.work, "held-out", options.seed, tokens, options.device)
    evaluate(
        recipe,
        options.out or recipe.model.saes,
        options.hooks or tuple(recipe.hooks),
        rows,
        options.loss_rows or recipe.loss_rows,
        options.device,
        options.second,
        options.again,
        options.seed,
    )


if __name__ == "__main__":
    main()
