"""``axon PROMPT``: write on from a prompt and show, token by token, which features fire."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from axon_widget.cli import model
from axon_widget.cli.terminal import coloured, visible
from axon_widget.trace import TokenStep, Trace, strongest

_DIM, _BOLD, _OFF = "\033[2m", "\033[1m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("prompt", help="the text to go on from")
    model.add_arguments(parser)
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
    tracer = model.load(options)

    # The trace alone may go to standard output; then the table goes beside it.
    out = sys.stderr if options.json == Path("-") else sys.stdout
    colour = coloured(out)
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
    print("", visible(trace.text, keep="\n"), sep="\n", file=out)
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
    named = [(f.sae, f"{f.activation:.2f} {visible(f.label) or f'#{f.id}'}") for f in strongest(step, count)]
    lines = ["   ".join(name for of, name in named if of == sae) for sae in range(len(titles))]
    if len(titles) > 1:
        lines = [f"{title}: {line}" for title, line in zip(titles, lines, strict=True) if line]
    features = "   ".join(lines)
    token = f"{visible(step.token) or '·':<14}"
    if colour:
        token, features = f"{_BOLD}{token}{_OFF}", f"{_DIM}{features}{_OFF}"
    return f"{place} {token} {chance:>5}  {features}".rstrip()
