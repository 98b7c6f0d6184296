"""A scikit-learn transformer: places in, embeddings out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..coords import Array
from ..features import Features
from ..places import as_frame, lonlat_of
from .tables import Embeds, as_model, column_names, embed_places

if TYPE_CHECKING:
    import pandas as pd


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed places as a step of a scikit-learn pipeline; ``fit`` only loads the model.

    To score a blocked split, pass ``groups=block_ids(lonlat, block_size(lonlat))`` and
    ``cv=GroupKFold(5)`` to ``cross_val_score``: :func:`~earthtie_lite.coords.block_ids` numbers
    blocks whose size suits the places (:func:`~earthtie_lite.coords.block_size`).
    ``Pipeline(memory=)`` embeds each fold only once in a search over later steps.

    Parameters
    ----------
    model : str, Path or object with a method ``embed``
        As :func:`~earthtie_lite.runs.load_pretrained` takes it, or a model.
    columns : pair of str or int, optional
        The columns of longitude and latitude, by label or position; other columns are dropped (a
        ``ColumnTransformer`` keeps them). By default the two columns of an array, and the geometry
        or the columns with usual names of a table, as in
        :func:`~earthtie_lite.places.lonlat_of`.

    Attributes
    ----------
    model_ : object with a method ``embed``
    n_features_in_ : int
        Number of columns seen in :meth:`fit`.
    feature_names_in_ : array of str
        Their names, if all are text.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> probe = make_pipeline(Embedder("melt"), Ridge())
    >>> cities = np.array([[13.4, 52.5], [-60.0, -3.1], [31.2, 30.0]])
    >>> probe.fit(cities, [9.5, 26.7, 21.4]).predict(cities).shape
    (3,)
    """

    def __init__(
        self, model: str | Path | Embeds = "earth", columns: Sequence[str | int] | None = None
    ) -> None:
        self.model = model
        self.columns = columns

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the model and check the places.

        Parameters
        ----------
        X : array, shape (N, C), table or points
        y : ignored

        Raises
        ------
        ValueError
            If the columns are not found or a place is invalid; the message names the row.
        """
        places = self._places(X, reset=True)
        self.model_ = as_model(self.model)
        self._n_features_out = embed_places(self.model_, places[:1]).shape[1]
        return self

    def transform(self, X: Any) -> Features:
        """Return the embeddings (N, D), float32, of places in the same columns as in ``fit``."""
        check_is_fitted(self)
        return embed_places(self.model_, self._places(X, reset=False))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the column names: e000, e001, ..."""
        checked = super().get_feature_names_out(input_features)
        return np.asarray(column_names(len(checked)), dtype=object)

    def _places(self, X: Any, reset: bool) -> Array:
        """Return the places in X after scikit-learn has checked or recorded its columns."""
        import pandas as pd

        columns = self.columns
        if hasattr(X, "columns") or hasattr(X, "to_frame"):
            X = as_frame(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            X = validate_data(
                self,
                X,
                reset=reset,
                dtype=np.float64,
                ensure_all_finite=False,  # lonlat_of names the row
                ensure_min_features=2 if reset else 1,
            )
            if columns is None and X.shape[1] != 2:
                raise ValueError(
                    f"expected two columns, longitude and latitude, got {X.shape[1]}: say which "
                    "(columns), for example (0, 1)"
                )
            X, columns = pd.DataFrame(X), columns or (0, 1)
        return lonlat_of(X, *((None, None) if columns is None else _labels(X, columns)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # the output is always float32
        return tags


def _labels(table: "pd.DataFrame", columns: Sequence[str | int]) -> tuple[Any, Any]:
    """Return the labels of a pair of columns; integers are positions."""
    if isinstance(columns, str) or len(columns) != 2:
        raise ValueError(f"columns must be a pair, longitude and latitude, got {columns!r}")
    names = list(table.columns)
    try:
        lon, lat = (names[c] if isinstance(c, (int, np.integer)) else c for c in columns)
    except IndexError:
        raise ValueError(f"columns {columns!r} are not among the columns {names}") from None
    return lon, lat
