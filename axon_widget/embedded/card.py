"""The text of an autoencoder's card, beside it as ``CARD.md``."""

from __future__ import annotations

from typing import Any

from axon_widget.embedded.label import CLEAR, FEWEST
from axon_widget.embedded.recipes import RECIPES, Recipe
from axon_widget.embedded.rules import SNIPPET

_CARD = """\
# {model}, `{hook}`

A sparse autoencoder with {d_sae:,} features over {d_in} dimensions of the residual stream of {model}{weights}.
It is in SAELens' own format: `SAE.load_from_disk(folder)` loads it as float32; encoder and decoder are stored as
{stored}.

## Measured
On {tokens:,} tokens of held-out text (seed {seed}), by SAELens' own evaluation functions. {left_out} and special
tokens are left out everywhere.

| | |
| --- | --- |
| explained variance | {explained_variance:.4f} |
| L0, features active per token | {l0:.2f} |
| cosine of input and reconstruction | {cossim:.4f} |
| dead features | {dead_share:.2%} |
| loss, clean | {loss_clean:.4f} |
| loss, reconstruction spliced in | {loss_spliced:.4f} |
| loss, activations zeroed | {loss_zeroed:.4f} |
| loss recovered | {loss_recovered:.4f} |
| found again in a second training seed | {stability} |

Labels: {labels}.

- Explained variance is 1 - sum ‖x - x̂‖² / sum ‖x - mean x‖² over all counted tokens.
- A feature is dead if it fires on none of the {tokens:,} tokens.
- Losses are the mean cross entropy, in nats, of {loss_tokens:,} counted tokens that follow a counted token. Zeroed
  means that all activations at the hook point are set to 0, those of tokens left out too; loss recovered is
  (zeroed - spliced) / (zeroed - clean). Where the reconstruction is spliced in, tokens that do not count keep their
  own activations.
- A feature is found again if some feature of the other seed's autoencoder has a decoder vector of cosine .7 or more
  with its own; one-to-one: if that of the pairing with the largest sum of cosines has. A second seed that was trained
  on fewer tokens finds fewer again.

## Made
- Architecture: {architecture}, as SAELens has it. Decoder vectors have norm 1.
- Data: {dataset}. {held_out}
- Training: {training}. SAELens {sae_lens}, seed {training_seed}; the arithmetic of a step is this package's
  (`sparse_topk.py`). Where there are several steps they read the same text, each from its beginning.
{history}- Again: `{train}`,
  then `python -m axon_widget.embedded.label --model {name}`
  and `python -m axon_widget.embedded.evaluate --model {name}`, with `--second FOLDER` for the seeds.

## Labels
`labels.sqlite3` names each feature that fired by a rule, found by program in one half of the held-out text: on the
token itself, right before it, right after it or near it stands one of some tokens or classes of tokens. The detection
score is measured on the other half, on as many snippets of {snippet} tokens in which the feature fires, drawn in
proportion to the activation on their strongest token, as snippets in which it is silent: the mean of the share of
firing snippets on whose strongest token the rule holds and of the share of silent ones in which it holds nowhere; .5
is chance. Below {clear:g} the label says "unclear", or on how many tokens the feature fires where it is dense (on more
than four times as many as features do on average), and so it does where there are fewer than {fewest} snippets of
either kind to score it on.

## Limits
The features are those of such text as it was trained on. Labels are hypotheses: nobody read them.

## Licence
MIT, as this package; the model has its authors' own.
"""


def card_text(recipe: Recipe, sae: Any, metrics: dict[str, Any]) -> str:
    """Write the card of an autoencoder of which all this was measured."""
    known = sae.cfg.metadata
    [name] = [name for name, other in RECIPES.items() if other.model == recipe.model]
    stability = labels = "not measured"
    if "found_again" in metrics:
        stability = f"{metrics['found_again']:.1%} (one-to-one {metrics['matched']:.1%})"
        stability += f", seed {metrics['second_seed']}, {metrics['second_tokens']:,} tokens"
    if metrics.get("labels_live"):
        clear = metrics["labels_clear"] / metrics["labels_live"]
        labels = (
            f"detection score {metrics['labels_mean_score']:.3f} on average over {metrics['labels_scored']:,} features "
            f"that have one, {clear:.1%} of the {metrics['labels_live']:,} features that fired are clear, on "
            f"{metrics['labels_tokens']:,} tokens"
        )
    return _CARD.format(
        **metrics,
        stability=stability,
        labels=labels,
        name=name,
        model=recipe.model.name,
        weights=f", whose weights are {recipe.weights}: all figures are of these" if recipe.weights else "",
        hook=known.hook_name,
        d_sae=sae.cfg.d_sae,
        d_in=sae.cfg.d_in,
        architecture=sae.cfg.architecture(),
        training=recipe.hooks[known.hook_name],
        training_seed=known.training_seed,
        dataset=recipe.dataset,
        left_out=recipe.left_out,
        held_out=recipe.held_out,
        history=f"- {recipe.history}\n" if recipe.history else "",
        sae_lens=known.sae_lens_training_version,
        train=known.training_command,
        snippet=SNIPPET,
        clear=CLEAR,
        fewest=FEWEST,
    )
