"""A model's tokens: from text and back."""

from __future__ import annotations

import reprlib
from numbers import Integral
from typing import Any


class Vocabulary:
    """A tokenizer, and what the token loop needs to know of it.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    prepend_bos
        Whether a text begins with the tokenizer's BOS, if it has one.

    Attributes
    ----------
    special
        The ids of the special tokens, which carry no features and no text.
    bos
        The token a text begins with, None where it begins with none.
    """

    def __init__(self, tokenizer: Any, prepend_bos: bool = True) -> None:
        self.tokenizer = tokenizer
        # Those that have a role, and others that were added, such as those that mark files in code.
        added: dict[int, Any] = tokenizer.added_tokens_decoder
        self.special: set[int] = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        self.bos: int | None = tokenizer.bos_token_id if prepend_bos else None
        self._anchor: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
        self._names: dict[int, str] = {}

    def encode(self, prompt: str, context: int) -> list[int]:
        """Turn a prompt into token ids, BOS first where there is one.

        The names of special tokens (``</s>``) in it stand for these tokens, as prompts of chat models need: they carry
        no features and no text.

        Parameters
        ----------
        prompt
            The text.
        context
            How many tokens the model sees at most.

        Raises
        ------
        ValueError
            If the prompt is empty or blank, or longer than the context.
        """
        if not prompt.strip():
            raise ValueError("The prompt is empty: give the model some text to go on from.")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise ValueError("The prompt holds half a character (a lone surrogate): remove it.") from None
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if self.bos is not None and ids[:1] != [self.bos]:
            ids = [self.bos, *ids]
        if len(ids) > context:
            raise ValueError(f"The prompt has {len(ids)} tokens, but the model sees at most {context}: shorten it.")
        return ids

    def name(self, token: int) -> str:
        """Give one token's own text, its leading space kept."""
        if token not in self._names:
            # Some tokenizers drop the space a text begins with, so the token is decoded behind another one.
            ahead = self.tokenizer.decode(self._anchor)
            self._names[token] = str(self.tokenizer.decode([*self._anchor, token]))[len(ahead) :]
        return self._names[token]

    def find(self, token: str | int) -> int:
        """Find a token by its text, its leading space included, or give its id.

        Raises
        ------
        ValueError
            If the text is not one token, or there is no token with this id.
        TypeError
            If it is neither text nor a whole number.
        """
        if is_whole(token):  # a table's are NumPy's
            token = int(token)
            if not 0 <= token < len(self.tokenizer):
                raise ValueError(f"There is no token {token}: this model has tokens 0 to {len(self.tokenizer) - 1}.")
            return token
        if not isinstance(token, str):
            raise TypeError(f"A token is named by its text or its id, not by {token!r}.")
        alone: list[int] = self.tokenizer(token, add_special_tokens=False)["input_ids"]
        ahead = self.tokenizer.decode(self._anchor)
        behind: list[int] = self.tokenizer(ahead + token, add_special_tokens=False)["input_ids"]
        for ids in (behind[len(self._anchor) :], alone):
            if len(ids) == 1 and self.name(ids[0]) == token:
                return ids[0]
        parts = " + ".join(repr(self.name(i)) for i in alone[:6]) + " + …" * (len(alone) > 6)
        raise ValueError(
            f"{reprlib.repr(token)} is not one token of this model but {parts or 'none'}: a leading space counts."
        )


def is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number, NumPy's too, and no truth value."""
    return not isinstance(value, bool) and isinstance(value, Integral)
