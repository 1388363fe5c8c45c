"""The English text: prose without markup, documents held out for good, rows that hold what was asked for."""

import gzip
import html
import random
import re
import tarfile
from io import BytesIO

import pytest
import torch

from axon_widget.embedded import STORIES, english

PROSE = "The capital of France is Paris, which lies on the Seine and has had that name since the third century."
ARTICLE = """{{Infobox city|name=Paris|note={{small|of [[France]]}}}}
[[Image:Paris.jpg|thumb|A long caption about the [[Eiffel Tower]], which is more than eighty characters long, I think]]
'''The capital''' of [[France]] is [[Paris (city)|Paris]], which lies on the [[Seine]]<ref>A book.</ref> and has had \
that name since the ''third'' century.

== A heading that is longer than the shortest paragraph which counts as prose, to be left out all the same ==
* An item of a list that is longer than the shortest paragraph which counts as prose, to be left out all the same.
{| class="table"
| A cell of a table that is longer than the shortest paragraph which counts as prose, to be left out all the same.
|}
Short line.
[[Category:Cities in France that are the capital of it and have been that for a long time, as far as is known]]
[[fr:Paris]]
"""


def test_an_article_is_its_prose():
    assert english.plain(html.escape(ARTICLE)) == PROSE


def page(title: str, text: str) -> str:
    return f'<page><title>{title}</title><revision><text xml:space="preserve">{text}</text></revision></page>\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Articles and a book where those that were fetched lie, and a small tokenizer."""
    pages = [page(f"Title {n}", f"{PROSE} This is number {n} of them. " * 30) for n in range(200)]
    pages += [page("Nothing", "#REDIRECT [[Paris]]"), page("Talk:Paris", PROSE * 30)]
    (tmp_path / "enwik8.gz").write_bytes(gzip.compress("".join(pages).encode()))
    with tarfile.open(tmp_path / "books.tgz", "w:gz") as archive:
        for name in ("tale.txt", "bible-kjv.txt"):
            text = "".join(f"It was chapter {n} of the {name}.\nIt went on\n\n" for n in range(20_000)).encode()
            member = tarfile.TarInfo(f"package/gutenberg/{name}")
            member.size = len(text)
            archive.addfile(member, BytesIO(text))
    monkeypatch.setattr(english, "SMOLLM2", STORIES)
    return tmp_path


def test_held_out_documents_are_no_others(folder):
    def drawn(read, file, wanted):
        return set(read(folder / file, wanted, random.Random(3)))

    for read, file in ((english.articles, "enwik8.gz"), (english.books, "books.tgz")):
        training = drawn(read, file, english.training)
        halves = [drawn(read, file, english.held_out(half)) for half in (0, 1)]
        held_out = halves[0] | halves[1]
        assert held_out
        assert not halves[0] & halves[1]
        assert len(training) > 5 * len(held_out)
        assert not training & held_out
        assert not [text for text in training | held_out if "bible" in text or "REDIRECT" in text]
        assert all(halves) == (read is english.articles)  # there is one book, and its pieces stay together
        if read is english.articles:
            assert len(training | held_out) == 200


def test_halves_of_the_held_out_rows_share_no_document(folder):
    rows = english.rows(folder, "held-out", 1, 4000)
    tokenizer = english.AutoTokenizer.from_pretrained(STORIES.directory())
    numbers = [set(re.findall(r"number (\d+) of", tokenizer.decode(rows[half::2].flatten()))) for half in (0, 1)]
    assert all(numbers)
    assert not numbers[0] & numbers[1]


def test_rows_hold_the_tokens_that_were_asked_for(folder):
    rows = english.rows(folder, "train", 0, 20_000)
    assert rows.shape[1] == english.CONTEXT
    assert rows.dtype == torch.int32
    assert 20_000 <= int(english.counted(rows).sum()) < 20_000 + 2 * english.CONTEXT
    assert (rows[:, 0] == english.BOS).all()
    assert not english.counted(rows)[:, 0].any()
    assert english.counted(rows)[:, 1:].float().mean() > 0.9
    (folder / "enwik8.gz").unlink()  # they are kept, and need no text any more
    assert torch.equal(english.rows(folder, "train", 0, 20_000), rows)


def test_more_than_there_is_cannot_be_asked_for(folder):
    with pytest.raises(ValueError, match=r"no more than [\d,]+ such tokens: ask for fewer"):
        english.rows(folder, "held-out", 0, 5_000_000)
