"""Text given out token by token is the decoded whole, whatever the characters."""

import random

import pytest
from transformers import AutoTokenizer

from axon_widget.embedded import STORIES
from axon_widget.engine.decoding import IncrementalDecoder

TEXTS = [
    "Once upon a time",
    "  two leading and two trailing spaces  ",
    " one leading",
    "a  b   c",
    "emoji 😀 and a family 👩‍👩‍👧!",
    "中文字符和 mixed 文字",
    "日本語テキスト、한국어",
    "naïve café — “quoted” …",
    "line\n\n\ttab\r\nend\n",
    "😀",
    " 😀 ",
    "x = {'a': [1, 2]}  # code",
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def any_tokenizer(request, tiny_model):
    return AutoTokenizer.from_pretrained(STORIES.directory() if request.param == "llama" else tiny_model)


def pieces(tokenizer, ids):
    decoder = IncrementalDecoder(tokenizer)
    return [decoder.push(token, last=place == len(ids) - 1) for place, token in enumerate(ids)]


def whole(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


ABOVE_ASCII = (0xE9, 0x4E2D, 0x1F600)


def bytes_of(tokenizer):
    """The token of each single byte."""
    if "<0x00>" in tokenizer.get_vocab():
        return [tokenizer.convert_tokens_to_ids(f"<0x{b:02X}>") for b in range(256)]
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return [tokenizer.convert_tokens_to_ids(bytes_to_unicode()[b]) for b in range(256)]


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_joined_pieces_are_the_text(any_tokenizer, text, bos):
    ids = any_tokenizer(text, add_special_tokens=False)["input_ids"]
    if bos:
        ids = [any_tokenizer.bos_token_id, *ids]
    assert "".join(pieces(any_tokenizer, ids)) == text


@pytest.mark.parametrize("text", ["中😀文", "日本"])
def test_no_piece_shows_half_a_character(any_tokenizer, text):
    ids = any_tokenizer(text, add_special_tokens=False)["input_ids"]
    found = pieces(any_tokenizer, ids)
    assert len(ids) > len(text), "the tokenizer has these characters whole: this would show nothing"
    assert not any("\ufffd" in piece for piece in found)
    assert "" in found


def test_a_piece_stands_with_its_own_token(any_tokenizer):
    ids = any_tokenizer("the cat and the dog", add_special_tokens=False)["input_ids"]
    found = pieces(any_tokenizer, ids)
    assert all(found)
    assert found[-1].strip() in ["the", "cat", "and", "the", "dog"][-1]


def test_any_sequence_of_tokens_gives_the_decoded_whole(any_tokenizer):
    draw = random.Random(0)
    # Single bytes are for the next tests: in any order they are no text.
    whole_tokens = [i for i in range(len(any_tokenizer)) if "\ufffd" not in any_tokenizer.decode([i])]
    special = any_tokenizer.all_special_ids
    for _ in range(200):
        ids = draw.choices(whole_tokens, k=draw.randint(1, 20)) + draw.choices(special, k=draw.randint(0, 2))
        draw.shuffle(ids)
        assert "".join(pieces(any_tokenizer, ids)) == whole(any_tokenizer, ids), ids


def test_any_text_written_in_bytes_gives_the_decoded_whole(any_tokenizer):
    draw = random.Random(1)
    byte = bytes_of(any_tokenizer)
    for _ in range(200):
        text = "".join(chr(draw.choice([draw.randrange(32, 127), *ABOVE_ASCII])) for _ in range(draw.randint(1, 8)))
        ids = [byte[b] for b in text.encode()]
        assert "".join(pieces(any_tokenizer, ids)).strip() == text.strip(), text


def test_bytes_that_are_no_text_cost_nothing_of_the_text_after_them(any_tokenizer):
    draw = random.Random(2)
    byte = bytes_of(any_tokenizer)
    words = any_tokenizer("a the cat", add_special_tokens=False)["input_ids"][1:]
    for _ in range(200):
        ids = [byte[draw.randrange(256)] for _ in range(draw.randint(1, 12))] + words
        joined = "".join(pieces(any_tokenizer, ids))
        assert joined.endswith(" the cat"), ids
        # A decoder that sees a whole run of bytes at once may find less text in it, never more.
        assert joined.count("\ufffd") <= whole(any_tokenizer, ids).count("\ufffd"), ids


def test_unfinished_character_at_the_end_is_given_out(any_tokenizer):
    ids = any_tokenizer("ok 😀", add_special_tokens=False)["input_ids"][:-1]
    found = "".join(pieces(any_tokenizer, ids))
    assert found == whole(any_tokenizer, ids)
    assert found.startswith("ok ")
    assert found.endswith("\ufffd")


def test_the_text_of_a_trace_is_the_decoded_whole(tracer):
    for prompt in ("  Tom said 😀 in 中文  to  Lily ", "Café\n\nThe end. "):
        trace = tracer.run(prompt, temperature=1.2, max_tokens=30, seed=2)
        ids = [step.token_id for step in trace]
        assert trace.text == whole(tracer.vocabulary.tokenizer, ids)
        assert trace.text.startswith(prompt)
        assert trace.text == prompt + trace.generated
