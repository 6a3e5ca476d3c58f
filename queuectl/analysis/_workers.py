"""Does one worker fail more than the others on the same commands?"""

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
import pandas as pd

from queuectl.analysis._intervals import normal_quantile, share, wilson
from queuectl.analysis._rows import Bools, Floats, Groups, Ints, count, ends, group
from queuectl.analysis._tables import ranked, table

ENOUGH = 30
"""Comparable runs that a worker and the rest need each before anything is flagged."""

_SCHEMA = {
    "n": "int64",
    "failed": "int64",
    "comparable": "int64",
    "rate": "float64",
    "lo": "float64",
    "hi": "float64",
    "rest_n": "int64",
    "rest_rate": "float64",
    "rest_lo": "float64",
    "rest_hi": "float64",
    "diff": "float64",
    "diff_lo": "float64",
    "diff_hi": "float64",
    "p": "float64",
    "flag": pd.CategoricalDtype(["", "worse", "better"]),
}


def by_worker(
    runs: pd.DataFrame, by: str = "worker_id", *, strata: str = "command", confidence: float = 0.95
) -> pd.DataFrame:
    """Each worker's share of failing runs against that of the rest on the same commands.

    Compared are only runs of commands that both the worker and others ran. The rest's share is weighted to
    the worker's mix of commands (direct standardisation), so that a worker is not blamed for a hard command.
    The intervals hold for all workers together (Šidák), and a worker is flagged only where its interval and
    the rest's part and both have at least 30 comparable runs.

    Args:
        runs: DataFrame, one row per run, any subset.
        by: what to compare, such as "worker_id", or a column of hosts.
        strata: what must be alike. Where every command is different, give a column with the command's kind.
        confidence: that no worker is flagged by chance when all are alike.

    Returns:
        One row per worker: the column `by`, n and failed (all charged runs), comparable (runs on commands
        that others ran too), rate, lo, hi (Wilson, of the comparable runs), rest_n, rest_rate, rest_lo,
        rest_hi (weighted; MOVER), diff = rate − rest_rate, diff_lo, diff_hi (Newcombe's hybrid score), p
        (Cochran–Mantel–Haenszel, two-sided, not corrected for several workers), flag (worse, better or
        empty); flagged ones first, then the largest diff.

    Raises:
        InvalidValue: a column is missing.
    """
    succeeded, failed = ends(runs)
    charged = succeeded | failed
    rows, bad = runs[charged], failed[charged]
    workers, kinds = group(rows, by), group(rows, strata)
    cells = _Cells.of(workers, kinds, bad)
    n, x = cells.summed(cells.n), cells.summed(cells.x)
    rest_n = cells.summed(cells.rest_n)
    z = normal_quantile(_each(confidence, int(((n >= ENOUGH) & (rest_n >= ENOUGH)).sum())))
    rate = share(x, n)
    lo, hi = wilson(x, n, z)
    rest, rest_lo, rest_hi = cells.standardised(n, z)
    below, above = np.hypot(rate - lo, rest_hi - rest), np.hypot(hi - rate, rest - rest_lo)
    enough = (n >= ENOUGH) & (rest_n >= ENOUGH)
    worse, better = enough & (lo > rest_hi), enough & (hi < rest_lo)
    values = {
        "n": count(workers.codes, workers.count),
        "failed": count(workers.codes[bad], workers.count),
        "comparable": n,
        "rate": rate,
        "lo": lo,
        "hi": hi,
        "rest_n": rest_n,
        "rest_rate": rest,
        "rest_lo": rest_lo,
        "rest_hi": rest_hi,
        "diff": rate - rest,
        "diff_lo": rate - rest - below,
        "diff_hi": rate - rest + above,
        "p": cells.association(),
        "flag": np.select([worse, better], ["worse", "better"], "").astype(object),
    }
    rank = table(workers.keys, _SCHEMA, values).assign(_flagged=worse | better)
    return ranked(rank, down=["_flagged", "diff"], then=[by]).drop(columns="_flagged")


def _each(confidence: float, workers: int) -> float:
    """Confidence of each of so many intervals that makes all of them hold together.

    Source: Šidák, Rectangular confidence regions for the means of multivariate normal distributions, JASA 62,
        1967.
    """
    normal_quantile(confidence)
    return float(confidence ** (1 / max(workers, 1)))


@dataclass(frozen=True, slots=True)
class _Cells:
    """Runs by worker and stratum, of strata that the worker shares with others.

    Attributes:
        worker: number of the worker.
        workers: how many there are.
        n, x: runs and failures of the worker.
        rest_n, rest_x: those of all others in the stratum.
    """

    worker: Ints
    workers: int
    n: Ints
    x: Ints
    rest_n: Ints
    rest_x: Ints

    @classmethod
    def of(cls, workers: Groups, kinds: Groups, failed: Bools) -> "_Cells":
        code, pairs = pd.factorize(workers.codes * max(kinds.count, 1) + kinds.codes)
        n, x = count(code, len(pairs)), count(code[failed], len(pairs))
        worker, kind = np.divmod(np.asarray(pairs, np.int64), max(kinds.count, 1))
        rest_n = count(kinds.codes, kinds.count)[kind] - n
        rest_x = count(kinds.codes[failed], kinds.count)[kind] - x
        both = rest_n > 0
        return cls(worker[both], workers.count, n[both], x[both], rest_n[both], rest_x[both])

    def summed(self, values: Ints) -> Ints:
        return np.bincount(self.worker, weights=values, minlength=self.workers).astype(np.int64)

    def standardised(self, n: Ints, z: float) -> tuple[Floats, Floats, Floats]:
        """The rest's failure rate at the worker's mix of strata, with its interval.

        p = Σ wᵢpᵢ, wᵢ = the worker's runs in stratum i over all its runs; lo = p − √Σ wᵢ²(pᵢ − lᵢ)², hi
        alike, with Wilson's lᵢ and uᵢ. With one stratum it is Wilson's interval.

        Source: MOVER; Zou, Huang & Zhang, A note on confidence interval estimation for a linear function of
        binomial proportions, Computational Statistics & Data Analysis 53, 2009.
        """
        weight = share(self.n, n[self.worker])
        p = share(self.rest_x, self.rest_n)
        low, high = wilson(self.rest_x, self.rest_n, z)
        some = n > 0
        rate = np.where(some, self._added(weight * p), np.nan)
        down, up = self._added((weight * (p - low)) ** 2), self._added((weight * (high - p)) ** 2)
        lo = np.where(some, np.maximum(rate - np.sqrt(down), 0), 0.0)
        hi = np.where(some, np.minimum(rate + np.sqrt(up), 1), 1.0)
        return rate, lo, hi

    def association(self) -> Floats:
        """Two-sided p of the Cochran–Mantel–Haenszel test without continuity correction; NaN without
        variance.

        χ² = (Σ(xᵢ − E xᵢ))² / Σ Var xᵢ with the hypergeometric mean and variance in each stratum, one degree
        of freedom.

        Source: Cochran, Biometrics 10, 1954; Mantel & Haenszel, JNCI 22, 1959.
        """
        n, rest = self.n.astype(float), self.rest_n.astype(float)
        total, bad = n + rest, (self.x + self.rest_x).astype(float)
        excess = self._added(self.x - n * bad / total)
        variance = self._added(n * rest * bad * (total - bad) / (total**2 * np.maximum(total - 1, 1)))
        distance = np.divide(
            np.abs(excess), np.sqrt(variance), out=np.full(len(excess), np.nan), where=variance > 0
        )
        return _two_sided(distance)

    def _added(self, values: Floats) -> Floats:
        return np.bincount(self.worker, weights=values, minlength=self.workers).astype(float)


def _two_sided(z: Floats) -> Floats:
    """P(|Z| ≥ z) of a standard normal."""
    return np.array([erfc(value / sqrt(2)) for value in z], float)
