"""The experiments on what limits the embedding: declarations of rows, each one question."""

import dataclasses
from collections.abc import Callable, Iterable

from ..modalities import NAMES
from .pairing import ARRANGEMENTS
from .plans import CHOSEN, SEEDS, by_seed, encoder_row
from .rows import Embedding, Recipe

SKIPS = (3, 5, 10)  # degrees
# Units of a hidden layer with which an encoder of so many degrees has about as many parameters as
# the chosen one (1), a quarter of them or four times as many.
WIDTHS = {
    (10, "1/4"): 133,
    (10, "1"): 345,
    (10, "4"): 793,
    (20, "1/4"): 81,
    (20, "1"): CHOSEN.width,
    (20, "4"): 676,
}
# Places a modality, and pairs seen in all: whole epochs of whole batches, equal to 2 %.
SIZES = (1_026, 3_126, 12_500, 50_000, 100_000)
LENGTHS = (300_000, 1_500_000)
# Interventions on SALT: what may make its loss jump, one at a time.
SWITCHES = {
    "own scales": (("scales", "own"),),
    "moments reset": (("moments", "reset"),),
    "head warm-up": (("head_warmup", 30),),
    "by step": (("switch", "step"),),
    "own scales, by step": (("scales", "own"), ("switch", "step")),
}
THREEFOLD = (NAMES, ("text",), ("satellite",), ("lights",))
Seeds = Iterable[int]


def skips(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare what a skip does: beside training, inside it, around nothing, and its control."""
    first, controls = [], []
    for degrees in SKIPS:
        beside = changed(f"skip {degrees}", skip=degrees)
        inside = changed(f"skip {degrees}, inside training", skip=degrees, tie_skip=True)
        smooth = changed(f"skip {degrees}, smooth features", skip=degrees, joined="smooth")
        first += [melt(beside), melt(inside), Embedding("untrained", beside)]
        controls += [melt(smooth), Embedding("untrained", smooth)]  # encoders of the rows before
    return by_seed([first, controls], seeds)


def encoders(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare encoders of three sizes on two encodings.

    Untrained, joined with the features of images themselves, trained by contrast and by regression.
    """
    parts = [
        [
            Embedding("untrained", recipe),
            Embedding("reference", recipe, modalities=NAMES[:2]),
            melt(recipe),
            melt(
                dataclasses.replace(recipe, training=(("objective", "regression"),)), "regression"
            ),
        ]
        for recipe in encoder_recipes()
    ]
    return by_seed(parts, seeds)


def encoder_recipes() -> list[Recipe]:
    """Return the recipes of the encoders that are compared, alike in all but encoding and width."""
    return [
        changed(f"{degrees} degrees, {size} of the parameters", n_degrees=degrees, width=width)
        for (degrees, size), width in WIDTHS.items()
    ]


def references(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare what the modalities' own features would add to an untrained encoder.

    Images are there at every place; names are not, so theirs are compared near names alone.
    """
    everywhere, near = changed("everywhere"), changed("near names")
    kinds = ("reference", "reference, shuffled", "reference, noise")
    rows = [Embedding(kind, everywhere, modalities=NAMES[:2]) for kind in kinds]
    rows += [Embedding(kind, near, modalities=("text",)) for kind in kinds]
    rows += [Embedding("reference", everywhere, modalities=(name,)) for name in NAMES[:2]]
    for recipe in (everywhere, near):
        rows += [Embedding("untrained", recipe), melt(recipe)]
    return by_seed([rows], seeds)


def arrangements(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare equally many pairs at the same places, at places apart and in regions apart.

    Apart, three times as many places are seen; so is the same arrangement of three times as many.
    """
    sizes = {name: (25_000, name) for name in ARRANGEMENTS} | {
        "same, 75,000 places": (75_000, "same")
    }
    rows = [melt(changed(k, n=n, pairs=750_000, places=how)) for k, (n, how) in sizes.items()]
    return by_seed([rows], seeds)


def saturation(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare more places and longer training, each beside the other."""
    rows = [
        melt(changed(f"{n} places, {pairs} pairs", n=n, pairs=pairs))
        for pairs in LENGTHS
        for n in SIZES
    ]
    return by_seed([rows], seeds)


def switches(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare SALT with each intervention on its switches."""
    rows = [
        encoder_row(changed(f"SALT, {name}", training=training), "salt", NAMES)
        for name, training in SWITCHES.items()
    ]
    return by_seed([rows], seeds)


def threefold(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare three trainings on the same pairs, joined: they cost what the ensemble costs."""
    every = encoder_row(CHOSEN, "melt", NAMES)
    rows = [[dataclasses.replace(every, kind="threefold", modalities=m)] for m in THREEFOLD]
    return by_seed(rows, seeds)


def tries() -> list[Embedding]:
    """Declare what was tried on the development half for three modalities to beat the ensemble.

    Of two seeds: one and three trainings of MELT beside single modalities and the ensemble. Of one:
    MELT with scales of its own, and with that a smoother, narrower-banded, wider or more regular
    encoder.
    """
    every = encoder_row(CHOSEN, "melt", NAMES)
    rows = [encoder_row(CHOSEN, "melt", names) for names in (NAMES, *((n,) for n in NAMES))]
    rows += [dataclasses.replace(every, kind=kind) for kind in ("ensemble", "threefold")]
    own = changed("own scales", training=(("scales", "own"),))
    more = [{}, {"omega": 5.0}, {"omega": 3.0}, {"n_degrees": 15}, {"width": 512}, {"dropout": 0.5}]
    once = [melt(dataclasses.replace(own, **change)) for change in more]  # type: ignore[arg-type]
    return by_seed([rows], range(2)) + once


def changed(name: str, **changes: object) -> Recipe:
    """Return the chosen recipe with some settings changed."""
    return dataclasses.replace(CHOSEN, name=name, **changes)  # type: ignore[arg-type]


def melt(recipe: Recipe, note: str = "") -> Embedding:
    """Return the row of MELT with all three modalities."""
    recipe = dataclasses.replace(recipe, name=f"{recipe.name}, {note}") if note else recipe
    return encoder_row(recipe, "melt", NAMES)


def everything(seeds: Seeds = range(SEEDS)) -> list[Embedding]:
    """Declare all of the experiments."""
    return [row for name, rows in SETS.items() if name != "everything" for row in rows(seeds)]


_EXPERIMENTS = (skips, encoders, references, arrangements, saturation, switches, threefold)
SETS: dict[str, Callable[[Seeds], list[Embedding]]] = {
    f.__name__: f for f in (everything, *_EXPERIMENTS)
}
