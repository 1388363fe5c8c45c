"""Make the autoencoders of a shipped model, their labels and cards.

``python -m axon_widget.embedded --model stories15m`` trains, trains again with a second seed on fewer tokens, labels
and evaluates. What is done is not done again, and what was stopped goes on.
"""

from __future__ import annotations

from axon_widget.embedded import evaluate, label, train
from axon_widget.embedded.recipes import RECIPES, arguments


def main() -> None:
    """Run all steps from the command line."""
    options = arguments(__doc__).parse_args()
    recipe = RECIPES[options.model]
    out, second = options.out or recipe.model.saes, options.work / f"{options.model}-seed1"
    common = ["--model", options.model, "--device", options.device, "--work", str(options.work)]
    train.main([*common, "--out", str(out)])
    train.main([*common, "--out", str(second), "--seed", "1", "--tokens", str(recipe.again)])
    label.main([*common, "--out", str(out)])
    evaluate.main([*common, "--out", str(out), "--second", str(second)])


if __name__ == "__main__":
    main()
