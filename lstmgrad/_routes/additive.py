"""The additive path: what a cell keeps of its own state from step to step, and nothing else."""

from lstmgrad._chains.base import StoredChain, known_run
from lstmgrad._chains.interpret import BRANCHES, LOOPS
from lstmgrad._chains.layers import parts_by_layer
from lstmgrad._routes.routes import routes
from lstmgrad._routes.tagged import straight_tag_names

PATHS = {"cell": "c", "carry": "h"}
"""Tags of what a step keeps of the state, and the part that it is kept of."""


def tags_of(chain: StoredChain) -> list[str]:
    """Returns the tags that a step crosses once, outside of its loops and branches.

    Args:
        chain: of a model that it knows.
    """
    run = known_run(chain)
    return straight_tag_names(*run.step.parts(), *run.example(), outside=(*LOOPS, *BRANCHES))


def additive_paths(chain: StoredChain) -> dict[str, StoredChain]:
    """Returns the additive path of every layer, by the part that it keeps.

    Args:
        chain: of a model that it knows.

    Returns:
        The routes through the tag "cell" by c or, where a layer has no c, through "carry" by h; a
        layer of a stack has its number behind the letter. Between the part and itself such a route
        is the product of what the gate keeps. Empty where the step marks none.
    """
    names, found, layers = tags_of(chain), {}, set()
    for tag, letter in PATHS.items():
        parts = parts_by_layer(chain.layout.parts, letter) if tag in names else {}
        for layer, part in parts.items():
            if layer not in layers:
                found[part] = routes(chain)[tag]
                layers.add(layer)
    return found
