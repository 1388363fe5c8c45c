"""How often chance alone makes a significant edge: `python -m tests.benchmarks.chance`.

The embedded model writes. Then each row of firings is moved around in a circle by itself, so that a feature keeps its
bursts and has to do with no other, and the graph is built of that. By chance two rows may move by the same, and what
they had in common stays; edges between others are counted besides. Of graphs in which nothing is true a false discovery
rate of 5 % allows 5 % to have any edge.
"""

import argparse

import numpy as np
from tqdm import tqdm

from axon_widget import Tracer
from axon_widget.graph import Graph
from axon_widget.trace import Feature, TokenStep

PROMPTS = ("Once upon a time, there was a little", "The dog ran to the park and", "Lily wanted to")
SHOWN = 15


def fired(run: list[TokenStep]) -> np.ndarray:
    """Give which feature fires on which token, (features, tokens), for those that are shown."""
    shown = {f.id: at for at, f in enumerate({f.id: f for step in run for f in step.features[:SHOWN]}.values())}
    rows = np.zeros((len(shown), len(run)), bool)
    for token, step in enumerate(run):
        rows[[shown[f.id] for f in step.features if f.id in shown], token] = True
    return rows


def graph_of_rows(rows: np.ndarray) -> Graph:
    """Build the graph of a matrix of firings."""
    graph = Graph()
    for n, on in enumerate(rows.T):
        graph.add(TokenStep("", n, n, n, True, features=tuple(Feature(int(i), 1.0, 3) for i in np.flatnonzero(on))))
    return graph


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Edges where there is nothing but chance.")
    parser.add_argument("--tokens", type=int, nargs="+", default=[60, 160, 220], help="lengths (default 60 160 220)")
    parser.add_argument("--copies", type=int, default=20, help="shifted copies of each run (default 20)")
    options = parser.parse_args()
    tracer = Tracer.load("embedded", labels=False)
    for tokens in options.tokens:
        kept, wrong = list[int](), list[tuple[int, int]]()
        for seed, prompt in enumerate(tqdm(PROMPTS, unit="run", desc=f"{tokens} tokens")):
            rows = fired([step for step in tracer.run(prompt, max_tokens=tokens, seed=seed) if step.read])
            kept.append(len(graph_of_rows(rows).significant()))
            random = np.random.default_rng(seed)
            for _ in range(options.copies):
                by = random.integers(rows.shape[1], size=len(rows))
                moved = np.array([np.roll(row, shift) for row, shift in zip(rows, by, strict=True)])
                edges = graph_of_rows(moved).significant()
                wrong.append((len(edges), sum(by[a[1]] != by[b[1]] for a, b, *_ in edges)))
        any_edge, apart = (np.array(wrong) > 0).mean(0)
        print(
            f"{tokens:>4} tokens: edges as written {kept}; of {len(wrong)} shifted graphs {any_edge:.1%} have any, "
            f"{apart:.1%} any between features that moved apart"
        )


if __name__ == "__main__":
    main()
