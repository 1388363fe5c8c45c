"""The ``axon`` command. Its first word names what to do; anything else is a prompt to trace."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from axon_widget import __version__
from axon_widget.cli.terminal import visible

_COMMANDS = {
    "trace": "write on from a prompt and show, token by token, which features fire (also without its name)",
    "check": "try whether a model with its SAEs does as it should",
    "saes": "list the SAEs there are",
    "labels": "fetch labels before going offline, export them, say which are stored",
}
"""The modules of this package that are commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        The command line, without the program's name; left out, the process's own.

    Returns
    -------
    int
        0; 1 after an error that was told on standard error; 130 after an interrupt.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given.pop(0) if given and given[0] in _COMMANDS else None
    command = import_module(f"axon_widget.cli.{name or 'trace'}")
    does = _COMMANDS[name or "trace"]
    others = "".join(f"\n  axon {other:<8} {what}" for other, what in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=f"axon {name}" if name else "axon",
        description=does[0].upper() + does[1:] + ".",
        epilog=None if name else f"commands:{others}\nEach has a --help of its own.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    command.add_arguments(parser)
    options = parser.parse_args(given)
    try:
        return command.run(options)
    except BrokenPipeError:  # whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("axon: interrupted", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(f"axon: {visible(str(error), keep=chr(10))}", file=sys.stderr)
        return 1
