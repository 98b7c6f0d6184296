"""The rows of the book's tables, read from ``tables.toml``, and how each row is scored."""

import functools
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from earthtie_lite.modalities import ALL, NAMES
from earthtie_lite.probes import Interpolation
from earthtie_lite.results.protocol import BUDGETS, Grid
from earthtie_lite.results.scoring import MAIN, MAIN_TASKS, ROBUSTNESS, STANDARD, Evaluation

from .rows import JOINED, SETTINGS, TRAINED, Embedding, Recipe

SEEDS = 5
MANY = ("choices", "growth")  # stages with the tables of many modalities
NEAR_TIES = 0.25  # standard errors: the rule for penalties of the tables of many modalities
NEAR_NAME_KM = 25.0  # largest distance to a name for the recipe "near names"


@functools.cache
def declared() -> dict[str, Any]:
    """Return the content of ``tables.toml``."""
    return tomllib.loads(Path(__file__).with_name("tables.toml").read_text(encoding="utf-8"))


def recipe(heading: str) -> Recipe:
    """Return a recipe by its heading in ``tables.toml``."""
    return Recipe(**_recipe_settings(heading))


def _recipe_settings(heading: str) -> dict[str, Any]:
    """Return the settings of a recipe and of those it is based on."""
    settings = dict(declared()["recipes"][heading])
    base = settings.pop("base", None)
    return (_recipe_settings(base) if base else {}) | {"name": heading} | settings


def row(text: str, heading: str = "chosen", seed: int = 0, setting: str = "") -> Embedding:
    """Return a row by its text in ``tables.toml``, such as "melt satellite+text"."""
    kind, _, last = text.rpartition(" ")
    modalities = tuple(last.split("+")) if set(last.split("+")) <= set(ALL) else ()
    if not modalities:
        kind = text
    method = kind if kind in ("melt", "salt") else ""
    if kind in (*JOINED, "retrieval"):
        method = "melt"
    kind = TRAINED if kind in ("melt", "salt") else kind
    return Embedding(kind, recipe(heading), seed, method, modalities, setting or SETTINGS[0])


def rows_of(stage: str, table: str, seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Return all rows of a table; the table "everything" joins all tables of the stage."""
    tables = declared()["stages"][stage]
    if table == "everything":
        return [row for name in tables for row in rows_of(stage, name, seeds)]
    return [
        row(text, heading, seed, block.get("setting", ""))
        for block in tables[table]
        for seed in seeds
        if seed < block.get("seeds", SEEDS)
        for heading in block["recipes"]
        for text in block["rows"]
    ]


def table_names(stage: str) -> list[str]:
    """Return the names of the tables of a stage; the first is the default."""
    names = list(declared()["stages"][stage])
    return ["everything", *names] if stage == "bottleneck" else names


def evaluations(row: Embedding, stage: str) -> list[Evaluation]:
    """Return how a row is scored: two budgets for choices, all evaluations for the report."""
    if stage == "development":
        return [Evaluation(budgets=(MAIN, 9 * MAIN))]
    probe: Any = "ridge"
    if row.kind.startswith("IDW"):
        probe = Interpolation(int(row.kind.split()[1]))
    if stage in MANY:
        found = [Evaluation(budgets=(MAIN, 9 * MAIN), probe=probe, near_ties=NEAR_TIES)]
        found.append(Evaluation("random", probe=probe, near_ties=NEAR_TIES))
        if stage == "growth":
            found.append(Evaluation(probe=probe, grid=Grid(2000.0), near_ties=NEAR_TIES))
        return found
    if stage == "bottleneck":
        return _bottleneck_evaluations(row)
    found = [replace(how, probe=probe) for how in STANDARD]
    checked = row.kind in ("harmonics", "GeoCLIP", "untrained", "coordinates", TRAINED)
    if checked and row.modalities in ((), ("satellite",), NAMES) and row.setting == SETTINGS[0]:
        found += ROBUSTNESS
    if row.kind == "coordinates":  # how much places alone predict with nonlinear probes
        found.remove(Evaluation(probe="neighbours"))
        found += [Evaluation(budgets=BUDGETS, probe="neighbours"), Evaluation(probe="trees")]
        found += [Evaluation("random", probe="neighbours"), Evaluation("random", probe="trees")]
    return found


def _bottleneck_evaluations(row: Embedding) -> list[Evaluation]:
    """Return how a row of the stage "bottleneck" is scored."""
    km = NEAR_NAME_KM if row.recipe.name == "near names" else None
    found = [
        Evaluation(budgets=(MAIN, 9 * MAIN), near_name_km=km, tasks=MAIN_TASKS),
        Evaluation("random", near_name_km=km, tasks=MAIN_TASKS),
    ]
    if row.recipe.name in ("everywhere", "near names"):
        nonlinear = ("elevation", "population (GPWv4)")
        found.append(Evaluation(probe="trees", near_name_km=km, tasks=nonlinear))
    return found
