"""From one modality to seven: the orders, the kin of each task, and the primary endpoints."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..modalities import ALL, NAMES
from .intervals import contrast, holm
from .scoring import INDEPENDENT
from .tables import pick, read_sums

if TYPE_CHECKING:
    import pandas as pd

_ONE = ("weather", "lights", "satellite", "elevation", "text", "landcover", "climate")
_TWO = ("landcover", "elevation", "weather", "lights", "satellite", "text", "climate")
ORDERS = (_ONE, _ONE[::-1], _TWO, _TWO[::-1])  # drawn at random, and reversed
# Modalities that contain a task's label, or were made from it or it from them: see the protocol.
KIN: dict[str, tuple[str, ...]] = dict.fromkeys(INDEPENDENT, ())
KIN |= {"turbidity": ("elevation",), "country": ("text",), "family": ("text",)}
KIN |= {
    "elevation": ("satellite", "elevation", "weather"),
    "biome": ("climate", "landcover", "weather"),
    "climate": ("elevation", "climate", "weather"),
}
# Chosen on the development half.
BEST_SINGLE = dict.fromkeys(INDEPENDENT, "landcover")
RESOLUTION, FAMILY = "20 degrees", "Sphere2Vec"


def embedding_of(modalities: Iterable[str], label: str = "20 degrees") -> str:
    """Return the name of an encoder of some modalities in :func:`read_growth`.

    Examples
    --------
    >>> embedding_of(["text", "lights"])
    'MELT lights+text, 20 degrees'
    """
    names = [name for name in ALL if name in set(modalities)]
    return f"{'MELT ' if len(names) > 1 else ''}{'+'.join(names)}, {label}"


def read_growth(**where: Any) -> "pd.DataFrame":
    """Return the sums of the stage "growth", by default in blocks at 729 labels.

    The column ``embedding`` tells families and resolutions of encoders apart:
    "MELT lights+text, 20 degrees".
    """
    sums = read_sums("growth")
    label = sums["recipe"].str.replace(r", (dropout|rate) .*", "", regex=True)
    made = (sums["method"] != "") | (sums["embedding"] == "untrained")
    sums["embedding"] = sums["embedding"].where(~made, sums["embedding"] + ", " + label)
    return pick(sums, recipe=None, **where)


def weigh(factors: Mapping[int, float], label: str = "20 degrees") -> dict[str, float]:
    """Return the weight of each embedding if sets of k modalities have the factor of k.

    It is averaged over the four orders.
    """
    weights: dict[str, float] = {}
    for order in ORDERS:
        for k, factor in factors.items():
            name = embedding_of(order[:k], label)
            weights[name] = weights.get(name, 0.0) + factor / len(ORDERS)
    return weights


def slope(label: str = "20 degrees") -> dict[str, float]:
    """Return the weight of each embedding in the slope of the score over the number of modalities.

    The slopes of the least-squares lines of the four orders are averaged.
    """
    sizes = range(1, len(ALL) + 1)
    middle = (len(ALL) + 1) / 2
    spread = sum((k - middle) ** 2 for k in sizes)
    return weigh({k: (k - middle) / spread for k in sizes}, label)


def along(label: str = "20 degrees") -> dict[int, dict[str, float]]:
    """Return the weight of each embedding in the mean over the orders, by number of modalities."""
    return {k: weigh({k: 1.0}, label) for k in range(1, len(ALL) + 1)}


def curve(
    sums: "pd.DataFrame",
    tasks: Iterable[str],
    lines: Mapping[str, Mapping[int, Mapping[str, float]]],
) -> "pd.DataFrame":
    """Return scores against the number of modalities.

    Parameters
    ----------
    sums : DataFrame
        From :func:`read_growth`.
    tasks : iterable of str
        "independent" is the mean over the independent tasks.
    lines : mapping of str to mapping of int to mapping of str to float
        By the name of a line and the number of modalities the weight of each embedding:
        ``{"one encoder": along(), "ensemble": {7: {"ensemble of 7, 20 degrees": 1.0}}}``.

    Returns
    -------
    DataFrame
        Columns task, embedding (the line), modalities, mean, low, high: as
        :func:`~earthtie_lite.results.charts.curves` takes them.
    """
    import pandas as pd

    rows = []
    for task in tasks:
        some = INDEPENDENT if task == "independent" else (task,)
        for name, points in lines.items():
            for k, weights in points.items():
                found = contrast(sums, dict.fromkeys(some, weights))
                rows.append((task, name, k, found["difference"], found["low"], found["high"]))
    return pd.DataFrame(rows, columns=["task", "embedding", "modalities", "mean", "low", "high"])


def endpoints(
    sums: "pd.DataFrame",
    best: Mapping[str, str] = BEST_SINGLE,
    label: str = RESOLUTION,
    family: str = FAMILY,
) -> "pd.DataFrame":
    """Return the five primary endpoints: difference, interval, p, and p corrected by Holm's method.

    Parameters
    ----------
    sums : DataFrame
        From :func:`read_growth`.
    best : mapping of str to str
        The best single modality of each independent task.
    label : str
        The resolution of endpoints 2 and 3: "20 degrees" or "40 degrees".
    family : str
        The other encoder of endpoint 5.
    """
    import pandas as pd

    seven = embedding_of(ALL, label)

    single = {t: {seven: 1.0, embedding_of([best[t]], label): -1.0} for t in INDEPENDENT}
    asked: dict[str, Any] = {"a modality more": slope()}
    asked["seven - best single"] = single
    asked["seven - ensemble"] = {seven: 1.0, f"ensemble of 7, {label}": -1.0}
    asked["finer: at seven - at three"] = gain("40 degrees")
    asked["another family: at seven - at three"] = gain(family)
    table = pd.DataFrame(
        {"endpoint": name, **contrast(sums, {t: w.get(t, w) for t in INDEPENDENT})}
        for name, w in asked.items()
    )
    return table.assign(holm=holm(table["p"]))


def gain(label: str) -> dict[str, float]:
    """Weight what an encoder gains over that of 20 degrees: at seven modalities minus at three."""
    at = {embedding_of(some, label): sign for some, sign in ((ALL, 1.0), (NAMES, -1.0))}
    return at | {embedding_of(some): -sign for some, sign in ((ALL, 1.0), (NAMES, -1.0))}
