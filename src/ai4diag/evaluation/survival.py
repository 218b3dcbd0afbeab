"""Times to an event that is not always seen: survival curves, concordance, and errors of predicted probabilities.

A case is under observation for a time, which ends with the event or without it (censored). What censoring hides is
made up for by weights: a case of which something is known stands for those like it of which it is not known, by the
inverse of the probability to be still under observation (IPCW), taken from the same cases and the same weights.

Everything takes weights, `(n,)` or `(B, n)`, so that a bootstrap is one call: a case drawn twice weighs 2. The cases
are sorted once. Of equal times, events come before censoring, and an event is compared with a case that was censored
at the same time, not with another event.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ai4diag.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
WORTH_COMPILING = 4e9
"""Events x cases x resamples in one call from which numba is used."""
BLOCK = 4_000_000
"""Events x cases of a comparison that are held at once: 32 MB."""


class Outcomes:
    """Times under observation of some cases, sorted once.

    Args:
        time_days: `(n,)`, not negative.
        event: `(n,)`, 1 or True where observation ended with the event.

    Raises:
        DataError: the lengths differ, a time is negative or not finite, or an event is neither 0 nor 1.
    """

    def __init__(self, time_days: npt.ArrayLike, event: npt.ArrayLike) -> None:
        time, happened = np.asarray(time_days, np.float64), np.asarray(event)
        if time.shape != happened.shape or time.ndim != 1:
            raise DataError(f"Times have shape {time.shape} and events {happened.shape}; expected one each per case.")
        if not (np.isfinite(time) & (time >= 0)).all():
            raise DataError("A time under observation is negative or not a number.", "Give days from the start.")
        if not np.isin(happened, (0, 1)).all():
            raise DataError("Events must be 0 or 1.", "Code the event as 1, censoring as 0.")
        self.time, self.event = time, happened.astype(bool)
        self._order = np.lexsort((~self.event, time))
        self._sorted_time, self._sorted_event = time[self._order], self.event[self._order]
        self.distinct, self._starts = np.unique(self._sorted_time, return_index=True)
        self._group = np.searchsorted(self.distinct, time)

    def kaplan_meier(self, weights: npt.ArrayLike | None = None, *, censoring: bool = False) -> Floats:
        """Return the Kaplan-Meier estimate of the probability to be without the event (JASA 53:457, 1958).

        Args:
            weights: `(n,)` or `(B, n)`; None counts every case once.
            censoring: estimate the probability not to be censored instead; events then end observation, and come
                before censoring at the same time.

        Returns:
            `(B, times + 1)`: 1 before the first of `distinct`, then the value from each of them on.

        >>> Outcomes([1, 2, 3], [1, 0, 1]).kaplan_meier().round(3).tolist()
        [[1.0, 0.667, 0.667, 0.0]]
        """
        draws = self._draws(weights)
        ended, gone, at_risk = self._ended(draws)
        if censoring:
            at_risk, ended = at_risk - ended, gone - ended
        share = np.divide(ended, at_risk, out=np.zeros_like(ended), where=at_risk > 0)
        factor = np.where(share > 1 - 1e-12, 0.0, 1 - share)
        return np.cumprod(np.column_stack([np.ones(len(draws)), factor]), axis=1)

    def at(self, curve: Floats, days: npt.ArrayLike) -> Floats:
        """Return the values of a curve of `kaplan_meier` at `days` `(times,)`, `(B, times)`."""
        found: Floats = curve[:, np.searchsorted(self.distinct, days, side="right")]
        return found

    def greenwood(self) -> tuple[Floats, Floats, Floats]:
        """Return the Kaplan-Meier estimate and its 95 % band, `(times + 1,)` each.

        The band is Greenwood's variance on the scale of log(-log), which keeps it within 0 and 1 (Kalbfleisch and
        Prentice, The Statistical Analysis of Failure Time Data, 2002, section 1.4); NaN where the estimate is 0 or 1.
        """
        ended, _, at_risk = (part[0] for part in self._ended(self._draws(None)))
        survival = self.kaplan_meier()[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.cumsum(np.append(0.0, ended / (at_risk * (at_risk - ended))))
            spread = 1.959963984540054 * np.sqrt(terms) / np.log(survival)
            spread[(survival <= 0) | (survival >= 1)] = np.nan
            return survival, survival ** np.exp(-spread), survival ** np.exp(spread)

    def at_risk(self, days: npt.ArrayLike) -> Ints:
        """Return how many cases are still under observation just before `days` `(times,)`."""
        found: Ints = len(self.time) - np.searchsorted(self._sorted_time, days, side="left")
        return found

    def concordance(
        self,
        risk: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        uno: bool = False,
        until_days: float = np.inf,
        compiled: bool | None = None,
    ) -> Floats:
        """Return the share of comparable pairs in which who had the event first has the higher risk, ties half.

        A pair is comparable when the shorter time ended with the event. That is Harrell's C (Statistics in Medicine
        15:361, 1996), as in lifelines. Its value depends on how long cases were followed; Uno's C weighs each pair by
        the inverse squared probability not to be censored before the event (Statistics in Medicine 30:1105, 2011).

        Args:
            risk: `(n,)`, higher for an earlier event; any monotone transform gives the same.
            weights: `(n,)` or `(B, n)`; None counts every case once. A pair weighs the product of its cases.
            uno: weigh pairs as Uno does.
            until_days: events from this time on are not compared; where few are left, weights would explode.
            compiled: True or False to force numba or numpy, which agree to 1e-12; None chooses by size.

        Returns:
            `(B,)`, NaN without comparable pairs.

        >>> Outcomes([2, 4, 6], [1, 1, 0]).concordance([0.9, 0.1, 0.4]).tolist()
        [0.6666666666666666]
        """
        draws, order = self._draws(weights), self._order
        score = np.asarray(risk, np.float64)[order]
        factor = np.ones((1, len(order)))
        if uno:
            staying = self.kaplan_meier(draws, censoring=True)[:, self._group[order]]
            factor = np.divide(1.0, staying**2, out=np.zeros_like(staying), where=staying > 0)
        ordered = np.ascontiguousarray(draws[:, order])
        upto = int(np.searchsorted(self.distinct, until_days, side="left"))
        if compiled is None:
            compiled = int(self.event.sum()) * draws.size > WORTH_COMPILING
        if compiled:
            from ai4diag.evaluation import survival_kernels

            rank = np.unique(score, return_inverse=True)[1].astype(np.int64) + 1
            ends = np.append(self._starts[1:], len(order)).astype(np.int64)
            right, pairs = survival_kernels.concordance(ordered, factor, rank, self._sorted_event, ends, upto)
        else:
            right, pairs = self._compare(score, ordered, factor, self.distinct[:upto])
        with np.errstate(invalid="ignore"):
            found: Floats = np.where(pairs > 0, right / np.where(pairs > 0, pairs, 1), np.nan)
        return found

    def _compare(self, score: Floats, ordered: Floats, factor: Floats, times: Floats) -> tuple[Floats, Floats]:
        """Return the weight of the rightly ordered and of all comparable pairs, `(B,)` each, by matrices."""
        time, event = self._sorted_time, self._sorted_event
        early = np.flatnonzero(event & (time <= times[-1] if len(times) else np.zeros(len(time), bool)))
        right, pairs = np.zeros(len(ordered)), np.zeros(len(ordered))
        rows = max(1, BLOCK // max(len(time), 1))
        for own in np.split(early, range(rows, len(early), rows)):
            longer = (time > time[own, None]) | ((time == time[own, None]) & ~event)
            higher = np.sign(score[own, None] - score) / 2 + 0.5
            weight = ordered[:, own] * factor[:, own]
            right += (weight * (ordered @ (longer * higher).T)).sum(axis=1)
            pairs += (weight * (ordered @ longer.T.astype(np.float64))).sum(axis=1)
        return right, pairs

    def auroc(self, risk: npt.ArrayLike, day: float, weights: npt.ArrayLike | None = None) -> Floats:
        """Return the probability that who had the event by `day` has a higher risk than who had not, ties half.

        The cumulative/dynamic AUROC with inverse-probability-of-censoring weights (Uno et al., JASA 102:527, 2007).

        Returns:
            `(B,)`, NaN without an event by then, or without anybody under observation longer.
        """
        from ai4diag.evaluation.ranking import Ranking

        draws = self._draws(weights)
        known = self._known(draws, day)
        return Ranking(self.event & (self.time <= day), risk).areas(known)[0]

    def brier(self, survival: Floats, days: Floats, weights: npt.ArrayLike | None = None) -> Floats:
        """Return the mean squared error of predicted survival at each time, weighted for censoring.

        Source: Graf et al., Statistics in Medicine 18:2529, 1999. A constant 0.5 scores 0.25, 0 is perfect.

        Args:
            survival: `(n, times)`, predicted probability to be without the event.
            days: `(times,)`.
            weights: `(n,)` or `(B, n)`.

        Returns:
            `(B, times)`, NaN where a prediction is NaN, and where nobody can be under observation so long any more.
        """
        draws = self._draws(weights)
        staying = self.kaplan_meier(draws, censoring=True)
        before = staying[:, self._group]
        early = self.event[:, None] & (self.time[:, None] <= days)
        late = self.time[:, None] > days
        seen = np.divide(draws, before, out=np.zeros_like(draws), where=before > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = seen @ np.where(early, survival**2, 0) + draws @ np.where(late, (1 - survival) ** 2, 0) / self.at(
                staying, days
            )
            found: Floats = error / draws.sum(axis=1)[:, None]
        found[:, np.isnan(survival).any(axis=0)] = np.nan
        return found

    def observed_to_predicted(self, survival: Floats, day: float, weights: npt.ArrayLike | None = None) -> Floats:
        """Return the Kaplan-Meier share with the event by `day` over the mean predicted one; 1 is ideal.

        Args:
            survival: `(n,)`, predicted probability to be without the event at `day`.
            day: the time.
            weights: `(n,)` or `(B, n)`.

        Returns:
            `(B,)`, NaN where a prediction is NaN, where nobody is under observation so long, or nothing is predicted.
        """
        draws = self._draws(weights)
        observed = 1 - self.at(self.kaplan_meier(draws), [day])[:, 0]
        total = draws.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = observed / ((draws @ (1 - survival)) / total)
        reached = draws @ (self.time >= day).astype(np.float64)
        found[((reached == 0) & (observed < 1)) | ~np.isfinite(found)] = np.nan
        return found

    def log_rank(self, group: npt.ArrayLike) -> tuple[float, float]:
        """Return chi square and p value of the log-rank test that all groups have the same hazard (Mantel, 1966).

        NaN with fewer than two groups, or when groups without a common time cannot be compared.
        """
        from scipy.stats import chi2

        labels, codes = np.unique(np.asarray(group), return_inverse=True)
        if len(labels) < 2 or not self.event.any():
            return float("nan"), float("nan")
        member = (codes[:, None] == np.arange(len(labels))).astype(np.float64).T
        ended, _, at_risk = self._ended(member)  # a row per group
        total, deaths = at_risk.sum(axis=0), ended.sum(axis=0)
        share = at_risk / total
        difference = (ended - deaths * share).sum(axis=1)[:-1]
        spread = deaths * np.divide(total - deaths, total - 1, out=np.zeros_like(total), where=total > 1)
        covariance = np.diag((spread * share).sum(axis=1)) - (spread * share) @ share.T
        covariance = covariance[:-1, :-1]
        if np.linalg.matrix_rank(covariance) < len(covariance):
            return float("nan"), float("nan")
        value = float(difference @ np.linalg.solve(covariance, difference))
        return value, float(chi2.sf(value, len(labels) - 1))

    def _known(self, draws: Floats, day: float) -> Floats:
        """Return the weights at `day`: of who had the event, by its time; of who was longer under observation, as is.

        The weight of the latter is left out because it is the same for all; who was censored before weighs 0.
        """
        staying = self.kaplan_meier(draws, censoring=True)[:, self._group]
        early = self.event & (self.time <= day)
        seen = np.divide(draws, staying, out=np.zeros_like(draws), where=(staying > 0) & early)
        return seen + draws * (self.time > day)

    def _ended(self, draws: Floats) -> tuple[Floats, Floats, Floats]:
        """Return weights of events, of all whose time ends, and of those at risk, per distinct time `(B, times)`."""
        ordered = draws[:, self._order]
        if not len(self._starts):
            empty = np.zeros((len(draws), 0))
            return empty, empty, empty
        ended = np.add.reduceat(ordered * self._sorted_event, self._starts, axis=1)
        gone = np.add.reduceat(ordered, self._starts, axis=1)
        return ended, gone, np.cumsum(gone[:, ::-1], axis=1)[:, ::-1]

    def _draws(self, weights: npt.ArrayLike | None) -> Floats:
        given = np.ones(len(self.time)) if weights is None else np.asarray(weights, np.float64)
        return np.atleast_2d(given)


def integrate(values: Floats, days: Floats) -> Floats:
    """Return the mean of a curve over time by the trapezoid rule: `(B, times)` at `days` `(times,)` to `(B,)`.

    The curve is taken to be 0 at time 0, as is the Brier score of predictions that begin with certainty.
    """
    curve = np.column_stack([np.zeros(len(values)), values])
    area: Floats = np.asarray(np.trapezoid(curve, np.append(0.0, days), axis=1), np.float64)
    mean: Floats = area / float(days[-1])
    return mean
