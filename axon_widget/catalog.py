"""Which SAEs exist, and which one a name means.

A model's default SAE is found by a rule. It can be traced; if possible it is labelled, on the residual stream, and its
authors' canonical choice. It belongs to the release that covers the most of the model, and lies nearest to two thirds
of its depth, as far as that is known from the SAEs there are. Of what is left it is the narrowest, then SAELens' first.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from axon_widget import embedded
from axon_widget.directory import (
    CatalogEntry,
    Configs,
    downloaded_configs,
    downloaded_weights,
    entries,
    read,
    shipped_entries,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CatalogEntry", "available_saes", "cached", "default_sae", "entries", "find", "refusal", "search"]

DEFAULT_MODEL = "gpt2-small"
_DEPTH = 2 / 3
_COLUMNS = (
    *("release", "id", "model", "hook", "layer", "width", "architecture", "explained_variance", "l0", "neuronpedia"),
    "name",
)


def available_saes(
    model: str | None = None, layer: int | None = None, hook: str | None = None, labelled: bool | None = None
) -> pd.DataFrame:
    """List the SAEs that SAELens knows.

    Parameters
    ----------
    model
        Only those of this model, by the name SAELens, TransformerLens, the Hugging Face hub or Neuronpedia has for it.
    layer
        Only those of this layer.
    hook
        Only those whose hook point has this in its name, such as "resid_pre".
    labelled
        Only those with labels on Neuronpedia, or only those without.

    Returns
    -------
    pandas.DataFrame
        A row for each SAE: release, id, model, hook point, layer, width, architecture, explained variance and L0 as
        its authors reported them, Neuronpedia id, and the name to load it by. What neither SAELens' directory nor its
        names nor a downloaded configuration tells is "not reported"; the Neuronpedia id is empty where there is none.

    Raises
    ------
    ValueError
        If no SAE is of this model, naming the closest.
    """
    import pandas as pd

    everything = entries()
    chosen = list(filter(_accepts(everything, model, layer, hook, labelled), everything))
    return pd.DataFrame({column: [_told(entry, column) for entry in chosen] for column in _COLUMNS})


def find(name: str) -> CatalogEntry:
    """Find the SAE that a name means.

    Parameters
    ----------
    name
        "release/id"; a release, where it holds one SAE or with "@layer" one of that layer; a model, alone or with
        "@layer", which means its default SAE.

    Raises
    ------
    ValueError
        If there is none or several, naming those to choose from or the closest.
    """
    everything = _everything()
    for entry in everything:
        if entry.name == name:
            return entry
    head, layer = _split(name)
    of_release = [entry for entry in everything if entry.release == head]
    if not of_release or embedded.named(name):
        try:
            return default_sae(name)
        except LookupError:
            raise ValueError(f"There is no SAE and no model {name!r}.{_hint(name, everything)}") from None
    of_layer = [entry for entry in of_release if layer in (None, entry.layer)]
    if len(of_layer) == 1:
        return of_layer[0]
    if not of_layer:
        raise ValueError(f"{head} has no SAE at layer {layer}, only at {_ranges(of_release)}.")
    ids = ", ".join(entry.id for entry in of_layer[:4])
    raise ValueError(f"{name!r} holds {len(of_layer)} SAEs: give one as '{head}/ID', for example with the ID {ids}.")


def default_sae(model: str) -> CatalogEntry:
    """Give the SAE that a model's name alone means, or with "@layer" one of that layer.

    Raises
    ------
    ValueError
        If no SAE is of this model, or none can be traced, or none at that layer.
    """
    head, layer = _split(model)
    everything = _everything()
    of_model = list(filter(_accepts(everything, head), everything))
    traceable = [entry for entry in of_model if not refusal(entry)]
    if not traceable:
        raise ValueError(f"{head} has {len(of_model)} SAEs, but none that can be traced. {refusal(of_model[0])}")
    of_layer = [entry for entry in traceable if layer in (None, entry.layer)]
    if not of_layer:
        raise ValueError(f"{head} has no SAE that can be traced at layer {layer}, only at {_ranges(traceable)}.")
    coverage = _coverage(of_model)
    end = max(_depth(entry) for entry in of_model)
    return min(
        of_layer,
        key=lambda entry: (*_worth(entry, coverage), abs(_depth(entry) - _DEPTH * end), entry.width or math.inf),
    )


def search(
    text: str = "",
    limit: int | None = 60,
    *,
    model: str | None = None,
    layer: int | None = None,
    hook: str | None = None,
    labelled: bool | None = None,
) -> tuple[list[CatalogEntry], int]:
    """Find SAEs: first those on this machine, then the default ones of models, then what can be traced and is labelled.

    Parameters
    ----------
    text
        Words that must all occur in name, model, hook point or Neuronpedia id; "layer 12" and "@12" mean that layer.
    limit
        Give at most so many; None gives all.
    model, layer, hook, labelled
        As `available_saes` takes them.

    Returns
    -------
    list of CatalogEntry, int
        The SAEs, best first, and how many there are in all.
    """
    words = re.sub(r"\blayer[ _]?(\d+)", r" @\1 ", text.casefold()).replace("@", " @").split()
    places = {word for word in words if re.fullmatch(r"@\d+", word)}
    index = _index(tuple(shipped_entries()), downloaded_configs())
    for word in set(words) - places:
        index = [(known, entry) for known, entry in index if word in known]
    accepted = _accepts(_everything(), model, layer, hook, labelled)
    found = [entry for _, entry in index if all(place == f"@{entry.layer}" for place in places) and accepted(entry)]
    here = cached(found)
    found.sort(key=lambda entry: entry.name not in here)
    return found[:limit], len(found)


def refusal(entry: CatalogEntry) -> str:
    """Say why an SAE cannot be traced, as far as its entry tells; empty if it can."""
    if "transcoder" in entry.architecture:
        what = f"reads {entry.hook} and " if entry.hook else ""
        return (
            f"A transcoder {what}predicts another activation: only sparse autoencoders, which give back what they "
            "read, can be traced."
        )
    if entry.architecture == "temporal":
        return (
            "What the features of a temporal SAE make of a token depends on the tokens before, and they give back only "
            "a part of what it reads: only SAEs that read each token by itself can be traced."
        )
    return ""


def cached(among: Iterable[CatalogEntry]) -> set[str]:
    """Give the names of those SAEs that are on this machine.

    The weights of one are in the Hugging Face cache, or come with the package; then its model must be here too.
    """
    among = list(among)
    weights = {repo: downloaded_weights(repo) for repo in {entry.repo for entry in among if entry.repo}}
    here = {model.release: model.here() for model in embedded.SHIPPED}
    return {entry.name for entry in among if (entry.path in weights[entry.repo] if entry.repo else here[entry.release])}


def _told(entry: CatalogEntry, column: str) -> Any:
    value = getattr(entry, column)
    return "not reported" if value in ("", None) and column != "neuronpedia" else value


def _everything() -> list[CatalogEntry]:
    return [*shipped_entries(), *entries()]


@lru_cache(maxsize=1)
def _index(shipped: tuple[CatalogEntry, ...], configs: Configs) -> list[tuple[str, CatalogEntry]]:
    """Give all SAEs, best first, each with the text it is found by."""
    everything = [*shipped, *read(configs)]
    by_model: dict[str, list[CatalogEntry]] = {}
    for entry in everything:
        by_model.setdefault(entry.model, []).append(entry)
    coverage = _coverage(everything)
    order = {release: at for at, release in enumerate(dict.fromkeys(entry.release for entry in everything))}
    defaults = {default_sae(model).name for model, of in by_model.items() if not all(refusal(entry) for entry in of)}
    ranked = sorted(
        everything,
        key=lambda entry: (
            entry.name not in defaults,
            entry.model != DEFAULT_MODEL,
            *_worth(entry, coverage),
            order[entry.release],
            entry.layer or 0,
            entry.width or math.inf,
        ),
    )
    return [(f"{entry.name} {entry.model} {entry.hook} {entry.neuronpedia}".casefold(), entry) for entry in ranked]


def _worth(entry: CatalogEntry, coverage: Counter[str]) -> tuple[Any, ...]:
    """Give what sorts SAEs, the better first, wherever in a model they lie."""
    return (
        refusal(entry) != "",
        not entry.labelled,
        "resid" not in entry.hook,
        "canonical" not in entry.id and entry.name not in _chosen(),
        -coverage[entry.release],
    )


def _chosen() -> set[str]:
    """Give the names of the SAEs that stand for the models that come with the package."""
    return {f"{model.release}/{model.hook}" for model in embedded.SHIPPED}


def _coverage(among: Iterable[CatalogEntry]) -> Counter[str]:
    """Count the hook points of the residual stream for which a release has SAEs."""
    return Counter(release for release, _ in {(e.release, e.hook) for e in among if "resid" in e.hook})


def _depth(entry: CatalogEntry) -> float:
    """Give how many blocks lie before an SAE's hook point."""
    into = 0.0 if entry.hook.endswith(("_pre", "_embed")) else 1.0 if entry.hook.endswith("_post") else 0.5
    return (entry.layer or 0) + into


def _accepts(
    among: list[CatalogEntry],
    model: str | None = None,
    layer: int | None = None,
    hook: str | None = None,
    labelled: bool | None = None,
) -> Callable[[CatalogEntry], bool]:
    """Give what tells whether an SAE is to be listed."""
    models = None if model is None else _models(model, among)
    return lambda entry: (
        (models is None or entry.model in models)
        and (layer is None or entry.layer == layer)
        and (hook is None or hook in entry.hook)
        and (labelled is None or entry.labelled == labelled)
    )


def _models(name: str, among: list[CatalogEntry]) -> set[str]:
    """Give what the catalog calls a model.

    Raises
    ------
    _NoModelError
        If none of its SAEs is in the catalog.
    """
    called = {(entry.model, entry.neuronpedia.partition("/")[0]) for entry in among}
    shipped = embedded.named(name)

    def known(names: set[str]) -> set[str]:
        return {model for model, on_neuronpedia in called if names & ({_plain(model), on_neuronpedia} - {""})}

    if found := known({_plain(shipped.name if shipped else name)}) or known(_aliases(name)):
        return found
    raise _NoModelError(f"SAELens knows no SAE of a model {name!r}.{_hint(name, among)}")


class _NoModelError(ValueError, LookupError):
    """No SAE is of a model."""


def _plain(name: str) -> str:
    """Give a model's name without its owner, so that "google/gemma-2-2b" is "gemma-2-2b"."""
    return name.rpartition("/")[2].casefold()


def _aliases(name: str) -> set[str]:
    """Give the names TransformerLens has for a model, without owners."""
    from transformer_lens.supported_models import MODEL_ALIASES

    groups = [{_plain(alias) for alias in (str(official), *aliases)} for official, aliases in MODEL_ALIASES.items()]
    return {alias for group in groups if _plain(name) in group for alias in group}


def _split(name: str) -> tuple[str, int | None]:
    """Take "model@layer" apart."""
    head, at, layer = name.partition("@")
    if at and not layer.isdecimal():
        raise ValueError(f"{name!r} cannot be read: after @ goes the number of a layer, as in 'gpt2-small@8'.")
    return head, int(layer) if at else None


def _ranges(among: Iterable[CatalogEntry]) -> str:
    """Name the layers of SAEs, such as "layers 0-3, 5"."""
    layers = sorted({entry.layer for entry in among if entry.layer is not None})
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return "layers " + ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _hint(name: str, among: list[CatalogEntry]) -> str:
    """Say which names are close to one that means nothing."""
    head, at, layer = name.partition("@")
    release, _, sae_id = head.partition("/")
    near: list[str] = []
    if sae_id:
        for of in difflib.get_close_matches(release, sorted({entry.release for entry in among}), n=1, cutoff=0.8):
            ids = [entry.id for entry in among if entry.release == of]
            near += [f"{of}/{close}" for close in difflib.get_close_matches(sae_id, ids, n=3, cutoff=0.5)]
    models = {_plain(entry.model): entry.model for entry in among}
    names = {**{entry.release: entry.release for entry in among}, **models}
    close = difflib.get_close_matches(_plain(head), sorted(names), n=3, cutoff=0.7)
    near += [f"{names[each]}{at}{layer}" for each in close]
    if near:
        return f" Did you mean {', '.join(near[:3])}?"
    return " available_saes() and `axon saes` list those there are."
