"""Maps of SAEs, against distances taken pair by pair."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from axon_widget import maps
from axon_widget.maps import Maps
from axon_widget.maps.apart import arrange_apart
from axon_widget.maps.layout import _push, arrange, nearest


def random(count, width, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def reader(weights, name="an SAE"):
    return SimpleNamespace(
        sae=SimpleNamespace(W_dec=torch.tensor(weights)), d_sae=len(weights), d_in=weights.shape[1], name=name
    )


def made(mine, timeout=60):
    """Have all maps made, and give how often that was told."""
    told = threading.Semaphore(0)
    count = 0
    while mine.ask(told.release):
        assert told.acquire(timeout=timeout)
        count += 1
    return count


def kept_near(directions, places, nearest_ones=10, around=50):
    """Give how many of each feature's nearest by cosine are among the nearest on the map."""
    unit = torch.nn.functional.normalize(torch.as_tensor(directions).double(), dim=-1)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-2)
    near = cosines.topk(nearest_ones).indices
    on_map = torch.tensor(places).double()
    apart = torch.cdist(on_map, on_map)
    apart.fill_diagonal_(torch.inf)
    shown = apart.topk(around, largest=False).indices
    return float((near[:, :, None] == shown[:, None, :]).any(-1).double().mean())


@pytest.fixture
def mine(tmp_path):
    return lambda *readers: Maps(readers, tmp_path)


def test_the_map_of_the_embedded_sae_keeps_neighbours_together(tracer):
    directions = tracer.readers[0].sae.W_dec.detach().numpy()
    places = arrange(directions)
    assert places.shape == (len(directions), 2)
    assert np.abs(places).max() == pytest.approx(1)
    chance = 50 / (len(directions) - 1)
    # Measured: .31, where chance is .02 and the two strongest principal components give .07.
    assert kept_near(directions, places) > 0.28 > 10 * chance


def test_the_same_directions_give_the_same_map():
    directions = random(300, 20)
    assert np.array_equal(arrange(directions), arrange(4 * directions))  # a power of two, which changes no digit
    groups = np.repeat(random(30, 20, seed=1), 10, 0) + 0.3 * directions
    assert kept_near(groups, arrange(groups), 5, 15) > 0.95


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11, 12])
def test_few_directions_have_a_map_too(count):
    for directions in (random(count, 8), np.ones((count, 8), np.float32), np.zeros((count, 1), np.float32)):
        places = arrange(directions)
        assert places.shape == (count, 2)
        assert np.abs(places).max() <= 1
    if count > 1:
        assert len(np.unique(arrange(random(count, 8)).round(3), axis=0)) == count


def test_nearest_are_those_with_the_highest_cosines(monkeypatch):
    monkeypatch.setattr(maps.layout, "_AT_ONCE", 64 * 500)
    directions = random(500, 12)
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    found = nearest(unit, 7)
    cosines = unit.astype(float) @ unit.T
    np.fill_diagonal(cosines, -2)
    assert np.array_equal(np.sort(found), np.sort(np.argsort(-cosines)[:, :7]))


@pytest.mark.parametrize("spread", [1, 10])
def test_the_push_of_all_others_is_what_each_pair_adds_up_to(spread):
    places = spread * random(400, 2)
    way = places[:, None].astype(float) - places
    near = 1 / (1 + np.square(way).sum(-1))
    np.fill_diagonal(near, 0)
    exact = (np.square(near)[..., None] * way).sum(1) / near.sum()
    close = _push(places)
    off = np.linalg.norm(close - exact, axis=1)
    assert np.median(off) < 0.15 * np.median(np.linalg.norm(exact, axis=1))


def test_another_process_makes_the_same_map_while_everything_else_goes_first():
    directions = random(1500, 32)
    nice = []
    done = threading.Event()

    def watch():
        while not done.wait(0.05):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):  # it may end meanwhile
                    if "axon_widget.maps.apart" in child.cmdline():
                        nice.append(child.nice())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        places = arrange_apart([directions[:100], directions[100:]], 1500, 32)
    finally:
        done.set()
        watching.join()
    assert nice[-1] == 19
    # The same up to rounding, which a machine with several cores does in another order.
    assert kept_near(directions, places) == pytest.approx(kept_near(directions, arrange(directions)), abs=0.02)


def test_a_map_is_made_once_and_kept(mine, monkeypatch):
    weights = random(80, 6)
    first = mine(reader(weights), reader(random(40, 6, seed=1)))
    assert first.of(0) is None
    assert first.places([(0, 3)]) == []
    assert made(first) == 2
    assert first.places([(0, 3), (1, 39)]) == [(0, 3, *first.of(0)[3].tolist()), (1, 39, *first.of(1)[39].tolist())]
    monkeypatch.setattr(maps, "arrange_apart", None)
    again = mine(reader(weights))
    assert np.array_equal(again.of(0), first.of(0))
    assert again.ask(pytest.fail) is False
    # Other weights or another name: another SAE.
    assert mine(reader(weights + 1)).of(0) is None
    assert mine(reader(weights, "another")).of(0) is None
    assert mine(reader(weights[:79])).of(0) is None


def test_a_damaged_file_is_made_anew(mine, tmp_path):
    weights = random(60, 6)
    assert made(mine(reader(weights))) == 1
    [file] = (tmp_path / "maps").iterdir()
    whole = file.read_bytes()
    wrong = (whole[:90], b"", b"no array", np.full((60, 2), np.nan, np.float32), np.zeros((59, 2), np.float32))
    for content in (*wrong, np.array([{}] * 60)):
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            np.save(file, content)
        assert mine(reader(weights)).of(0) is None, content
    assert made(mine(reader(weights))) == 1
    assert file.read_bytes() == whole


def test_where_nothing_can_be_kept_there_is_a_map_all_the_same(tmp_path):
    (tmp_path / "maps").write_text("in the way")
    mine = Maps([reader(random(30, 4))], tmp_path)
    assert made(mine) == 1
    assert mine.of(0).shape == (30, 2)


def test_what_goes_wrong_is_said_and_the_others_are_made(mine, monkeypatch):
    real = arrange_apart
    monkeypatch.setattr(
        maps, "arrange_apart", lambda rows, n, d: real(rows, n, d) if n == 30 else real([next(iter(rows))[:1]], n, -d)
    )
    some = mine(reader(random(40, 4)), reader(random(30, 4)))
    assert made(some) == 2
    assert (some.of(0), some.of(1).shape) == (None, (30, 2))
    assert some.trouble.startswith("The map could not be made")
    monkeypatch.setattr(sys, "executable", os.devnull)
    with pytest.raises(RuntimeError, match="no process for it could be started"):
        real([], 3, 4)


def test_to_find_places_reads_no_weights_on_each_token(mine, monkeypatch):
    count = []
    named = Maps._path
    monkeypatch.setattr(Maps, "_path", lambda self, sae: count.append(sae) or named(self, sae))
    two = mine(reader(random(30, 4)), reader(random(30, 4, seed=1)))
    for _ in range(3):
        assert two.places([(sae, i) for i in range(30) for sae in (0, 1)]) == []
    assert sorted(count) == [0, 1]
    assert made(two) == 2
    assert len(two.places([(sae, i) for i in range(30) for sae in (0, 1)])) == 60


def test_a_map_that_another_process_made_meanwhile_is_taken(mine, monkeypatch):
    weights = random(30, 4)
    late = mine(reader(weights))
    assert late.of(0) is None
    first = mine(reader(weights))
    assert made(first) == 1
    monkeypatch.setattr(maps, "arrange_apart", None)
    assert made(late) == 1
    assert np.array_equal(late.of(0), first.of(0))


class Unreadable:
    """Weights that cannot be had."""

    def __len__(self):
        raise RuntimeError("the weights are gone")

    shape = property(__len__)


def test_weights_that_cannot_be_read_are_said_and_tried_again_later(mine, monkeypatch):
    one = reader(random(30, 4))
    weights, one.sae.W_dec = one.sae.W_dec, Unreadable()
    some = mine(one)
    assert made(some) == 1
    assert (some.trouble, some.of(0), some._waiting) == ("the weights are gone", None, set())
    one.sae.W_dec = weights
    assert not some.ask(pytest.fail)  # not on every token
    monkeypatch.setattr(maps, "_AGAIN", 0)
    assert made(some) == 1
    assert (some.trouble, some.of(0).shape) == ("", (30, 2))


def test_the_process_ends_with_the_one_that_asked():
    code = (
        "import numpy as np, sys; from axon_widget.maps.apart import arrange_apart\n"
        "arrange_apart([np.random.default_rng(0).standard_normal((20000, 128))], 20000, 128)"
    )
    asking = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        children = []
        while not children:
            children = [child for child in psutil.Process(asking.pid).children() if child.nice() == 19]  # it has begun
        asking.kill()
        asking.wait()
        assert psutil.wait_procs(children, timeout=60)[1] == []
    finally:
        asking.kill()
