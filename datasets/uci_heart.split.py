"""Make uci_heart.split.csv: FLamby's split of the four hospitals, as case names.

    python datasets/uci_heart.split.py FOLDER_OF_RAW_FILES > datasets/uci_heart.split.csv

FLamby (Fed-Heart-Disease, dataset.py) drops the columns slope, ca and thal and then every row with a missing value,
and divides each hospital with scikit-learn: 66 % train, seed 43, stratified by the binary label where both classes
have more than two rows. Cases are named `<hospital>-<row in the file, from 0001>`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
DROPPED = [10, 11, 12]
LABEL = 13


def parts(raw: Path) -> list[tuple[str, str]]:
    """Return case and part of every row in the split, in the order of the files."""
    pairs = []
    for hospital in HOSPITALS:
        rows = pd.read_csv(raw / f"processed.{hospital}.data", header=None, na_values="?")
        rows = rows.drop(columns=DROPPED).dropna()
        label = (rows[LABEL] > 0).astype(int)
        both = label.value_counts().reindex([0, 1], fill_value=0).min() > 2
        train, _ = train_test_split(
            range(len(rows)),
            train_size=0.66,
            test_size=1 - 0.66,
            random_state=43,
            shuffle=True,
            stratify=label if both else None,
        )
        learn = set(train)
        pairs += [
            (f"{hospital}-{number + 1:04d}", "train" if place in learn else "test")
            for place, number in enumerate(rows.index)
        ]
    return pairs


def text(raw: Path) -> str:
    """Return the content of uci_heart.split.csv."""
    return "case_id,part\n" + "".join(f"{case},{part}\n" for case, part in parts(raw))


if __name__ == "__main__":
    sys.stdout.write(text(Path(sys.argv[1])))
