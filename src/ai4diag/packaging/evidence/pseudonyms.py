"""What leaves of a run, and under which names: nothing that names a patient, everything that the numbers need.

A case, a patient, and every other unit becomes its rank among all of its kind, in sorted order and padded with zeros.
The bootstrap draws units in sorted order, so that the ranks give the same draws and the same numbers, to the last bit.
Columns that no number needs are dropped, free text and what a finding says about a case included.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.evaluate import MOST_VALUES, groups
from ai4diag.evaluation.predictions import EVERY_TASK
from ai4diag.evaluation.report import ReportContext
from ai4diag.types import Estimate, Finding

RECORD = (
    *("run_id", "pipeline", "variant", "words", "task", "target", "classes", "primary", "recipe", "created"),
    *("trained", "evaluated", "look", "model", "files"),
)
"""Facts of a run record that leave."""
BINDING = (
    *("git_commit", "git_dirty", "data_sha256", "dvc_lock_sha256", "environment_sha256", "seed", "version", "python"),
    *("platform", "cpus", "cpu_model", "gpu"),
)
"""What of `trained`, `evaluated` and the machine of a verdict leaves."""
VERDICT = (
    *("verdict", "reason", "when", "commit", "compared", "identical", "tolerance", "predictions_identical"),
    *("differences", "not_deterministic", "machine", "version"),
)
"""What of a verdict leaves."""
WITHHELD = "not in the pack: it may name cases"
CASE = "(a case)"
"""Stands for an identifier in a text."""
SHORTEST = 4
"""Characters of an identifier that is searched for; shorter ones are words like any other."""
SHORTEST_NUMBER = 6
"""Digits of an identifier that is a number; shorter ones are numbers like any other."""
_QUOTES = "\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e\u2013\u2014\u2026"
WORD = re.compile(r"[^\s<>\"'`,;:|()\[\]{}=/\\#&~+" + _QUOTES + "]+")
JOINT = re.compile(r"[._-]")
ENDING = re.compile(re.escape(CASE) + r"(?:\.\w+)+")
FOLDER = re.compile(r"(?<![\w.~:/)\]<-])(?:/[\w.@%+-]+){2,}/?|\b[A-Za-z]:\\[^\s\"']+|file:/+[^\s\"']+")
"""A path from the root of a machine, of its drive, or as an address of a file."""
MOST_PARTS = 24
"""Parts of a word that are looked at in every combination; what has more is no file's name."""


@dataclass(frozen=True)
class Pseudonyms:
    """Ranks that stand for names.

    Attributes:
        cases: case_id to its rank.
        groups: `attribute=value` to `attribute=rank`, where the values of an attribute name patients.
        hidden: identifiers of cases and patients, which must not be in the pack.
        apart: sites and texts that tell patients apart and are left out; the authors of a card may name them.
    """

    cases: Mapping[str, str]
    groups: Mapping[str, str]
    hidden: frozenset[str]
    apart: frozenset[str]


def columns(target: str, classes: Sequence[str], table: pd.DataFrame, plan: Evaluate) -> list[str]:
    """Return the columns that scoring, subgroups, the bootstrap and the parts need, in the order of the table.

    Raises:
        ConfigError: it is not known what this target needs.
    """
    scores = [f"score_{name}" for name in classes]
    boxes = ["truth_boxes", "truth_labels", "truth_ignore", "boxes", "labels", "scores"]
    own = {
        "binary": ["truth", "score"],
        "multiclass": ["truth", *scores],
        "ordinal": ["truth", *scores],
        "multilabel": [*(f"truth_{name}" for name in classes), *scores],
        "masks": ["truth_runs", "runs", "shape", "spacing_mm"],
        "boxes": ["size_0", "size_1", "size_2", *boxes],
        "time_to_event": ["time_days", "event", "score", "survival", "survival_days", "horizons_days", "risk_group"],
    }
    if target not in own:
        raise ConfigError(f"It is not known which columns the target '{target}' needs in an evidence pack.")
    wanted = {*EVERY_TASK, *own[target], plan.interval.unit, *plan.subgroups}
    return [str(name) for name in table if name in wanted]


def pseudonymise(
    table: pd.DataFrame, *, target: str, classes: Sequence[str], plan: Evaluate
) -> tuple[pd.DataFrame, Pseudonyms]:
    """Return the predictions with ranks for names and without what no number needs; and what stands for what.

    The lines keep their order, because sums depend on it in their last bit. Of a number that is cut into bands only the
    band is kept.
    """
    unit = plan.interval.unit
    found = table[columns(target, classes, table, plan)].reset_index(drop=True)
    named = {"case_id", "patient_id", unit} | {name for name in plan.subgroups if _tells_apart(table, name)}
    renamed: dict[str, str] = {}
    for name in sorted(named):
        codes = ranks(table[name])
        if name in plan.subgroups:
            renamed |= {f"{name}={old}": f"{name}={new}" for old, new in codes.items()}
        found[name] = found[name].map(codes)
    for name in {*plan.subgroups} - named:
        if _banded(table, name):
            found[name] = _bands(found, name)
    left_out = [name for name in table if name not in found and _names_patients(table, str(name))]
    names = Pseudonyms(
        {str(old): new for old, new in ranks(table["case_id"]).items()},
        renamed,
        frozenset(identifiers(value for name in named for value in table[name].unique())),
        frozenset(
            identifiers(value for name in [*left_out, *_hidden_site(table, plan)] for value in table[name].unique())
        ),
    )
    return found, names


def _banded(table: pd.DataFrame, name: str) -> bool:
    return pd.api.types.is_numeric_dtype(table[name]) and table[name].nunique() > MOST_VALUES


def _bands(table: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return the bands of a number in the test part, in words; nothing elsewhere, where no number needs them."""
    bands = pd.Series(None, index=table.index, dtype=object)
    test = table["part"] == "test"
    rows = table.index[test].to_numpy()
    for label, inside in groups(table.loc[test, name]):
        if label != "missing":
            bands[rows[inside]] = label
    return bands


def _hidden_site(table: pd.DataFrame, plan: Evaluate) -> list[str]:
    return ["site"] if "site" in table and "site" not in plan.subgroups else []


def ranks(values: pd.Series[Any]) -> dict[Any, str]:
    """Return each value with its rank from 1 in sorted order, as a text whose order is the same.

    >>> ranks(pd.Series(["b", "a", "b"]))
    {'a': '1', 'b': '2'}
    """
    different = np.unique(values.dropna().to_numpy()).tolist()
    digits = len(str(len(different)))
    return {value: f"{rank:0{digits}d}" for rank, value in enumerate(different, start=1)}


def _names_patients(table: pd.DataFrame, name: str) -> bool:
    """Whether an attribute of texts or whole numbers tells patients apart, so that its values are names."""
    return name in table and not pd.api.types.is_float_dtype(table[name]) and _tells_apart(table, name)


def _tells_apart(table: pd.DataFrame, name: str) -> bool:
    """Whether most values of an attribute are of one patient alone, so that they say who it is.

    A number of many values is cut into bands and does not; nor do lists of numbers.
    """
    if table[name].map(np.ndim).any() or _banded(table, name):
        return False
    patients = table.groupby(name, observed=True)["patient_id"].nunique()
    return bool((patients <= 1).mean() > 0.5)


def rename(estimates: Iterable[Estimate], names: Pseudonyms) -> list[Estimate]:
    """Return the estimates with the subgroups called as in the pack."""
    return [replace(item, subgroup=names.groups.get(item.subgroup, item.subgroup)) for item in estimates]


def pack_context(context: ReportContext, plan: Evaluate, names: Pseudonyms) -> ReportContext:
    """Return what a report says beside the estimates, without names of sites and without what findings name."""
    sites = sorted({line.site for line in context.parts})
    kept = "site" in plan.subgroups and not any(group.startswith("site=") for group in names.groups)
    hidden = {} if kept else {old: f"site {rank}" for rank, old in enumerate(sites, start=1)}
    parts = tuple(replace(line, site=hidden.get(line.site, line.site)) for line in context.parts)
    counts = Counter((finding.level, finding.code, finding.waived) for finding in context.findings)
    findings = tuple(
        Finding(level, code, "the data", f"{count} of this kind", WITHHELD, "Ask whoever made the pack.", waived=waived)
        for (level, code, waived), count in counts.items()
    )
    hashes = {
        "predictions with identifiers (not in the pack)" if name.startswith("predictions ") else name: value
        for name, value in context.hashes.items()
    }
    bare = replace(context, picture=None, volume=None, scan=None)
    return replace(bare, parts=parts, findings=findings, hashes=hashes)


def pack_record(record: Mapping[str, Any], headline: Estimate) -> dict[str, Any]:
    """Return the facts of a run that leave, and its headline."""
    facts = {name: record[name] for name in RECORD if name in record}
    for name in ("trained", "evaluated"):
        facts[name] = _only(record.get(name) or {}, BINDING)
    return facts | {"headline": headline.as_dict()}


def pack_verdicts(verdicts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what verifications found, without what does not leave."""
    found = []
    for verdict in verdicts:
        kept = _only(verdict, VERDICT)
        if "machine" in kept:
            kept["machine"] = _only(kept["machine"] or {}, BINDING)
        found.append(kept)
    return found


def _only(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def without_paths(value: Any, paths: Mapping[str, str]) -> Any:
    """Return plain values in which folders of this machine are replaced: known ones, the longest first, then any.

    >>> without_paths("toy --set data.folder=/mnt/pacs/smith of /home/me/x, see https://a.b/c/d", {"/home/me": "~"})
    'toy --set data.folder=(a folder) of ~/x, see https://a.b/c/d'
    """
    if isinstance(value, str):
        for path in sorted(paths, key=len, reverse=True):
            value = value.replace(path, paths[path])
        return FOLDER.sub("(a folder)", value)
    if isinstance(value, Mapping):
        return {key: without_paths(item, paths) for key, item in value.items()}
    return [without_paths(item, paths) for item in value] if isinstance(value, (list, tuple)) else value


def identifiers(values: Iterable[Any]) -> set[str]:
    """Return those values that can be searched for: long enough to be no common word or number."""
    texts = {str(value).strip() for value in values}
    return {text for text in texts if len(text) >= (SHORTEST_NUMBER if text.isdecimal() else SHORTEST)}


def count_named(text: str, names: frozenset[str]) -> int:
    """Return how many of these identifiers stand in a text: as words of their own, or as parts of a file's name."""
    words = set(WORD.findall(text)) if names else set()
    return len({name for word in words for name in _named(word, names)}) + sum(
        name in text for name in _of_several_words(names)
    )


def _named(word: str, names: frozenset[str]) -> list[str]:
    """Return the identifiers in a word: the whole, or what stands between its dots, lines and dashes.

    Of parts only those with a digit count, and of a number none; others are words and decimals like any other.

    >>> _named("mask_scan-007.nii.gz", frozenset({"scan-007", "mask"}))
    ['scan-007']
    """
    bare = word.strip(".!?*_")
    if {word, bare} & names:
        return [bare if bare in names else word]
    joints = [found.start() for found in JOINT.finditer(word)]
    if not 0 < len(joints) < MOST_PARTS or not any(map(str.isalpha, word)):
        return []
    begins, ends = [0, *(joint + 1 for joint in joints)], [*joints, len(word)]
    parts = {word[begin:end] for begin in begins for end in ends if begin < end} & names
    file = bare.rpartition(".")[0]
    return sorted((part for part in parts if part == file or any(map(str.isdigit, part))), key=len, reverse=True)


@lru_cache(maxsize=8)
def _of_several_words(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted((name for name in names if WORD.fullmatch(name) is None), key=len, reverse=True))


def masked(value: Any, names: frozenset[str]) -> Any:
    """Return plain values in which identifiers that stand as words of their own are replaced.

    >>> masked({"pitfalls": ["scan-007.png is empty."]}, frozenset({"scan-007"}))
    {'pitfalls': ['(a case) is empty.']}
    """
    if isinstance(value, str):
        if not count_named(value, names):
            return value
        for name in _of_several_words(names):
            value = value.replace(name, CASE)
        return WORD.sub(lambda word: _masked_word(word[0], names), value)
    if isinstance(value, Mapping):
        return {key: masked(item, names) for key, item in value.items()}
    return [masked(item, names) for item in value] if isinstance(value, (list, tuple)) else value


def _masked_word(word: str, names: frozenset[str]) -> str:
    """Return a word without identifiers, and without the ending of a file that is called like one."""
    for name in _named(word, names):
        word = word.replace(name, CASE)
    return ENDING.sub(CASE, word)


def refuse_identifiers(texts: Mapping[str, str], names: frozenset[str], paths: Iterable[str]) -> None:
    """Refuse texts that hold an identifier as a word of its own, or a folder of this machine.

    Args:
        texts: path in the pack to content.
        names: identifiers, as `identifiers` gives them.
        paths: what must not occur at all.

    Raises:
        DataError: the file is named and how many there are; not the identifiers, because errors are copied and sent.
    """
    for where, text in texts.items():
        count = count_named(text, names)
        if count:
            raise DataError(
                f"{where} of the evidence pack would name {count} cases, patients or sites.",
                "Remove them from README.md, the dataset card or the answers; nothing was written.",
            )
        if any(path in text for path in paths if path):
            raise DataError(
                f"{where} of the evidence pack would name a folder, the user or the name of this machine.",
                "Remove it from README.md, the dataset card, --set or the answers; nothing was written.",
            )
