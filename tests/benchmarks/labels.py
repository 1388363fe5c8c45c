"""What labels cost while the model writes: `python -m tests.benchmarks.labels`.

A model of gpt2-small's shape writes

- with its labels off,
- with a label host that refuses every connection,
- with one that takes connections and never answers,
- with one from which all 24,576 labels are coming in meanwhile (for comparison; this happens once for an SAE).

On each token a feature is looked up, so that requests are always under way. The loops take turns, some tokens each;
ratios are taken round by round, and their median is what counts. Then the labels that came are loaded from the store.

Ends with status 1 where writing with a dead or silent host is more than 5 % slower than without labels, or loading
takes half a second or more.
"""

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

os.environ.pop("HF_HUB_OFFLINE", None)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from tqdm import tqdm

from axon_widget.engine.features import FeatureReader
from axon_widget.engine.tracer import Tracer
from axon_widget.labels import Labels
from axon_widget.labels.neuronpedia import NeuronpediaLabels
from axon_widget.labels.store import Store
from axon_widget.labels.web import Answer, Web
from tests.benchmarks.shape import FEATURES, make_tracer, timed, word

ADDRESS = "gpt2-small/8-res-jb"
PROMPT = " ".join(map(word, range(100, 140)))
TOKENS = 12  # timed in each round
MOST = 1.05  # times as long as without labels
SECONDS = 0.5


class Led(Web):
    """Asks one host for whatever is asked of any."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host

    def fetch(self, url: str, params: dict[str, str] | None = None, limit: int = 64 << 20) -> Answer:
        """Get an answer from that host."""
        return super().fetch(self._host + urlsplit(url).path, params, limit)


def refusing() -> str:
    """Find a port that refuses connections."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def silent(stack: ExitStack) -> str:
    """Open a port that takes connections and never answers."""
    listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=64)))
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def lively(stack: ExitStack) -> str:
    """Start a process that answers as Neuronpedia does."""
    command = [sys.executable, "-m", "tests.standins.neuronpedia"]
    server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(server.terminate)
    assert server.stdout
    found = re.search(r"http://[\d.:]+", server.stdout.readline())
    assert found
    return found[0]


def written(tracer: Tracer, labels: Labels) -> float:
    """Write with labels, and give the median milliseconds of a token behind the first one."""
    tracer = Tracer(tracer.model, tracer.vocabulary.tokenizer, [FeatureReader(tracer.readers[0].sae, labels=labels)])
    labels.start()
    steps = tracer.stream(PROMPT, temperature=0, repetition_penalty=1, max_tokens=TOKENS + 2, seed=0)
    while not next(steps).generated:
        pass

    def one() -> None:
        tracer.inquire(next(steps).features[0].id)

    return statistics.median([timed(one) for _ in range(TOKENS)])


def measure(rounds: int) -> tuple[dict[str, list[float]], float, int]:
    """Give the milliseconds of a token in each round, by what the host is like; and of loading so many labels."""
    tracer = make_tracer()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = {"refusing": Led(refusing()), "silent": Led(silent(stack)), "arriving": Led(lively(stack))}

        def store(name: str) -> Store:
            shutil.rmtree(folder / "arriving", ignore_errors=True)  # these arrive again in each round
            return Store(folder / name)

        made: dict[str, Callable[[], Labels]] = {"off": Labels}
        for name, web in hosts.items():
            made[name] = lambda name=name, web=web: NeuronpediaLabels(ADDRESS, FEATURES, store(name), web)
        times: dict[str, list[float]] = {name: [] for name in made}
        # The first round warms caches and allocators up and does not count.
        for counted in tqdm(range(-1, rounds), unit="round", desc="in turn"):
            for name, make in made.items():
                took = written(tracer, make())
                if counted >= 0:
                    times[name].append(took)
        whole = NeuronpediaLabels(ADDRESS, FEATURES, Store(folder / "whole"), hosts["arriving"])
        whole.start()
        while whole.status or not len(list(whole.names())):
            time.sleep(0.1)
        del whole
        loaded: list[Labels] = []
        loading = timed(lambda: loaded.append(NeuronpediaLabels(ADDRESS, FEATURES, Store(folder / "whole"))))
        return times, loading, len(list(loaded[0].names()))


def main() -> int:
    """Measure, print, and say by the exit status whether the targets are met."""
    parser = argparse.ArgumentParser(description="Milliseconds per token with labels off, dead, silent and arriving.")
    parser.add_argument("--rounds", type=int, default=12, help="how often each loop is measured (default 12)")
    parser.add_argument("--threads", type=int, help="PyTorch threads (default: its own choice)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    times, loading, count = measure(options.rounds)
    print(
        f"gpt2-small's shape, {torch.get_num_threads()} threads; median of {options.rounds} rounds of {TOKENS} tokens"
    )
    met = loading < 1e3 * SECONDS
    for name, took in times.items():
        ratio = statistics.median([ms / off for ms, off in zip(took, times["off"], strict=True)])
        aim = f"    target <= {MOST}" if name in ("refusing", "silent") else ""
        met = met and (not aim or ratio <= MOST)
        print(f"{name:<9} {statistics.median(took):6.2f} ms a token    {ratio:.3f} of off{aim}")
    print(f"{count:,} labels loaded from the store in {loading:.0f} ms    target < {1e3 * SECONDS:.0f}")
    print("targets met" if met else "A TARGET IS MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
