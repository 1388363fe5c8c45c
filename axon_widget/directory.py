"""SAELens' directory of pretrained SAEs: what it says of each, and what its names tell.

The directory names neither hook point nor layer, width or architecture; SAELens works them out of an SAE's repository,
path and configuration when it loads it. Here they come from the same names by the same rules, and from configurations
that were downloaded before. What neither tells stays unknown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from axon_widget import embedded
from axon_widget.labels.bundle import LABELS


class CatalogEntry(NamedTuple):
    """One pretrained SAE. Numbers that are not known are None, texts are empty; so are those nobody reported.

    `layer` is the block of the hook point, 0 for the embedding. `labelled` tells whether there are labels for it,
    `repo` and `path` where its files are on the Hugging Face hub.
    """

    release: str
    id: str
    model: str
    hook: str
    layer: int | None
    width: int | None
    architecture: str
    explained_variance: float | None
    l0: float | None
    neuronpedia: str
    labelled: bool
    repo: str = ""
    path: str = ""

    @property
    def name(self) -> str:
        """The name to load it by."""
        return f"{self.release}/{self.id}"


Configs: TypeAlias = tuple[tuple[str, str, Path], ...]
"""Configurations of SAEs that lie in the hub's cache: repository, path and file."""

_RULES = [
    # SAELens' loader, what it finds in repository and path, the hook point it takes that for, and the architecture
    ("gemma_2", r"/embedding/", "hook_embed", "jumprelu"),
    ("gemma_2", r"-res/", "hook_resid_post", "jumprelu"),
    ("gemma_2", r"-mlp/", "hook_mlp_out", "jumprelu"),
    ("gemma_2", r"-att/", "attn.hook_z", "jumprelu"),
    ("gemma_3", r"/resid_post", "hook_resid_post", "jumprelu"),
    ("gemma_3", r"/attn_out", "attn.hook_z", "jumprelu"),
    ("gemma_3", r"/mlp_out", "hook_mlp_out", "jumprelu"),
    ("gemma_3", r"/(transcoder|clt).*_affine", "hook_mlp_in", "jumprelu_skip_transcoder"),
    ("gemma_3", r"/(transcoder|clt)", "hook_mlp_in", "jumprelu_transcoder"),
    ("gemma_2_transcoder", r"", "ln2.hook_normalized", "jumprelu_transcoder"),
    ("mwhanna_transcoder", r"", "mlp.hook_in", "transcoder"),
    ("mntss_clt_layer_transcoder", r"", "", "transcoder"),
    ("llama_scope", r"-L\d+R-", "hook_resid_post", "jumprelu"),
    ("llama_scope", r"-L\d+A-", "hook_attn_out", "jumprelu"),
    ("llama_scope", r"-L\d+M-", "hook_mlp_out", "jumprelu"),
    ("llama_scope_r1_distill", r"/L\d+R$", "hook_resid_post", "jumprelu"),
    ("dictionary_learning_1", r"(?i)batch_?top_?k", "hook_resid_post", "jumprelu"),
    ("dictionary_learning_1", r"_topk_", "hook_resid_post", "topk"),
    ("dictionary_learning_1", r"_gated_", "hook_resid_post", "gated"),
    ("dictionary_learning_1", r"_(standard|vanilla)_", "hook_resid_post", "standard"),
    ("dictionary_learning_1", r"", "hook_resid_post", ""),
    ("connor_rob_hook_z", r"", "attn.hook_z", "standard"),
    ("qwen_scope", r"", "hook_resid_post", "topk"),
    ("deepseek_r1", r"", "hook_resid_post", "standard"),
    ("goodfire", r"", "hook_resid_post", "standard"),
    ("temporal", r"", "hook_resid_post", "temporal"),
]
_HOOK_IN_ID = re.compile(r"blocks\.\d+\.(hook_(?:resid_(?:pre|mid|post)|attn_out|mlp_out))")
_LAYER = re.compile(r"(?:blocks\.|layer_?|\bL)(\d+)")
_EXACT_WIDTH = re.compile(r"(?:\d\.hook_[a-z_]+|_ds)_?(\d{3,})(?!\d)")
_POWER = re.compile(r"width-2pow(\d+)")
_KIBI = re.compile(r"-W(\d+)K-")
# "16k" stands for 16,384 and "131k" for 131,072: thousands of a power of two, rounded down.
_ROUNDED = re.compile(r"(?:width_|-w-|-v5-|-|_)(\d+)([km])(?![a-z0-9])")
_IN_SOURCE = re.compile(r"(\d+|e)-(?:.*?[-_])??(res|att|mlp|transcoder|clt)")
_WEIGHTS = {".safetensors", ".npz", ".pt", ".pth"}


def entries() -> list[CatalogEntry]:
    """Give every SAE of SAELens' directory, in its order."""
    return list(read(downloaded_configs()))


@lru_cache(maxsize=1)
def read(configs: Configs) -> list[CatalogEntry]:
    """Give every SAE of SAELens' directory, with what these configurations tell besides."""
    told = {(repo, path): file for repo, path, file in configs}
    return [
        _entry(release, value, sae, told.get((value["repo_id"], str(sae["path"]))))
        for release, value in _directory().items()
        for sae in value["saes"]
    ]


def shipped_entries() -> list[CatalogEntry]:
    """Give the SAEs that come with the package."""
    found: list[CatalogEntry] = []
    for model in embedded.SHIPPED:
        for file in sorted(model.saes.glob("*/cfg.json"), key=lambda file: (_layer(file.parent.name) or 0, file)):
            hook, width, architecture = _of_config(_config(file))
            measured = _config(file.parent / "metrics.json")
            labelled = (file.parent / LABELS).is_file()
            found.append(
                CatalogEntry(
                    *(model.release, file.parent.name, model.name, hook, _layer(hook), width, architecture),
                    *(measured.get("explained_variance"), measured.get("l0"), "", labelled),
                )
            )
    return found


@cache
def _directory() -> dict[str, Any]:
    """Read SAELens' file without SAELens, whose import brings torch and takes seconds."""
    import yaml

    spec = find_spec("sae_lens")
    if spec is None or spec.origin is None:
        raise RuntimeError("SAELens is not installed: run `pip install sae-lens`.")
    with (Path(spec.origin).parent / "pretrained_saes.yaml").open(encoding="utf-8") as file:
        # The C loader is many times faster, but PyYAML can be built without it.
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _entry(release: str, value: dict[str, Any], sae: dict[str, Any], config: Path | None) -> CatalogEntry:
    sae_id, repo, path = str(sae["id"]), str(value["repo_id"]), str(sae["path"])
    neuronpedia = str(sae.get("neuronpedia") or "")
    loader = value.get("conversion_func") or "sae_lens"
    layer = _layer(f"{sae_id} {path}")
    point, architecture = _of_names(loader, f"{repo}/{path}", sae_id)
    hook = point if point in ("", "hook_embed") else f"blocks.{layer}.{point}"
    width = _width(sae_id, path, repo, neuronpedia.partition("/")[2])
    if config is not None:
        of_config = _of_config(_config(config))
        if of_config[0]:
            hook, width, architecture = of_config
            layer = _layer(hook)
    layer = 0 if hook == "hook_embed" else layer
    model = str(value["model"])
    if loader == "gemma_2" and "-it-" in repo and not model.endswith("-it"):
        model += "-it"  # as SAELens' loader has it; the directory is wrong for one release
    neuronpedia = neuronpedia if _fits(neuronpedia, path, hook, layer, architecture) else ""
    return CatalogEntry(
        *(release, sae_id, model, hook, layer, width, architecture),
        *(sae.get("variance_explained"), sae.get("l0") or None, neuronpedia, bool(neuronpedia), repo, path),
    )


def _of_names(loader: str, place: str, sae_id: str) -> tuple[str, str]:
    """Give the hook point within its block and the architecture."""
    for of, pattern, point, architecture in _RULES:
        if of == loader and re.search(pattern, place):
            return point, architecture
    named = _HOOK_IN_ID.match(sae_id)
    return (named[1] if named else ""), ""


def _config(file: Path) -> dict[str, Any]:
    """Read a file of JSON, which may be anybody's, or may not be there."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", config) if isinstance(config, dict) else {}


def _of_config(config: dict[str, Any]) -> tuple[str, int | None, str]:
    """Give hook point (empty where there is none), width and architecture as any version of SAELens wrote them."""
    told = config.get("metadata")
    metadata = cast("dict[str, Any]", told) if isinstance(told, dict) and told else config
    hook, width = metadata.get("hook_name") or metadata.get("hook_point"), config.get("d_sae")
    top = "topk" in (config.get("activation_fn"), config.get("activation_fn_str"))
    architecture = "topk" if top else str(config.get("architecture") or "standard")
    return str(hook or ""), width if isinstance(width, int) else None, architecture


def _layer(text: str) -> int | None:
    found = _LAYER.search(text)
    return int(found[1]) if found else None


def _width(sae_id: str, path: str, repo: str, source: str) -> int | None:
    """Find the number of features in the names, the nearest to the SAE first."""
    for text in (sae_id, path):
        if exact := _EXACT_WIDTH.search(text):
            return int(exact[1])
    if power := _POWER.search(repo):
        return 2 ** int(power[1])
    if kibi := _KIBI.search(repo):
        return int(kibi[1]) * 1024
    for pattern, text in ((r"width_", path), (r"", source), (r"-w-|-v5-", repo)):
        for found in _ROUNDED.finditer(text):
            if re.match(pattern, found[0]):
                least = int(found[1]) * (1_000_000 if found[2] == "m" else 1000)
                return 1 << (least - 1).bit_length()
    return None


def _fits(neuronpedia: str, path: str, hook: str, layer: int | None, architecture: str) -> bool:
    """Tell whether a Neuronpedia id names the place and L0 of this SAE: a few of the directory's are another's."""
    source = neuronpedia.partition("/")[2]
    found, l0 = _IN_SOURCE.match(source), re.search(r"__l0-(\d+)", source)
    if not found or (l0 and not path.endswith(f"_l0_{l0[1]}")):
        return False
    # The residual stream after a block is what the next one reads.
    layers = {layer, layer + 1} if layer is not None and hook.endswith("_post") else {layer}
    kind = "transcoder" if "transcoder" in architecture else re.sub(r".*(res|att|mlp).*", r"\1", hook)
    named = "transcoder" if found[2] == "clt" else found[2]
    return named == kind and (found[1] == "e" or int(found[1]) in layers)


def downloaded_configs() -> Configs:
    """Give the cfg.json files of SAEs that lie in the hub's cache."""
    wanted = {value["repo_id"] for value in _directory().values() if not value.get("conversion_func")}
    return tuple(
        sorted(
            (repo, name.removesuffix("/cfg.json"), file)
            for repo in wanted
            for name, file in _files(repo)
            if name.endswith("/cfg.json")
        )
    )


def downloaded_weights(repo: str) -> set[str]:
    """Give the files of a repository that hold weights and lie in the hub's cache, and the folders they are in."""
    weights = [Path(name) for name, file in _files(repo) if file.suffix in _WEIGHTS and file.stem != "sparsity"]
    return {place.as_posix() for path in weights for place in (path, *path.parents)}


def _files(repo: str) -> Iterator[tuple[str, Path]]:
    """Give the cached files of a repository's main revision, with their names in it."""
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    try:
        root = cached / "snapshots" / (cached / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            if file.is_file():  # a link whose target is gone is none
                yield file.relative_to(root).as_posix(), file
