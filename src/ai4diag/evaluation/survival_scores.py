"""What is estimated from predictions of a time to event.

Their columns: `time_days`, `event` (0 or 1) and `score`, the log risk. Optional, as lists: `survival`, the probability
to be without the event at the times `survival_days`, and `horizons_days`, those of these times that the estimates are
about; the two lists of times are the same in every line. Optional `risk_group`, 1 for the lowest; without it, thirds
of the scores.

There is no operating point: the answer is a risk and a curve, not yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.plan import OperatingPoint
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.bootstrap import Statistic
from ai4diag.evaluation.classification import Threshold
from ai4diag.evaluation.predictions import need, need_number, refuse
from ai4diag.evaluation.survival import Outcomes, integrate

Floats = npt.NDArray[np.float64]
LISTS = ("survival", "survival_days", "horizons_days")
AT_NAMES = ("auroc", "brier", "observed_to_predicted")
"""Estimated at each horizon, as `<name>_at_<days>_days`."""
FEW_EVENTS = 10
"""By a horizon."""
FEW_EVENTS_AT_ALL = 50
WORST = 20
GROUPS = 3
MOST_TICKS = 7
"""Times at which the numbers at risk are given, at most."""


class SurvivalScores:
    """Times and predictions of some cases, ready to be weighted.

    Args:
        rows: lines of the table of predictions.
        classes: what the end of observation without and with the event are called.
        thresholds: plays no part.
    """

    def __init__(self, rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> None:
        self._rows, self._classes = rows, tuple(classes)
        self._score = rows["score"].to_numpy(np.float64)
        self._outcomes = Outcomes(rows["time_days"], rows["event"])
        self._days, self._horizons = np.empty(0), np.empty(0)
        self._survival = np.empty((len(rows), 0))
        if "survival" in rows and len(rows):
            self._days, self._horizons = (np.asarray(rows[name].iloc[0], np.float64) for name in LISTS[1:])
            self._survival = np.stack([np.asarray(line, np.float64) for line in rows["survival"]])
        self._position = np.searchsorted(self._days, self._horizons)
        at = [(horizon_name(name, day), "all") for name in AT_NAMES for day in self._horizons]
        self.entries: tuple[tuple[str, str], ...] = (("c_index", "all"), ("c_index_uno", "all"))
        self.entries += (*at, ("brier_integrated", "all")) if len(self._days) else ()
        self.presence = np.stack([~self._outcomes.event, self._outcomes.event], axis=1)

    def statistic(self, entries: Sequence[tuple[str, str]]) -> Statistic:
        """Return the function of weights that a bootstrap of these entries needs."""
        names = [name for name, _ in entries]
        outcomes, score = self._outcomes, self._score

        def values(weights: Floats) -> Floats:
            found: dict[str, Floats] = {}
            if "c_index" in names:
                found["c_index"] = outcomes.concordance(score, weights)
            if "c_index_uno" in names:
                found["c_index_uno"] = outcomes.concordance(score, weights, uno=True, until_days=self._until())
            if any(name.startswith("brier") for name in names):
                brier = outcomes.brier(self._survival, self._days, weights)
                found["brier_integrated"] = integrate(brier, self._days)
            for day, position in zip(self._horizons, self._position, strict=True):
                wanted = {kind: horizon_name(kind, day) for kind in AT_NAMES}
                if wanted["auroc"] in names:
                    found[wanted["auroc"]] = outcomes.auroc(score, day, weights)
                if wanted["brier"] in names:
                    found[wanted["brier"]] = brier[:, position]
                if wanted["observed_to_predicted"] in names:
                    survival = self._survival[:, position]
                    found[wanted["observed_to_predicted"]] = outcomes.observed_to_predicted(survival, day, weights)
            return np.stack([found[name] for name in names], axis=1)

        return values

    def counted(self, name: str, group: str) -> npt.NDArray[np.bool_] | None:
        """Return nothing: no estimate here is a plain proportion."""
        return None

    def remark(self, name: str, value: float) -> str:
        """Return why a value is undefined, or why it would mislead; empty where neither."""
        time, event = self._outcomes.time, self._outcomes.event
        ends = {f"_at_{day:g}_days": float(day) for day in self._horizons} | {"brier_integrated": self._last()}
        day = next((day for end, day in ends.items() if name.endswith(end)), np.inf)
        events = int((event & (time <= day)).sum())
        longer = int((time > day).sum())
        by_then = f"{events} events by then, {longer} cases under observation longer" if np.isfinite(day) else ""
        if np.isnan(value):
            unknown = np.isfinite(day) and bool(np.isnan(self._survival[:, self._days == day]).any())
            if unknown and not name.startswith("auroc"):
                return "nobody of the training part was under observation so long"
            return by_then or f"no comparable pair: {events} events among {len(time)} cases"
        if events < (FEW_EVENTS if by_then else FEW_EVENTS_AT_ALL):
            return by_then or f"rests on only {events} event{'' if events == 1 else 's'}"
        return ""

    def curves(self) -> dict[str, Any]:
        """Return curves and tables for the report as plain lists.

        `groups`: per risk group its Kaplan-Meier curve (days, survival, low, high), cases, events and the mean
        predicted survival at the horizons; `ticks`, `at_risk` per group at these; `log_rank` (chi_square, p);
        `calibration`: per horizon and group predicted and observed share with the event; `brier`: days, model, and
        without a model (the Kaplan-Meier curve of the same cases as everybody's prediction); `worst`: events that the
        model thought least likely by then.
        """
        group = self._groups()
        ticks = _ticks(self._until() if np.isfinite(self._until()) else float(self._outcomes.time.max()))
        result: dict[str, Any] = {
            "ticks": ticks.tolist(),
            "groups": [self._group(name, group == name, ticks) for name in np.unique(group)],
            "log_rank": dict(zip(("chi_square", "p"), self._outcomes.log_rank(group), strict=True)),
            "horizons": self._horizons.tolist(),
            "worst": self._worst(),
        }
        if len(self._days):
            alone = self._outcomes.at(self._outcomes.kaplan_meier(), self._days)
            result["brier"] = {
                "days": self._days.tolist(),
                "model": self._outcomes.brier(self._survival, self._days)[0].tolist(),
                "nobody": self._outcomes.brier(np.repeat(alone, len(self._rows), 0), self._days)[0].tolist(),
            }
        return result

    def _until(self) -> float:
        return float(self._horizons[-1]) if len(self._horizons) else np.inf

    def _last(self) -> float:
        return float(self._days[-1]) if len(self._days) else np.inf

    def _groups(self) -> npt.NDArray[np.int64]:
        """Return the risk group of each case, 1 for the lowest."""
        if "risk_group" in self._rows:
            several = self._rows["risk_group"].to_numpy(np.float64)  # the mean of several models may lie between
            group: npt.NDArray[np.int64] = np.rint(several).astype(np.int64)
            return group
        limits = np.quantile(self._score, np.arange(1, GROUPS) / GROUPS)
        return 1 + np.searchsorted(limits, self._score, side="right")

    def _group(self, name: int, inside: npt.NDArray[np.bool_], ticks: Floats) -> dict[str, Any]:
        """Return what the report says of one risk group."""
        own = Outcomes(self._outcomes.time[inside], self._outcomes.event[inside])
        survival, low, high = own.greenwood()
        observed = own.at(survival[None], self._horizons)[0]
        last = own.time.max()
        return {
            "group": int(name),
            "cases": int(inside.sum()),
            "events": int(own.event.sum()),
            "days": [0.0, *own.distinct.tolist()],
            "survival": survival.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "at_risk": own.at_risk(ticks).tolist(),
            "observed": np.where((self._horizons > last) & (observed > 0), np.nan, observed).tolist(),
            "low_at": own.at(low[None], self._horizons)[0].tolist(),
            "high_at": own.at(high[None], self._horizons)[0].tolist(),
            "predicted": self._survival[inside][:, self._position].mean(axis=0).tolist(),
        }

    def _worst(self) -> list[dict[str, Any]]:
        """Return the events that the model thought least likely: by predicted survival then, else by score."""
        rows = np.flatnonzero(self._outcomes.event)
        time = self._outcomes.time[rows]
        if len(self._days):
            curve = np.column_stack([np.ones(len(self._rows)), self._survival])[rows]
            upto = np.searchsorted(self._days, time, side="right")
            then = np.where(time <= self._days[-1], curve[np.arange(len(rows)), upto], np.nan)
            rows, then = rows[~np.isnan(then)], then[~np.isnan(then)]
        else:
            then = -self._score[rows]
        chosen = rows[np.argsort(-then, kind="stable")[:WORST]]
        kept = [name for name in self._rows.columns if name not in ("part", "event", *LISTS)]
        lines = [{str(k): v for k, v in line.items()} for line in self._rows.iloc[chosen][kept].to_dict("records")]
        if len(self._days):
            said = np.sort(-then, kind="stable")[:WORST]
            lines = [{**line, "survival": -float(value)} for line, value in zip(lines, said, strict=True)]
        return lines


def horizon_name(name: str, day: float) -> str:
    """Return the name of an estimate at a horizon.

    >>> horizon_name("auroc", 1096.0)
    'auroc_at_1096_days'
    """
    return f"{name}_at_{day:g}_days"


def _ticks(until_days: float) -> Floats:
    """Return the times at which the numbers at risk are given: whole years from two years on."""
    years = until_days / 365.25
    if years < 2:
        return np.linspace(0, until_days, MOST_TICKS)
    every = np.ceil(round(years, 2) / (MOST_TICKS - 1))
    return np.minimum(np.arange(0, round(years, 2) + 0.01, every) * 365.25, until_days)


def check(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Refuse what are no predictions of a time to event; see `ai4diag.evaluation.targets.Scoring`."""
    if classes and len(classes) != 2:
        raise ConfigError(
            f"A time to event has two classes, found {len(classes)}.", "Name the end without, then with the event."
        )
    need(table, ("time_days", "event", "score"), where)
    need_number(table, "time_days", where)
    refuse(table["time_days"] < 0, table, "time_days", "a time of at least 0", where)
    refuse(~table["event"].isin([0, 1]), table, "event", "0 or 1", where)
    need_number(table, "score", where)
    if "risk_group" in table:
        need_number(table, "risk_group", where)
    if "survival" in table:
        _check_lists(table, where)


def _check_lists(table: pd.DataFrame, where: str) -> None:
    need(table, LISTS, where)
    for name in LISTS[1:]:
        first = np.asarray(table[name].iloc[0], np.float64)
        same = [np.array_equal(np.asarray(line, np.float64), first) for line in table[name]]
        refuse(~np.array(same), table, name, "the same times in every line", where)
        if first.ndim != 1 or not len(first) or first[0] <= 0 or (np.diff(first) <= 0).any():
            raise DataError(f"{where}: column '{name}': {first.tolist()!r} are no rising times after 0.")
    days, horizons = (np.asarray(table[name].iloc[0], np.float64) for name in LISTS[1:])
    if missing := sorted(set(horizons) - set(days)):
        raise DataError(
            f"{where}: survival is not predicted at the horizon {missing[0]:g}.", "Add it to survival_days."
        )
    curves = [np.asarray(line, np.float64) for line in table["survival"]]
    refuse([len(line) != len(days) for line in curves], table, "survival", f"{len(days)} numbers", where)
    outside = [bool(((line < 0) | (line > 1)).any()) for line in curves]
    refuse(outside, table, "survival", "probabilities within 0 and 1", where)
    if table["survival"].map(lambda line: np.isnan(np.asarray(line, np.float64)).tobytes()).nunique() > 1:
        raise DataError(
            f"{where}: survival is missing at other times in some lines.", "Predict the same times for all."
        )


def choose_threshold(
    validation: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str], rule: OperatingPoint
) -> Threshold:
    """Return that there is no operating point.

    Raises:
        ConfigError: the recipe asks for another than the default, which stands for none.
    """
    if rule.youden is None:
        raise ConfigError(
            "evaluate.operating_point: a time to event has none; the answer is a risk and a curve, not yes or no.",
            "Leave it out.",
        )
    return Threshold(float("nan"), "")


def scores(rows: pd.DataFrame, classes: Sequence[str], thresholds: Threshold) -> SurvivalScores:
    """Return the cases, ready to be weighted."""
    return SurvivalScores(rows, classes, thresholds)
