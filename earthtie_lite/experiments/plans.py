"""What the book's tables hold: recipes of training, and every row that is trained and scored."""

import dataclasses
from collections.abc import Iterable

from ..modalities import NAMES
from ..protocol import BUDGETS
from .evaluate import MAIN, MAIN_TASKS, ROBUSTNESS, STANDARD, Evaluation
from .rows import SETTINGS, TRAINED, Embedding, Recipe

SEEDS = 5
NEAR_NAME_KM = 25.0  # names this close stand for the place in the reference of text
INDUCTIVE_NAMES = 45_000  # places a modality: 48,283 thinned names lie outside the report half
# Of what was tried at equal cost: the best mean over the tasks of the paper at 729 labels, on the
# development half. So is the modality to beat: the best single one of each task.
CHOSEN = Recipe("chosen", n_degrees=20, skip=10)
BEST_SINGLE = {"country": "text", "population (GPWv4)": "lights", "population": "lights"}
BEST_SINGLE |= dict.fromkeys(("elevation", "biome", "climate"), "satellite")
# The same encoder, trained as in the paper: 50 passes over three modalities.
PAPER = dataclasses.replace(
    CHOSEN,
    name="paper",
    pairs=15_000_000,
    batch_size=2048,
    learning_rate=1e-4,
    schedule="constant",
)
MAIN_ROWS = (("melt", NAMES), *(("melt", (name,)) for name in NAMES), ("salt", NAMES))
_PAIRS = (("satellite", "lights"), ("satellite", "text"), ("lights", "text"))
PAIR_ROWS = tuple((method, pair) for method in ("melt", "salt") for pair in _PAIRS)
SUBSETS = (*((name,) for name in NAMES), *_PAIRS, NAMES)  # all seven
# What was tried on the development half, one change at a time from skip=10.
SEARCH = tuple(
    dataclasses.replace(Recipe("tried", skip=10), **change)
    for change in (
        {},
        {"skip": 0},
        {"skip": 5},
        {"out_dim": 356},
        {"out_dim": 512},
        {"n": 30_000, "pairs": 450_000},
        {"pairs": 4_500_000},
        {"n_degrees": 20},
        {"n_degrees": 20, "pairs": 4_500_000},
        {"n_degrees": 40, "omega": 3.0},
        {"omega": 30.0},
        {"batch_size": 2048},
        {"learning_rate": 3e-3},
        {"dropout": 0.0},
        {"batch_size": 2048, "learning_rate": 1e-4, "schedule": "constant"},  # as in the paper
    )
)


def table(recipe: Recipe = CHOSEN, seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the embeddings of the book's tables.

    First the rows without training, single modalities and all three, seed by seed; then the
    inductive setting; then pairs of modalities; last every subset without a skip.
    """
    plain = ("coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained")
    bare = dataclasses.replace(recipe, skip=0)
    first = [Embedding(name, recipe) for name in plain] + [Embedding("untrained", bare)]
    first += [encoder_row(recipe, *row) for row in MAIN_ROWS]
    first.append(dataclasses.replace(encoder_row(recipe, "melt", NAMES), kind="ensemble"))
    fewer = dataclasses.replace(recipe, n=min(recipe.n, INDUCTIVE_NAMES))
    inductive = [
        dataclasses.replace(encoder_row(fewer, *row), setting="inductive")
        for row in (("melt", NAMES), ("melt", ("satellite",)), ("salt", NAMES))
    ]
    then = [encoder_row(bare, "melt", NAMES)] + [encoder_row(recipe, *row) for row in PAIR_ROWS]
    fewer_without = [encoder_row(bare, "melt", names) for names in SUBSETS if names != NAMES]
    fewer_without.append(dataclasses.replace(encoder_row(bare, "melt", NAMES), kind="ensemble"))
    return by_seed((first, inductive, then, fewer_without), seeds)


def paper_table(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the rows trained as in the paper; all others are those of the chosen recipe."""
    parts = [[encoder_row(PAPER, *row) for row in rows] for rows in (MAIN_ROWS, PAIR_ROWS)]
    return by_seed(parts, seeds)


def encoder_row(recipe: Recipe, method: str, modalities: tuple[str, ...]) -> Embedding:
    """Return the row of an encoder that is trained."""
    return Embedding(TRAINED, recipe, 0, method, modalities)


def by_seed(parts: Iterable[list[Embedding]], seeds: Iterable[int]) -> list[Embedding]:
    """Repeat each part of a table for every seed."""
    some = list(seeds)
    return [dataclasses.replace(row, seed=s) for part in parts for s in some for row in part]


def evaluations(row: Embedding, stage: str) -> list[Evaluation]:
    """Declare how a row is scored: choices need few budgets, the report everything."""
    if stage == "development":
        return [Evaluation(budgets=(MAIN, 9 * MAIN))]
    if stage == "bottleneck":
        return _exploratory(row)
    found = list(STANDARD)
    checked = row.kind in ("harmonics", "GeoCLIP", "untrained", "coordinates", TRAINED)
    if checked and row.modalities in ((), ("satellite",), NAMES) and row.setting == SETTINGS[0]:
        found += ROBUSTNESS
    if row.kind == "coordinates":  # what places alone tell, with probes that can bend
        found.remove(Evaluation(probe="neighbours"))
        found += [Evaluation(budgets=BUDGETS, probe="neighbours"), Evaluation(probe="trees")]
        found += [Evaluation("random", probe="neighbours"), Evaluation("random", probe="trees")]
    return found


def _exploratory(row: Embedding) -> list[Evaluation]:
    """Declare how a row of an experiment is scored."""
    references = row.recipe.name in ("everywhere", "near names")
    km = NEAR_NAME_KM if row.recipe.name == "near names" else None
    found = [
        Evaluation(budgets=(MAIN, 9 * MAIN), near_name_km=km, tasks=MAIN_TASKS),
        Evaluation("random", near_name_km=km, tasks=MAIN_TASKS),
    ]
    if references:
        bent = ("elevation", "population (GPWv4)")
        found.append(Evaluation(probe="trees", near_name_km=km, tasks=bent))
    return found


def search() -> list[Embedding]:
    """Declare what is tried on the development half: the plain rows, and MELT of every recipe."""
    rows = [Embedding(kind, SEARCH[0]) for kind in ("harmonics", "observations", "GeoCLIP")]
    rows += [Embedding("untrained", recipe) for recipe in SEARCH[:2]]
    rows += [Embedding(TRAINED, SEARCH[0], 0, "melt", (name,)) for name in NAMES]
    return rows + [Embedding(TRAINED, recipe, 0, "melt", NAMES) for recipe in SEARCH]


def dynamics(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the runs whose losses are shown: SALT, MELT, and one modality that never switches.

    The chosen recipe, of all seeds; then SALT and its control at constant learning rates, of the
    first three: in epochs of 20,000 pairs, and at the paper's rate in epochs of 100,000.
    """
    alone = ("satellite",)
    long = dataclasses.replace(CHOSEN, pairs=900_000, schedule="constant")
    rates = [
        dataclasses.replace(
            long, name=f"constant rate {rate:g}", n=20_000, pairs=360_000, learning_rate=rate
        )
        for rate in (1e-4, 1e-3, 3e-3, 1e-2)
    ]
    rates.append(
        dataclasses.replace(long, name="constant rate 0.0001, long epochs", learning_rate=1e-4)
    )
    rows = []
    for seed in seeds:
        rows.append(Embedding(TRAINED, CHOSEN, seed, "melt", NAMES))
        for recipe in (CHOSEN, *(rates if seed < 3 else ())):
            rows.append(Embedding(TRAINED, recipe, seed, "salt", NAMES))
            rows.append(Embedding(TRAINED, recipe, seed, "melt", alone))
    return rows


def paper_dynamics(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the same three of the paper's training: its SALT, its MELT and the control."""
    return [row for row in paper_table(seeds) if row.modalities in (NAMES, ("satellite",))]


def retrievals(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the models by which observations of the report half are retrieved."""
    everywhere = [encoder_row(CHOSEN, *row) for row in (("melt", NAMES), ("salt", NAMES))]
    fewer = dataclasses.replace(CHOSEN, n=INDUCTIVE_NAMES)
    elsewhere = dataclasses.replace(encoder_row(fewer, "melt", NAMES), setting="inductive")
    return by_seed([[*everywhere, elsewhere, Embedding("untrained", CHOSEN)]], seeds)
