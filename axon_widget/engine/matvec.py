"""Large matrix-vector products on all of the processor's threads."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_LARGE = 2**20  # elements of a matrix below which sharing the work out costs more than it brings


class AllThreads(TorchFunctionMode):
    """Shares each product of one row with a large matrix out among all threads, while it is entered.

    Writing a token is one such product after the other, and each is as fast as memory gives the matrix. BLAS
    reads it in one thread, which does not use all of the memory's bandwidth; a batch of products with column blocks
    of the matrix (views, nothing is copied) is spread over the threads. Each number is still one dot product. It
    concerns float32 on the CPU; everything else passes through.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Compute a torch function, the products concerned in blocks."""
        if not kwargs:
            if func in _PRODUCTS and _concerned(*args):
                return _times(args[0].reshape(1, -1), args[1]).view(*args[0].shape[:-1], -1)
            if func is torch.addmm and _concerned(*args[1:]):
                return _times(args[1], args[2]).add_(args[0])
            if func is torch.nn.functional.linear and _concerned(args[0], args[1].T):
                product = _times(args[0].reshape(1, -1), args[1].T).view(*args[0].shape[:-1], -1)
                return product if len(args) < 3 or args[2] is None else product.add_(args[2])
        return func(*args, **(kwargs or {}))


_PRODUCTS = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}


def _concerned(x: Any, matrix: Any) -> bool:
    return (
        matrix.ndim == 2
        and matrix.numel() >= _LARGE
        and matrix.layout is torch.strided
        and matrix.dtype is x.dtype is torch.float32
        and matrix.device.type == "cpu"
        and x.layout is torch.strided
        and x.numel() == x.shape[-1]
        and torch.get_num_threads() > 1
    )


def _times(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply a row (1, k) by a matrix (k, m) in as many column blocks as there are threads."""
    blocks = torch.get_num_threads()
    width = matrix.shape[1] // blocks
    whole = matrix[:, : blocks * width].reshape(-1, blocks, width)
    product = torch.bmm(x.expand(blocks, 1, -1), whole.transpose(0, 1)).view(1, -1)
    rest = matrix[:, blocks * width :]
    return torch.cat([product, x @ rest], 1) if rest.shape[1] else product
