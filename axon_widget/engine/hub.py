"""Files of the Hugging Face hub: what its cache holds is used as it is, what is missing is fetched and told of."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

Progress: TypeAlias = Callable[[str], None]
"""Is called with a sentence that says what is being loaded."""

# Safetensors, configuration and tokenizer files; never pickled weights, nor a second copy in another folder or format.
_MODEL_FILES = ["model*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json"]
_TOKENIZER_FILES = ["tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json"]
_PROBE_SECONDS = 5.0
_WORTH_TELLING = 1e6  # bytes: the download of a smaller file is over before anybody could read of it
_TRANSPORTS = {"huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}


def hub_name(name: str) -> str:
    """Give a model's name on the hub: TransformerLens' short names are aliases of it."""
    from transformer_lens.supported_models import MODEL_ALIASES

    for official, aliases in MODEL_ALIASES.items():
        if name in aliases:
            return str(official)
    return name


def fetch_model(repo: str, report: Progress, revision: str | None, expect: Callable[[dict[str, int]], object]) -> Path:
    """Bring a model's files into the hub's cache and give their directory.

    Parameters
    ----------
    repo
        The model's name on the hub.
    report
        Hears how far the download is.
    revision
        The branch, tag or commit; None for the newest.
    expect
        Called before a download with the number of weights by their data type in safetensors' words, as far as the
        hub knows it; may raise.

    Raises
    ------
    ConnectionError
        If they are neither cached nor reachable.
    ValueError
        If the hub has no such model or does not give it out.
    """
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    download = cast("Any", huggingface_hub).snapshot_download
    wanted = {"allow_patterns": [*_MODEL_FILES, *_TOKENIZER_FILES], "revision": revision}
    with _told(repo, repo):
        try:
            cached = Path(download(repo, local_files_only=True, **wanted))
            if weight_files(cached) and any(next(cached.glob(name), None) for name in _TOKENIZER_FILES):
                return cached
        except LocalEntryNotFoundError:
            pass
        report(f"{repo}: asking the hub")
        expect(_probe(repo, revision))
        directory = Path(download(repo, tqdm_class=_reporting_bar(repo, report), **wanted))
    if not weight_files(directory):
        raise ValueError(f"{repo} has no weights in the safetensors format on the hub, and only those are read.")
    return directory


def weight_files(directory: Path) -> list[Path]:
    """List a model's files of weights; empty where they or its configuration are not all there."""
    index = directory / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    files = [directory / name for name in names]
    return files if all(file.is_file() for file in [directory / "config.json", *files]) else []


@contextmanager
def saelens_downloads(name: str, repo: str, report: Progress) -> Generator[None]:
    """Let SAELens' loaders take files that are cached without asking the hub, and tell of downloads.

    They fetch by a function they import, and have no parameter for either.

    Parameters
    ----------
    name
        What is loaded, for progress and errors.
    repo
        The repository its files are in.
    report
        Hears how far a download is.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError
    from sae_lens.loading import pretrained_sae_loaders

    loaders: Any = pretrained_sae_loaders
    known = cache(lambda: constants.is_offline_mode() or _probe(repo, None))

    def fetch(repo_id: str, filename: str, subfolder: str | None = None, **_: Any) -> str:
        path = f"{subfolder}/{filename}" if subfolder else filename
        found = huggingface_hub.try_to_load_from_cache(repo_id, path)
        if isinstance(found, str):
            return found
        if found is not None:
            raise EntryNotFoundError(f"The hub's {repo_id} has no file {path}.")
        known()
        return cast("Any", huggingface_hub).hf_hub_download(repo_id, path, tqdm_class=_reporting_bar(name, report))

    theirs, loaders.hf_hub_download = loaders.hf_hub_download, fetch
    try:
        with _told(name, repo):
            yield
    finally:
        loaders.hf_hub_download = theirs


def _probe(repo: str, revision: str | None) -> dict[str, int]:
    """Ask the hub for a repository with a short time-out, so that a dead network is noticed at once.

    Returns
    -------
    dict
        The number of weights by data type; empty where the hub does not know it.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repo, revision=revision, timeout=_PROBE_SECONDS)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        # A proxy's or a portal's page with status 200.
        raise ConnectionError("what answered is not the hub") from error
    return dict(info.safetensors.parameters) if info.safetensors else {}


@contextmanager
def _told(name: str, repo: str) -> Generator[None]:
    """Turn the hub client's many errors into two: not to be had (ValueError) or not reachable (ConnectionError)."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError:
        raise ValueError(
            f"{name} is gated: accept its licence at https://huggingface.co/{repo} and log in with `hf auth login`."
        ) from None
    except errors.RepositoryNotFoundError:
        raise ValueError(f"The Hugging Face hub has no {repo!r} (or it is private): check the name.") from None
    except errors.RevisionNotFoundError:
        raise ValueError(f"The Hugging Face hub's {repo} has no such revision.") from None
    except errors.HFValidationError:
        raise ValueError(f"There is no directory {repo!r}, and it cannot be the name of a model on the hub.") from None
    except Exception as error:
        absent = isinstance(error, errors.EntryNotFoundError)
        if absent and not isinstance(error, errors.LocalEntryNotFoundError):
            raise ValueError(f"{name} lacks a file on the hub: {' '.join(str(error).split())}") from error
        # The hub's client has changed its transport library more than once, and their errors share no base.
        transport = type(error).__module__.split(".")[0] in _TRANSPORTS
        torn = isinstance(error, OSError) and "Consistency check failed" in str(error)
        if not (transport or torn or isinstance(error, (ConnectionError, TimeoutError))):
            raise
        if constants.is_offline_mode():
            raise ConnectionError(
                f"{name} is not (wholly) in the cache, and HF_HUB_OFFLINE=1 keeps it from being fetched: unset that, "
                f"or run `hf download {repo}` where there is a network."
            ) from error
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        if torn:
            raise ConnectionError(f"{name} came incomplete from the hub: load it again. ({reason})") from error
        raise ConnectionError(
            f"{name} is neither in the cache nor reachable on the Hugging Face hub ({reason}). "
            "Check the network, or use model='embedded', which needs none."
        ) from error


def _reporting_bar(name: str, report: Progress) -> Any:
    """Make a tqdm class that shows nothing and reports, in per cent, how much of what is fetched is written."""
    from tqdm import tqdm

    told = ""

    class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO()})

        def update(self, n: float | None = 1) -> Any:
            nonlocal told
            shown: Any = super().update(n)
            # Bytes are counted twice, as they are received, compressed and of no known number, and as they are written.
            written = self.unit == "B" and "downloading bytes" not in str(self.desc).lower()
            if written and self.total and self.total >= _WORTH_TELLING:
                sentence = f"{name}, {100 * self.n / self.total:.0f} % of {self.total / 1e6:.0f} MB"
                if sentence != told:
                    report(told := sentence)
            return shown

    return Bar
