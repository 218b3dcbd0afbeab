"""Checks of lesson 2, against scikit-learn and DVC's own rule; and the usual mistakes by name."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

from ai4diag.config.card import load_card
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m02 import XRAYS, BySite, Copies, Licence, Split, Stale
from ai4diag.data.catalogue import get
from ai4diag.errors import DataError
from tests.conftest import ROOT

SEEDS = range(4)


def crosses(exercise, seed, root=ROOT, **names):
    """Return the names of what is not met."""
    return [item.name for item in examine(exercise, names, root, seed) if not item.met]


# --- the split


def grouped_split(patient, test_share, seed):
    """Divide with scikit-learn."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=test_share, random_state=seed)
    _, test = next(splitter.split(patient, groups=patient))
    return ["test" if place in set(test) else "train" for place in range(len(patient))]


@pytest.mark.parametrize("seed", SEEDS)
def test_scikit_learns_split_by_group_passes(seed):
    assert crosses(Split(), seed, grouped_split=grouped_split) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_splits_fail_by_name(seed):
    def by_case(patient, test_share, seed):
        return np.where(np.random.default_rng(seed).random(len(patient)) < test_share, "test", "train").tolist()

    def share_of_cases(patient, test_share, seed):  # those with the most cases first, until enough cases are test
        counts = pd.Series(patient).value_counts().sample(frac=1, random_state=seed).sort_values(ascending=False)
        test = set(counts.index[counts.cumsum() <= test_share * len(patient)])
        return ["test" if person in test else "train" for person in patient]

    def whom_chance_takes(patient, test_share, seed):  # so that now and then the share is right
        random = np.random.default_rng(seed)
        test = {person for person in sorted(set(patient)) if random.random() < test_share}
        return ["test" if person in test else "train" for person in patient]

    def always_the_same(patient, test_share, seed):
        return grouped_split(patient, test_share, 0)

    def never_the_same(patient, test_share, seed):
        return grouped_split(patient, test_share, None)

    assert "no patient is in two parts" in crosses(Split(), seed, grouped_split=by_case)
    for wrong in (share_of_cases, whom_chance_takes):
        assert any("of the patients are test" in name for name in crosses(Split(), seed, grouped_split=wrong))
    assert crosses(Split(), seed, grouped_split=always_the_same) == ["other seeds give other splits"]
    assert crosses(Split(), seed, grouped_split=never_the_same) == ["the same seed gives the same split"]


def test_texts_of_numpy_are_texts():
    def as_array(patient, test_share, seed):
        return np.array(grouped_split(patient, test_share, seed))

    assert crosses(Split(), 0, grouped_split=as_array) == []


# --- copies of pictures


@pytest.fixture(scope="module")
def xrays(tmp_path_factory, mirror):
    """A folder with the pictures where a workspace has them."""
    root = tmp_path_factory.mktemp("xrays")
    get(load_card(ROOT / "datasets" / "pneumoniamnist_reconstructed.yaml"), root / "data", mirror)
    assert (root / XRAYS).is_file()
    return root


def find_copies(pictures, limit=0.98):
    """Compare standardised pictures one by one."""
    flat = {name: (picture - picture.mean()) / picture.std() for name, picture in pictures.items()}
    names = sorted(flat)
    return [(a, b) for at, a in enumerate(names) for b in names[at + 1 :] if (flat[a] * flat[b]).mean() > limit]


@pytest.mark.parametrize("seed", SEEDS)
def test_likeness_finds_the_planted_copies(seed, xrays):
    assert crosses(Copies(), seed, xrays, find_copies=find_copies) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_two_pairs_are_planted_and_no_real_copy_is_among_them(seed, xrays):
    given = Copies().draw(np.random.default_rng(seed), xrays)["pictures"]
    assert len(given) == 26
    assert len(find_copies({name: np.array(picture, float) for name, picture in given.items()}, 0.96)) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_searches_fail_by_name(seed, xrays):
    def by_hash(pictures):
        seen = {}
        for name, picture in pictures.items():
            seen.setdefault(hashlib.sha256(picture.tobytes()).hexdigest(), []).append(name)
        return [tuple(names) for names in seen.values() if len(names) == 2]

    def both_ways(pictures):
        return [pair for a, b in find_copies(pictures) for pair in ((a, b), (b, a))]

    fainter = "the copy with another brightness is found"
    assert crosses(Copies(), seed, xrays, find_copies=by_hash) == [fainter]
    assert crosses(Copies(), seed, xrays, find_copies=lambda pictures: find_copies(pictures, 0.7)) == [
        "nobody else is named"
    ]
    assert crosses(Copies(), seed, xrays, find_copies=both_ways) == ["each pair is named once"]
    assert fainter in crosses(Copies(), seed, xrays, find_copies=lambda pictures: [])


def test_without_the_data_it_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="catch-up m02"):
        Copies().draw(np.random.default_rng(0), tmp_path)


# --- hospital by hospital


def by_site(score, truth, site):
    groups = pd.DataFrame({"score": score, "truth": truth, "site": site}).groupby("site")
    return {
        name: roc_auc_score(own["truth"], own["score"]) if own["truth"].nunique() == 2 else math.nan
        for name, own in groups
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_scikit_learns_auroc_by_hospital_passes(seed):
    assert crosses(BySite(), seed, by_site=by_site) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_score_that_is_drawn_knows_the_hospital_and_not_the_disease(seed):
    given = BySite().draw(np.random.default_rng(seed), ROOT)
    assert roc_auc_score(given["truth"], given["score"]) > 0.7
    own = by_site(*(np.array(given[name]) for name in ("score", "truth", "site")))
    assert all(0.3 < own[name] < 0.7 for name in ("aalborg", "brno"))


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_aurocs_fail_by_name(seed):
    def pooled(score, truth, site):
        return dict.fromkeys(np.unique(site).tolist(), roc_auc_score(truth, score))

    def half_where_undefined(score, truth, site):
        return {name: 0.5 if math.isnan(value) else value for name, value in by_site(score, truth, site).items()}

    def without_the_undefined(score, truth, site):
        return {name: value for name, value in by_site(score, truth, site).items() if not math.isnan(value)}

    undefined = ["cork, where all are ill, is NaN (undefined)", "delft, where all are well, is NaN (undefined)"]
    assert len(crosses(BySite(), seed, by_site=pooled)) == 4
    assert crosses(BySite(), seed, by_site=half_where_undefined) == undefined
    assert crosses(BySite(), seed, by_site=without_the_undefined)[1:] == undefined


# --- licences


def may_sell(licence):
    if not licence or "-NC" in licence:
        return "no"
    return "ask" if licence.endswith(("-SA-4.0", "-ND-4.0")) or licence.startswith("LicenseRef") else "yes"


def test_the_rules_pass_and_agree_with_the_shipped_cards():
    fixed = {"LicenseRef-NCBI-terms": "ask"}
    assert crosses(Licence(), 0, may_sell=lambda licence: fixed.get(licence) or may_sell(licence)) == []
    cards = [load_card(path) for path in sorted((ROOT / "datasets").glob("*.yaml"))]
    known = {licence: said for licence, said, _ in Licence.KNOWN}
    said = {card.name: known[card.licence.id] for card in cards if card.licence.id in known}
    assert len(said) > 30
    assert {name for name, word in said.items() if word == "no"} == {
        card.name for card in cards if not card.licence.commercial
    }


def test_wrong_readings_fail_by_name():
    assert crosses(Licence(), 1, may_sell=may_sell) == [
        "LicenseRef-NCBI-terms: own terms are a question, and NCBI is not NC"
    ]
    optimist = crosses(Licence(), 1, may_sell=lambda licence: "yes")
    assert "an empty text: no licence is no permission" in optimist
    assert "CC-BY-NC-4.0: non-commercial is no" in optimist
    first_sa = crosses(
        Licence(), 1, may_sell=lambda licence: "ask" if "SA" in licence.split("-") else may_sell(licence)
    )
    assert "CC-BY-NC-SA-4.0: non-commercial is no, whatever else it says" in first_sa


# --- stages that are out of date


def stale(stages, now):
    return sorted(
        name
        for name, stage in stages.items()
        if any(path not in now or now[path] != md5 for kind in ("deps", "outs") for path, md5 in stage[kind].items())
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_stages_whose_files_differ_pass(seed):
    assert crosses(Stale(), seed, stale=stale) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_stages_fail_by_name(seed):
    def and_what_follows(stages, now):
        direct = {name.partition("@")[2] for name in stale(stages, now)}
        return sorted(name for name in stages if name.partition("@")[2] in direct)

    def only_what_is_read(stages, now):
        return stale({name: stage | {"outs": {}} for name, stage in stages.items()}, now)

    def gone_is_fine(stages, now):
        return stale(stages, {path: md5 for stage in stages.values() for path, md5 in stage["outs"].items()} | now)

    need_not = "what `train` reads is as it was: it need not run"
    assert need_not in crosses(Stale(), seed, stale=and_what_follows)
    both = "cases that changed: who wrote them and who reads them must run"
    assert both in crosses(Stale(), seed, stale=only_what_is_read)
    assert "a model that is gone: its `train` must run" in crosses(Stale(), seed, stale=gone_is_fine)
    everything = crosses(Stale(), seed, stale=lambda stages, now: sorted(stages))
    assert "nothing changed: nothing must run" in everything
