"""A language model that can be read at its hook points while it runs."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge

_RESIDUAL = re.compile(r"blocks\.(\d+)\.(hook_in|hook_out)")


@dataclass(frozen=True)
class ForwardPass:
    """What one forward pass gives: logits (1, n, vocabulary), the KV cache, and each hook point's tensor (1, n, d)."""

    logits: torch.Tensor
    cache: Any
    read: dict[str, torch.Tensor]


class HookedModel:
    """A causal language model with named hook points, as plain Hugging Face modules and as a bridge.

    Both share one set of weights. The bridge knows every hook point by TransformerLens' names; the plain modules
    run faster. They suffice when every hook point is the residual stream between blocks: then they run, otherwise
    the bridge does.

    Parameters
    ----------
    plain
        The Hugging Face model.
    bridge
        The bridge over the same weights.
    """

    def __init__(self, plain: nn.Module, bridge: SAETransformerBridge) -> None:
        self.plain: Any = plain
        self.bridge = bridge
        self.context: int = int(bridge.cfg.n_ctx)
        self.device = next(plain.parameters()).device
        self._resolved: dict[str, str] = {}

    @classmethod
    def wrap(cls, name: str, hf_model: Any, tokenizer: Any) -> HookedModel:
        """Wrap a loaded Hugging Face model.

        Parameters
        ----------
        name
            The model's name, as TransformerLens knows it or a path.
        hf_model
            The causal language model, already on its device.
        tokenizer
            Its tokenizer.
        """
        from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge

        # The bridge replaces the modules of the model it is given, so it gets a copy of them; the memo makes
        # that copy share the tensors.
        tensors = [*hf_model.parameters(), *hf_model.buffers()]
        twin = copy.deepcopy(hf_model, {id(t): t for t in tensors})
        bridge = SAETransformerBridge.boot_transformers(
            name, hf_model=twin, tokenizer=tokenizer, device=str(hf_model.device), dtype=hf_model.dtype
        )
        hf_model.eval()
        bridge.eval()
        return cls(hf_model, bridge)

    def resolve(self, hook: str) -> str:
        """Give the bridge's own name of a hook point.

        Raises
        ------
        ValueError
            If the model has no such hook point (the bridge itself would ignore it silently).
        """
        if hook in self._resolved:
            return self._resolved[hook]
        resolved = self.bridge._resolve_hook_name(hook)  # pyright: ignore[reportPrivateUsage]
        points = self.bridge.hook_dict
        if resolved not in points:
            # Digits alone make thousands of near misses: compare what the person most likely meant.
            names = [*points, *(f"blocks.{i}.hook_resid_pre" for i in range(self.n_layers))]
            near = difflib.get_close_matches(hook, names, n=3)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise ValueError(f"This model has no hook point {hook!r} ({self.n_layers} blocks).{hint}")
        self._resolved[hook] = resolved
        return resolved

    @property
    def n_layers(self) -> int:
        """The number of transformer blocks."""
        return int(self.bridge.cfg.n_layers)

    def layer_of(self, hook: str) -> int:
        """Give the block a hook point belongs to (0 where it belongs to none)."""
        found = re.search(r"blocks\.(\d+)\.", hook)
        return int(found.group(1)) if found else 0

    @torch.inference_mode()
    def forward(self, ids: torch.Tensor, cache: Any, hooks: Sequence[str]) -> ForwardPass:
        """Run the model over new tokens and read the given hook points.

        Parameters
        ----------
        ids
            The new tokens, shape (1, n).
        cache
            The KV cache of the tokens before, or None.
        hooks
            Hook points, by any name `resolve` accepts.

        Raises
        ------
        ValueError
            If the model lacks one of the hook points.
        """
        read: dict[str, torch.Tensor] = {}
        places = {hook: self.resolve(hook) for hook in hooks}
        plain = all(_RESIDUAL.fullmatch(place) for place in places.values())
        handles = [self._read(place, plain, hook, read) for hook, place in places.items()]
        try:
            if plain:
                out = self.plain(ids, past_key_values=cache, use_cache=True)
                return ForwardPass(out.logits, out.past_key_values, read)
            logits, cache = self.bridge(ids, return_type="logits_and_cache", use_cache=True, past_key_values=cache)
            return ForwardPass(logits, cache, read)
        finally:
            for handle in handles:
                handle.remove()

    def _read(self, place: str, plain: bool, hook: str, read: dict[str, torch.Tensor]) -> RemovableHandle:
        """Copy the tensor at a hook point into `read` whenever the model runs."""

        def keep_input(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            read[hook] = args[0] if args else kwargs["hidden_states"]

        def keep_output(_module: nn.Module, _args: Any, out: Any) -> None:
            read[hook] = out[0] if isinstance(out, tuple) else out

        residual = _RESIDUAL.fullmatch(place)
        if not plain or residual is None:
            return self.bridge.hook_dict[place].register_forward_hook(keep_output)
        block = self.plain.get_submodule(self.bridge.blocks[int(residual[1])].name)
        if residual[2] == "hook_in":
            return block.register_forward_pre_hook(keep_input, with_kwargs=True)
        return block.register_forward_hook(keep_output)
