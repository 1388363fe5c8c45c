"""``axon PROMPT``: write on from a prompt and show, token by token, which features fire."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from axon_widget.trace import TokenStep, Trace, strongest

_DIM, _BOLD, _OFF = "\033[2m", "\033[1m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("prompt", help="the text to go on from")
    parser.add_argument("--model", help="'embedded', a model's name or a directory (default: gpt2-small)")
    parser.add_argument(
        "--sae",
        action="append",
        help="'release/id' from SAELens' directory, or a directory; may be given several times",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    naming = parser.add_mutually_exclusive_group()
    naming.add_argument("--labels", type=Path, metavar="FILE", help="name the features by a CSV or Parquet file")
    naming.add_argument("--no-labels", action="store_true", help="name them by the tokens they boost, fetch nothing")
    writing = parser.add_argument_group("writing")
    writing.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 is greedy (default: 0.8)")
    writing.add_argument("--top-k", type=int, default=50, metavar="K", help="0 keeps all (default: 50)")
    writing.add_argument("--top-p", type=float, default=0.9, metavar="P", help="(default: 0.9)")
    writing.add_argument("--repetition-penalty", type=float, default=1.1, metavar="R", help="(default: 1.1)")
    writing.add_argument("--max-tokens", type=int, default=40, metavar="N", help="(default: 40)")
    writing.add_argument("--seed", type=int, help="for the same text again")
    showing = parser.add_argument_group("showing")
    showing.add_argument("--features", type=int, default=3, metavar="N", help="name so many of each SAE (default: 3)")
    showing.add_argument("--html", type=Path, metavar="FILE", help="write a page that replays the run")
    showing.add_argument("--json", type=Path, metavar="FILE", help="write the trace ('-': to standard output)")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from axon_widget.engine.sampling import Sampling
    from axon_widget.engine.tracer import Tracer

    sampling = Sampling(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        repetition_penalty=options.repetition_penalty,
        max_tokens=options.max_tokens,
    )
    if options.features < 0:
        raise ValueError(f"--features {options.features} cannot be used: give 0 or more.")
    for path in (options.html, options.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path} cannot be written: there is no directory {path.parent}.")
    with _loading() as say:
        tracer = Tracer.load(
            options.model,
            options.sae,
            device=options.device,
            dtype=options.dtype,
            labels=False if options.no_labels else options.labels,
            progress=say,
        )
    if tracer.fallback:
        print(f"axon: {tracer.fallback}", file=sys.stderr)
    print(
        f"{tracer.model_name}, features of {', '.join(sae.name for sae in tracer.saes)} on {tracer.model.device}",
        file=sys.stderr,
    )

    # The trace alone may go to standard output; then the table goes beside it.
    out = sys.stderr if options.json == Path("-") else sys.stdout
    colour = out.isatty() and "NO_COLOR" not in os.environ
    trace, code = Trace(), 0
    steps = tracer.stream(options.prompt, sampling, seed=options.seed, trace=trace)
    try:
        for step in steps:
            if not step.special:
                tracer.names.lack((f.sae, f.id) for f in strongest(step, options.features))
                if tracer.names.fill(options.features * len(tracer.readers)):
                    tracer.names.renew()
                print(_line(trace[step.step], options.features, trace.origin.titles, colour), file=out, flush=True)
    except KeyboardInterrupt:
        steps.close()
        trace.finish = "stopped"
        code = 130
    print("", _visible(trace.text, keep="\n"), sep="\n", file=out)
    print(f"({trace.finish}; seed {trace.origin.seed})", file=out)
    if tracer.names.status:
        print(f"axon: {tracer.names.status}", file=sys.stderr)
    if options.json:
        if options.json == Path("-"):
            print(trace.to_json())
        else:
            trace.to_json(options.json)
    if options.html:
        from axon_widget.export import to_html

        print(
            f"Open {to_html(trace, options.html, tracer).absolute()} in a browser to replay the run.",
            file=out,
        )
    return code


def _line(step: TokenStep, count: int, titles: Sequence[str], colour: bool) -> str:
    """Show a token: its place, its text, its probability, and the strongest features of each SAE."""
    place = f"{step.position:4d} {'+' if step.generated else ' '}"
    chance = "" if step.logprob is None else f"{math.exp(step.logprob):4.0%}"
    named = [(f.sae, f"{f.activation:.2f} {_visible(f.label) or f'#{f.id}'}") for f in strongest(step, count)]
    lines = ["   ".join(name for of, name in named if of == sae) for sae in range(len(titles))]
    if len(titles) > 1:
        lines = [f"{title}: {line}" for title, line in zip(titles, lines, strict=True) if line]
    features = "   ".join(lines)
    token = f"{_visible(step.token) or '·':<14}"
    if colour:
        token, features = f"{_BOLD}{token}{_OFF}", f"{_DIM}{features}{_OFF}"
    return f"{place} {token} {chance:>5}  {features}".rstrip()


def _visible(text: str, keep: str = "") -> str:
    """Show what a terminal would act on (line breaks, escape sequences, text direction) instead of sending it."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def _loading() -> Generator[Callable[[str], None]]:
    """Show on one line of the terminal what is being loaded."""
    from tqdm import tqdm

    with tqdm(total=0, bar_format="{desc} [{elapsed}]", leave=False, file=sys.stderr, disable=None) as bar:
        yield lambda sentence: bar.set_description_str(f"Loading {sentence}")
