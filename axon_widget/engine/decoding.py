"""From token ids to text, one token at a time."""

from __future__ import annotations

from typing import Any


class IncrementalDecoder:
    """Turns token ids into pieces of text that, joined, are the decoded whole.

    A character may be spread over several tokens (emoji, Chinese): its text comes with the token that completes
    it, and the tokens before give the empty string. Special tokens give the empty string too.

    Parameters
    ----------
    tokenizer
        A Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Decoding depends on what stands before (a leading space is dropped at the start only), so each piece
        # is the difference of two decodings that start one emitted piece earlier.
        self._start = 0
        self._emitted = 0

    def push(self, token_id: int, *, last: bool = False) -> str:
        """Add a token and return the text it completes.

        Parameters
        ----------
        token_id
            The token.
        last
            No token follows: give out an unfinished character as the replacement character.
        """
        self._ids.append(token_id)
        before = self._decode(self._ids[self._start : self._emitted])
        after = self._decode(self._ids[self._start :])
        if after.endswith("\ufffd") and not last:
            return ""
        piece = after[len(before) :]
        if piece:  # behind a special token alone, the next word would lose its space
            self._start = self._emitted
        self._emitted = len(self._ids)
        return piece

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
