"""Encoding, compared with scikit-learn and with tables worked out by hand."""

import json

import numpy as np
import pytest
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ai4diag.errors import DataError
from ai4diag.files import to_json
from ai4diag.tasks.tabular.encoding import Encoding

from .cases import FEATURES, table

AGE, CHOLESTEROL, _, PAIN, SEX = FEATURES


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_numbers_match_scikit_learn() -> None:
    features, _, _ = table()
    train, test = features[:150], features[150:]
    encoding = Encoding.learn(train[:, :3], FEATURES[:3])
    imputer = SimpleImputer(strategy="median").fit(train[:, :3])
    scaler = StandardScaler().fit(imputer.transform(train[:, :3]))
    gaps = MissingIndicator(features="missing-only").fit(train[:, :3])
    assert encoding.columns == ("age", "cholesterol", "cholesterol missing", "oldpeak")
    for part in (train, test):
        ours = encoding.transform(part[:, :3])
        np.testing.assert_allclose(ours[:, [0, 1, 3]], scaler.transform(imputer.transform(part[:, :3])), atol=1e-12)
        np.testing.assert_array_equal(ours[:, [2]], gaps.transform(part[:, :3]))


def test_categories_match_scikit_learn() -> None:
    features, _, _ = table()
    train, test = features[:150, 3:], features[150:, 3:]
    encoding = Encoding.learn(train, FEATURES[3:])
    imputer = SimpleImputer(strategy="most_frequent").fit(train)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(imputer.transform(train))
    assert encoding.columns == (
        *("chest_pain=typical", "chest_pain=atypical", "chest_pain=none", "chest_pain missing"),
        *("sex=female", "sex=male"),
    )
    for part in (train, test):
        ours = encoding.transform(part)
        np.testing.assert_array_equal(ours[:, [0, 1, 2, 4, 5]], one_hot.transform(imputer.transform(part)))
        np.testing.assert_array_equal(ours[:, 3], np.isnan(part[:, 0]))


def test_by_hand() -> None:
    encoding = Encoding.learn(column(50, 70, np.nan), [AGE])
    spread = np.sqrt((100 + 100 + 0) / 3)
    expected = [[-10 / spread, 0], [10 / spread, 0], [0, 1]]
    np.testing.assert_allclose(encoding.transform(column(50, 70, np.nan)), expected)


def test_unseen_level_is_zero_in_all_columns() -> None:
    encoding = Encoding.learn(column(0, 0, 2), [PAIN])
    assert encoding.columns == ("chest_pain=typical", "chest_pain=none")
    assert encoding.transform(column(2, 1, 9)).tolist() == [[0, 1], [0, 0], [0, 0]]


def test_equally_frequent_levels_are_filled_with_the_first() -> None:
    encoding = Encoding.learn(column(1, 0, np.nan), [SEX])
    assert encoding.transform(column(np.nan)).tolist() == [[1, 0, 1]]


def test_feature_without_any_value_is_left_out() -> None:
    encoding = Encoding.learn(np.array([[50.0, np.nan], [60.0, np.nan]]), [AGE, CHOLESTEROL])
    assert encoding.columns == ("age",)
    assert encoding.transform(np.array([[55.0, 240.0]])).tolist() == [[0.0]]


def test_nothing_known_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="No feature has a value in the 2 training rows"):
        Encoding.learn(column(np.nan, np.nan), [AGE])


def test_gap_where_training_was_complete_is_filled_without_a_column() -> None:
    encoding = Encoding.learn(column(50, 60, 100), [AGE])
    assert encoding.columns == ("age",)
    np.testing.assert_array_equal(encoding.transform(column(np.nan)), encoding.transform(column(60)))


@pytest.mark.parametrize("value", [0.1, 0.0, -3e9, 1e-300])
def test_constant_number_is_centred_and_not_scaled(value: float) -> None:
    encoding = Encoding.learn(column(*[value] * 7), [AGE])
    np.testing.assert_allclose(encoding.transform(column(value, value + 2)), [[0], [2]], atol=1e-6)


def test_small_numbers_are_scaled() -> None:
    small = column(7e-5, 3e-5, 5e-5)
    encoding = Encoding.learn(small, [AGE])
    np.testing.assert_allclose(encoding.transform(small), StandardScaler().fit_transform(small))


def test_json_keeps_every_bit() -> None:
    features, _, _ = table()
    encoding = Encoding.learn(features[:150], FEATURES)
    again = Encoding.from_list(json.loads(to_json(encoding.as_list())))
    assert again == encoding
    np.testing.assert_array_equal(again.transform(features), encoding.transform(features))


def test_no_rows_give_no_rows() -> None:
    features, _, _ = table()
    assert Encoding.learn(features, FEATURES).transform(features[:0]).shape == (0, 10)
