"""SAEs that were asked for: where they lie, what SAELens' configuration says of them, and what cannot be traced."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axon_widget import catalog, embedded
from axon_widget.engine import hub
from axon_widget.engine.hub import Progress, hub_name

# What an SAE says of how its model was loaded, in TransformerLens' words: this changes the activations at some hook
# points alone.
_PROCESSING = {
    "fold_ln": r"\bln",
    "fold_value_biases": r"hook_(v|z|result)$",
    "refactor_factored_attn_matrices": r"hook_(q|k|v|z|result)$",
}
# These say where and how the model is held, or act on the logits alone.
_NO_MATTER = {
    *("attn_implementation", "cache_dir", "center_unembed", "default_padding_side", "default_prepend_bos", "device"),
    *("device_map", "dtype", "first_n_layers", "local_files_only", "low_cpu_mem_usage", "move_to_device", "n_ctx"),
    *("n_devices", "token", "torch_dtype", "trust_remote_code"),
}
_HONOURED = {"center_writing_weights", "revision"}  # by `FeatureReader` and by what is fetched
# SAELens folds these into the weights: it knows the numbers for releases of its directory, and after a training.
_UNFOLDED = {"expected_average_only_in", "covariance_whitening"}


@dataclass(frozen=True)
class Place:
    """Where an SAE lies: a directory, or an entry of the catalog, whose files are on the hub or, with both, here."""

    name: str
    directory: Path | None = None
    entry: catalog.CatalogEntry | None = None


@dataclass(frozen=True)
class AskedSAE:
    """An SAE whose configuration is known and whose weights are not here yet."""

    place: Place
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """What to call it."""
        return self.place.name

    @property
    def metadata(self) -> dict[str, Any]:
        """What SAELens notes of the model it was trained on."""
        return self.config.get("metadata") or {}

    @property
    def hook(self) -> str:
        """The hook point it reads."""
        return str(self.metadata.get("hook_name"))

    @property
    def models(self) -> list[str]:
        """The names of the model it was trained on, the right one first; empty where nothing says so."""
        own = str(self.metadata.get("model_name") or "")
        listed = self.place.entry.model if self.place.entry else ""
        # The directory lists SAEs of gemma-2-9b-it under gemma-2-9b; some configurations leave the organisation out.
        names = [listed, own] if listed and own and same_model(own, listed) else [own, listed]
        return [name for name in names if name]

    @property
    def neuronpedia(self) -> str:
        """Its id on Neuronpedia, empty where it has none."""
        entry = self.place.entry
        return entry.neuronpedia if entry else str(self.metadata.get("neuronpedia_id") or "")

    @property
    def numbers(self) -> int:
        """How many numbers it is made of, near enough."""
        return int(self.config["d_sae"]) * 2 * (int(self.config["d_in"]) + 1)

    @property
    def revision(self) -> str | None:
        """The revision of its model, None for the newest."""
        return self._kwargs.get("revision")

    @property
    def _kwargs(self) -> dict[str, Any]:
        return self.metadata.get("model_from_pretrained_kwargs") or {}

    def check(self) -> None:
        """Raise ValueError where it cannot be traced, or its features would not be true."""
        architecture, out = str(self.config.get("architecture")), self.metadata.get("hook_name_out")
        if out not in (None, self.hook) or "transcoder" in architecture:
            raise ValueError(
                f"{self.name} is a transcoder: it reads {self.hook} and predicts {out or 'another activation'}. "
                "Only sparse autoencoders, which give back what they read, can be traced."
            )
        if architecture == "temporal":
            raise ValueError(f"{self.name} is a temporal SAE: only those that read each token by itself can be traced.")
        if self.metadata.get("model_class_name") not in (None, "HookedTransformer"):
            raise ValueError(
                f"{self.name} reads {self.hook} of a {self.metadata['model_class_name']}: "
                "only hook points by TransformerLens' names can be read."
            )
        scaling = self.config.get("normalize_activations")
        if scaling in _UNFOLDED and self.place.directory:
            raise ValueError(
                f"{self.name} was trained on activations scaled as a whole ({scaling}), by numbers that it does not "
                "hold: fold them into it with SAELens (fold_activation_norm_scaling_factor) and save it again."
            )
        for key, value in self._kwargs.items():
            if not value or key in _NO_MATTER | _HONOURED:
                continue
            if key not in _PROCESSING:
                raise ValueError(
                    f"{self.name} was trained on a model loaded with {key}={value!r}. What that changes is not known "
                    "here, so its features might not be true."
                )
            if re.search(_PROCESSING[key], self.hook):
                raise ValueError(
                    f"{self.name} was trained on a model loaded with {key}={value!r}, which changes what {self.hook} "
                    "holds. Models are run as they are here, so its features would not be true."
                )


def find(model: str | None, sae: str | Path | None) -> Place:
    """Find an SAE by what it is called; None stands for the model's default.

    Raises
    ------
    ValueError
        If there is none.
    """
    shipped = embedded.named(model)
    local = model is not None and shipped is None and Path(model).is_dir()
    if sae is None:
        if local:
            raise ValueError(f"{model} is a directory, which tells of no SAEs: name one with sae=.")
        return _listed(catalog.default_sae(model or catalog.DEFAULT_MODEL))
    if model is not None and "@" in model and not local:
        raise ValueError(f"{model!r} names an SAE already: give either that or sae={str(sae)!r}.")
    name = str(sae)
    if shipped is not None and "/" not in name:  # of this model its hook point alone says which one
        there = {entry.id: entry for entry in catalog.shipped_entries() if entry.release == shipped.release}
        if name in there:
            return _listed(there[name])
        if "@" not in name and not Path(name).is_dir():
            raise ValueError(f"{shipped.name} has no SAE {name!r}: give one of {', '.join(there) or 'another model'}.")
    if Path(name).is_dir():
        return Place(name, Path(name))
    return _listed(catalog.find(name))


def _listed(entry: catalog.CatalogEntry) -> Place:
    """Give the place of an SAE of the catalog: those without a repository come with the package."""
    return Place(entry.name, None if entry.repo else embedded.folder_of(entry.name), entry)


def read(place: Place, report: Progress) -> AskedSAE:
    """Read an SAE's configuration.

    Raises
    ------
    ValueError
        If it cannot be traced, or its directory holds no SAE.
    ConnectionError
        If its configuration is neither cached nor reachable.
    """
    with sound(place):
        asked = AskedSAE(place, _configuration(place, report))
        asked.check()
        _ = asked.numbers  # without its size it is none
    return asked


def _configuration(place: Place, report: Progress) -> dict[str, Any]:
    from sae_lens.loading import pretrained_sae_loaders as loaders

    entry, directory = place.entry, place.directory
    if entry is not None and directory is None:
        if why := catalog.refusal(entry):
            raise ValueError(f"{place.name} cannot be traced. {why}")
        report(f"SAE {place.name}: configuration")
        with hub.saelens_downloads(place.name, entry.repo, report):
            return loaders.load_sae_config_from_huggingface(entry.release, entry.id)
    if directory is None or not (directory / "cfg.json").is_file():
        raise ValueError(f"{place.name} is no SAE in SAELens' format: it has no cfg.json.")
    return loaders.handle_config_defaulting(loaders.get_sae_lens_config_from_disk(directory))


@contextmanager
def sound(place: Place) -> Generator[None]:
    """Tell, where SAELens stumbles over an SAE's files, which these are and what to do.

    Raises
    ------
    ValueError
        If they are cut short, or hold no SAE.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (LookupError, AttributeError, TypeError, RecursionError, json.JSONDecodeError, SafetensorError) as error:
        where = place.directory or (place.entry and f"{place.entry.repo} in the Hugging Face cache")
        raise ValueError(
            f"{place.name} is damaged, or no SAE that SAELens reads ({type(error).__name__}: {error}): look at "
            f"{where}, or remove it and load it again."
        ) from error


def model_of(saes: list[AskedSAE], model: str | None) -> str:
    """Give the one model that SAEs belong to.

    Parameters
    ----------
    saes
        The SAEs.
    model
        The model that was asked for, None for whichever is theirs.

    Raises
    ------
    ValueError
        If they are of another model, of several models, or nothing says of which.
    """
    named = None if model is None else model.partition("@")[0]  # the layer chose the SAE
    for sae in saes:
        if named is None:
            named = next(iter(sae.models), None)
        elif sae.place.entry and not any(same_model(named, name) for name in sae.models):
            raise ValueError(
                f"{sae.name} is an SAE of {sae.models[0]}, not of {named}: give SAEs of one model. "
                "(A model in a local directory is read with any SAE that fits it.)"
            )
    if named is None:
        raise ValueError(f"Say which model the SAE in {saes[0].name} belongs to: model='...'.")
    return named


def same_model(one: str, other: str) -> bool:
    """Tell whether two names are of one model: short or as on the hub, with or without its organisation."""
    shipped = [embedded.named(name) for name in (one, other)]
    if all(shipped):
        return shipped[0] is shipped[1]
    a, b = (hub_name(name).casefold() for name in (one, other))
    return a == b or (("/" in a) != ("/" in b) and a.rpartition("/")[2] == b.rpartition("/")[2])
