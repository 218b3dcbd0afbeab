"""From raw features to the columns of a linear model or a network, with statistics of the training rows only.

A number becomes its standardised value, a category one 0/1 column per level, and a feature with missing values one
0/1 column more that says where. Everything that is learned is plain data, kept in `model.json`; only numpy is needed.

| case | what happens |
|---|---|
| missing number | the median of the training rows, and 1 in its `missing` column |
| missing category | the most frequent level of the training rows (the first of equally frequent ones), and 1 likewise |
| missing where the training rows are complete | filled as above; there is no column to say so |
| feature without any value in the training rows | left out |
| number that is constant in the training rows | centred, not scaled |
| level that is not in the training rows | 0 in all columns of the feature |

The same rules as scikit-learn's `SimpleImputer`, `MissingIndicator`, `StandardScaler` and
`OneHotEncoder(handle_unknown="ignore")`, with which the tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureEncoding:
    """What was learned about one feature.

    Attributes:
        name: name of the feature.
        kind: `number` or `category`.
        fill: what stands in for a missing value: raw units, or a level number. None: the feature is left out.
        missing: whether a column says where the feature is missing.
        centre, scale: mean and standard deviation (divisor n) of a filled number, in raw units.
        levels: level numbers of a category that the training rows hold, increasing.
        level_names: their names.
    """

    name: str
    kind: Literal["number", "category"]
    fill: float | None
    missing: bool = False
    centre: float = 0.0
    scale: float = 1.0
    levels: tuple[int, ...] = ()
    level_names: tuple[str, ...] = ()

    @classmethod
    def learn(cls, values: Array, feature: Mapping[str, Any]) -> FeatureEncoding:
        """Learn from the training rows of one feature.

        Args:
            values: `(cases,)` in raw units or level numbers, NaN where missing.
            feature: its entry in `prepared.json`: name, kind and, for a category, levels.
        """
        name, kind = feature["name"], feature["kind"]
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(name, kind, None)
        missing = len(known) < len(values)
        if kind == "category":
            levels, counts = np.unique(known.astype(np.int64), return_counts=True)
            names = tuple(str(feature["levels"][level]) for level in levels)
            return cls(
                name, kind, float(levels[counts.argmax()]), missing, levels=tuple(levels.tolist()), level_names=names
            )
        fill = float(np.median(known))
        filled = np.where(np.isnan(values), fill, values)
        scale = float(filled.std())
        constant = scale <= 10 * np.finfo(np.float64).eps * max(abs(fill), np.finfo(np.float64).tiny)
        return cls(name, kind, fill, missing, float(filled.mean()), 1.0 if constant else scale)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the feature becomes."""
        if self.fill is None:
            return ()
        values = (self.name,) if self.kind == "number" else tuple(f"{self.name}={name}" for name in self.level_names)
        return (*values, f"{self.name} missing") if self.missing else values

    def transform(self, values: Array) -> Array:
        """Return the columns `(cases, columns)` of `values` `(cases,)`."""
        if self.fill is None:
            return np.empty((len(values), 0))
        absent = np.isnan(values)
        filled = np.where(absent, self.fill, values)[:, None]
        if self.kind == "number":
            columns = (filled - self.centre) / self.scale
        else:
            columns = (filled == np.array(self.levels)).astype(np.float64)
        return np.hstack([columns, absent[:, None].astype(np.float64)]) if self.missing else columns


@dataclass(frozen=True)
class Encoding:
    """What was learned about all features of a table, in order."""

    features: tuple[FeatureEncoding, ...]

    @classmethod
    def learn(cls, table: Array, features: Sequence[Mapping[str, Any]]) -> Encoding:
        """Learn from training rows.

        Args:
            table: `(cases, features)` in raw units or level numbers, NaN where missing; training rows only.
            features: the entries of `prepared.json`, one per column of `table`.

        Raises:
            DataError: there are no rows, or no feature has a value.

        >>> age = {"name": "age", "kind": "number", "unit": "year"}
        >>> Encoding.learn(np.array([[50.0], [70.0], [np.nan]]), [age]).transform(np.array([[60.0]])).round(3).tolist()
        [[0.0, 0.0]]
        """
        encoding = cls(tuple(FeatureEncoding.learn(table[:, i], feature) for i, feature in enumerate(features)))
        if not encoding.columns:
            raise DataError(
                f"No feature has a value in the {len(table)} training rows.",
                "Check data.drop in pipeline.yaml and the columns of the dataset card.",
            )
        return encoding

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the encoded columns: `age`, `age missing`, `chest_pain=typical`, ..."""
        return tuple(column for feature in self.features for column in feature.columns)

    def transform(self, table: Array) -> Array:
        """Return `(cases, columns)` for `table` `(cases, features)`; never NaN."""
        return np.hstack([feature.transform(table[:, i]) for i, feature in enumerate(self.features)])

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain data, ready for JSON."""
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_list(cls, entries: Sequence[Mapping[str, Any]]) -> Encoding:
        """Read what `as_list` gave; numbers come back to the bit."""
        sequences = ("levels", "level_names")
        return cls(
            tuple(FeatureEncoding(**{**entry, **{key: tuple(entry[key]) for key in sequences}}) for entry in entries)
        )
