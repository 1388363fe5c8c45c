"""Loading models and SAEs: those that come with the package, in a local directory, or from the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch

from axon_widget import catalog, embedded
from axon_widget.catalog import DEFAULT_MODEL
from axon_widget.engine import asked, hub, memory
from axon_widget.engine.asked import AskedSAE
from axon_widget.engine.features import FeatureReader
from axon_widget.engine.hooks import HookedModel
from axon_widget.engine.hub import Progress

DeviceMap: TypeAlias = str | Mapping[str, Any]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Loaded:
    """What `Tracer` is made of; the fields are its parameters."""

    model: HookedModel
    tokenizer: Any
    readers: list[FeatureReader]
    model_name: str
    fallback: str = ""


@dataclass(frozen=True)
class _Target:
    """Where to and how things are loaded, and who hears of it. With a device map the device is not known before."""

    device: torch.device | None
    dtype: torch.dtype
    device_map: DeviceMap | None
    report: Progress


def load(
    model: str | None,
    saes: Sequence[str | Path | None],
    device: str,
    dtype: str,
    report: Progress,
    labels: Any = None,
    device_map: DeviceMap | None = None,
) -> Loaded:
    """Load a model and SAEs; None in their place stands for the model's default. See `Tracer.load`.

    Parameters
    ----------
    model, saes, device, dtype, report
        As `Tracer.load` takes them.
    labels
        What `axon_widget.labels.sources.source_of` takes, for all SAEs or in a list for each.
    device_map
        Which part of the model goes to which device, as transformers takes it.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} is not known: give one of {', '.join(_DTYPES)}.")
    target = _Target(_device(device, device_map), _DTYPES[dtype], device_map, report)
    of_each = cast("list[Any]", labels) if isinstance(labels, list) else [labels] * len(saes)
    if len(of_each) != len(saes):
        raise ValueError(f"labels= holds {len(of_each)} sources for {len(saes)} SAEs: give one for each, or one.")
    if model is not None or any(saes):
        return _load(model, saes, of_each, target)
    try:
        return _load(DEFAULT_MODEL, saes, of_each, target)
    except ConnectionError:
        # Labels that were given are those of another SAE.
        instead = embedded.STORIES.name
        loaded = _load(instead, saes, [False if of is False else None for of in of_each], target)
        loaded.fallback = f"embedded model {instead}, because {DEFAULT_MODEL} is neither cached nor reachable"
        return loaded


def _load(model: str | None, saes: Sequence[str | Path | None], labels: list[Any], target: _Target) -> Loaded:
    """Load in the order of what is cheapest to find wanting: configurations, the model, the SAEs' weights."""
    places = [asked.find(model, sae) for sae in saes]
    found = [asked.read(place, target.report) for place in places]
    if model is None or embedded.named(model) or not Path(model).is_dir():
        model = asked.model_of(found, model)
    revisions = {sae.revision for sae in found}
    if len(revisions) > 1:
        raise ValueError(f"These SAEs are of different revisions of {model} ({revisions}): load them one by one.")
    of_saes = sum(sae.numbers for sae in found) * target.dtype.itemsize
    advice = partial(_advice, found, target)

    def check(counts: dict[str, int]) -> tuple[int, str]:
        needed = of_saes + memory.size(counts, target.dtype)
        return needed, memory.check(str(model), needed, target.device, advice) if target.device else ""

    if shipped := embedded.named(model):
        directory, model = shipped.directory(target.report), shipped.name
    elif Path(model).is_dir():
        directory = Path(model)
    else:
        directory = hub.fetch_model(hub.hub_name(model), target.report, revisions.pop(), check)
    needed, remark = check(memory.weights(hub.weight_files(directory)))
    with memory.explained(f"{model} with {', '.join(sae.name for sae in found)}", needed, advice):
        weights = [_weights(sae, target) for sae in found]
        target.report(f"model {model}{remark}")
        hooked, tokenizer = _model(directory, model, target)
        readers = [
            _reader(sae, loaded.to(_device_of(hooked, sae, target)), of)
            for sae, loaded, of in zip(found, weights, labels, strict=True)
        ]
    return Loaded(hooked, tokenizer, readers, model)


def _weights(sae: AskedSAE, target: _Target) -> Any:
    """Load an SAE into the computer's own memory: on which device its hook point lies is known later."""
    from sae_lens.saes.sae import SAE

    saelens: Any = SAE
    entry = sae.place.entry
    target.report(f"SAE {sae.name}")
    with warnings.catch_warnings(), asked.sound(sae.place):
        warnings.filterwarnings("ignore", message=r"\s*This SAE has non-empty model_from_pretrained_kwargs")
        if entry is None or sae.place.directory is not None:
            loaded = saelens.load_from_disk(sae.place.directory, device="cpu")
        else:
            with hub.saelens_downloads(sae.name, entry.repo, target.report):
                loaded = saelens.from_pretrained(entry.release, entry.id, device="cpu")
    return loaded.to(target.dtype)


def _model(directory: Path, name: str, target: _Target) -> tuple[HookedModel, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto_tokenizer: Any = AutoTokenizer
    tokenizer = auto_tokenizer.from_pretrained(directory)
    kwargs = {"dtype": target.dtype, "use_safetensors": True, "device_map": target.device_map}
    with _no_bar():
        hf_model: Any = AutoModelForCausalLM.from_pretrained(directory, **kwargs)
    if target.device is not None:
        hf_model = hf_model.to(target.device)
    return HookedModel.wrap(hub.hub_name(name), hf_model, tokenizer), tokenizer


def _reader(sae: AskedSAE, loaded: Any, labels: Any) -> FeatureReader:
    from axon_widget.labels.sources import source_of

    named = source_of(labels, sae.neuronpedia, int(loaded.cfg.d_sae), sae.place.directory)
    return FeatureReader(loaded, sae.name, named, sae.neuronpedia)


@contextmanager
def _no_bar() -> Generator[None]:
    """Keep transformers from drawing a bar below whatever cell runs; `report` tells of loading."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()


def _device(device: str, device_map: DeviceMap | None) -> torch.device | None:
    if device_map is not None:
        if device != "auto":
            raise ValueError(f"Give either device={device!r} or device_map, not both.")
        if importlib.util.find_spec("accelerate") is None:
            raise ValueError("device_map needs the package accelerate: pip install accelerate.")
        return None
    if device == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(device)):
        raise ValueError(f"device={device!r} is not known: give 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")
    found = torch.device(device)
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        there = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
        raise ValueError(f"device={device!r}: this PyTorch sees {there or 'no CUDA device'}. Use 'auto' or 'cpu'.")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps': this PyTorch sees no Apple GPU. Use 'auto' or 'cpu'.")
    return found


def _device_of(model: HookedModel, sae: AskedSAE, target: _Target) -> torch.device:
    """Give the device an SAE belongs on: with a device map, that of its hook point's block."""
    model.resolve(sae.hook)
    block = re.match(r"blocks\.(\d+)\.", sae.hook)
    if target.device is not None or block is None:
        return target.device or model.device
    module = model.plain.get_submodule(model.bridge.blocks[int(block[1])].name)
    return next(module.parameters()).device


def _advice(saes: list[AskedSAE], target: _Target) -> str:
    """Say what needs less memory."""
    choices: list[str] = []
    if target.dtype == torch.float32:
        choices.append('dtype="bfloat16" takes half of it')
    for sae in saes:
        entry = sae.place.entry
        narrower = [
            other
            for other in catalog.entries()
            if entry and (other.model, other.hook) == (entry.model, entry.hook) and not catalog.refusal(other)
            if other.width and other.width < int(sae.config["d_sae"])
        ]
        if narrower:
            least = min(narrower, key=lambda o: (entry and o.release != entry.release, not o.labelled, o.width))
            choices.append(f"{least.name} has {least.width} features in place of {sae.config['d_sae']}")
    if torch.cuda.device_count() > 1 and target.device_map is None:
        choices.append('device_map="auto" spreads the model over the GPUs')
    return f"What needs less: {'; '.join(choices)}." if choices else "Try a smaller model."
