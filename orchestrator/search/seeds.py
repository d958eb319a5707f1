"""Proposals that are trained on several seeds: which trial comes next, what a proposal comes to, and which are hopeless.

Seeds are blocks: proposals are compared on the same seeds, and a seed is never ranked.  Everything here is a function of the
history, so that a killed search goes on with the same trials and any search can be replayed.

1. A proposal's first trial is on the first seed, and is the only one that may be stopped early: what early stopping lets through
   on one seed would be thinned out again on each further one.
2. The further seeds wait for its score, and meanwhile others are proposed.  They are begun in order, the oldest proposal first.
3. A proposal with a trial that was stopped, failed or is impossible has no further ones.
4. Before each further seed a proposal is dropped if it is hopeless (`is_hopeless`).
5. The sampler is told of a proposal once all its seeds are in: the mean log score as a score, which is their geometric mean.
   A proposal that was stopped or dropped is pruned, at the mean of the seeds that it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.search.history import History
from orchestrator.search.verdicts import COMPLETE, FAILED, STOPPED, Verdict
from search_spaces.study import Study
from trainables.metrics.means import has_log_scale, mean_score

_FEWEST_FREEDOM = 4  # degrees of freedom of the spread between seeds before anything is dropped
_ERROR_RATE = 0.01  # chance that a proposal as good as the best one is dropped, at each look


class Seeds:
    """The seeds of a study's proposals; with one seed, a proposal is its only trial."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.all: tuple[int | None, ...] = study.search_seeds or (None,)
        self._metrics = [objective.metric for objective in study.objectives]

    @property
    def several(self) -> bool:
        return len(self.all) > 1

    def verdict(self, history: History, proposal: int, known: Mapping[int, Verdict] | None = None) -> Verdict | None:
        """What a proposal has come to; None while trials of it are missing.  `known` verdicts of trials: default, what has been told."""
        told, trials = history.verdicts if known is None else known, history.trials_of[proposal]
        found = [told[trial] for trial in trials if trial in told]
        if not self.several:
            return found[0] if found else None
        if any(trial in history.impossible for trial in trials):
            return Verdict(FAILED, infeasible=True)
        for state in (FAILED, STOPPED):
            if ended := [verdict for verdict in found if verdict.state == state]:
                return ended[0]
        if len(found) < len(trials):
            return None
        if proposal in history.dropped:
            (images, _), mean = found[0].curve[-1] if found[0].curve else (0, 0.0), self._mean(found)[0]
            return Verdict(STOPPED, None, _mean_excess(found), (*found[0].curve[:-1], (images, mean)))
        return Verdict(COMPLETE, self._mean(found), _mean_excess(found)) if len(found) == len(self.all) else None

    def verdicts(self, history: History) -> dict[int, Verdict]:
        """Of all proposals that are over, by number."""
        found = {number: self.verdict(history, number) for number in history.proposals}
        return {number: verdict for number, verdict in found.items() if verdict}

    def ranking(self, history: History) -> list[dict[str, Any]]:
        """Values of the complete feasible proposals, the best first; each once."""
        sign = -1.0 if self._study.objectives[0].direction == "maximise" else 1.0
        found = [(sign * v.values[0], p) for p, v in self.verdicts(history).items() if v.state == COMPLETE and v.feasible and v.values]
        ranked = [dict(history.proposals[p].values) for _, p in sorted(found)]
        return [values for i, values in enumerate(ranked) if values not in ranked[:i]]

    def unfinished(self, history: History, known: Mapping[int, Verdict]) -> bool:
        """Whether a proposal may yet have a further trial, by the verdicts of trials that are known."""
        return any(
            len(trials) < len(self.all) and proposal not in history.dropped
            and (any(trial not in known for trial in trials) or self.verdict(history, proposal, known) is None)
            for proposal, trials in history.trials_of.items()
        )

    def spared(self, history: History, known: Mapping[int, Verdict]) -> int:
        """Trials that will not be run, of proposals that were stopped, dropped, failed or are impossible."""
        return sum(
            len(self.all) - len(trials) for proposal, trials in history.trials_of.items()
            if len(trials) < len(self.all) and self.verdict(history, proposal, known) is not None
        )

    def next_trial(self, history: History) -> tuple[int, int] | None:
        """(proposal, seed) of the first proposal that lacks a seed and whose first score is in."""
        for proposal, trials in sorted(history.trials_of.items()):
            waits = trials[0] not in history.verdicts
            if len(trials) < len(self.all) and not waits and proposal not in history.dropped and self.verdict(history, proposal) is None:
                seed = self.all[len(trials)]
                assert seed is not None
                return proposal, seed
        return None

    def is_hopeless(self, history: History, proposal: int) -> bool:
        """Whether a proposal is worse than the best complete one by a one-sided t test at 1 % over all complete ones (Bonferroni).

        The best of many is too good by chance: without the correction, a proposal as good as all others would be dropped the oftener
        the more there are.

        The difference is the mean over the seeds that both have, on the scale of `mean_score`; its standard error is s sqrt(2 / k) with
        k seeds and s the residual spread of the model (proposal + seed) over the complete proposals, of which it takes
        four degrees of freedom.  Never with several objectives.
        """
        if not self._study.search.drop_hopeless or len(self._metrics) > 1:
            return False
        complete = [p for p, v in self.verdicts(history).items() if v.state == COMPLETE and v.feasible]
        freedom = (len(complete) - 1) * (len(self.all) - 1)
        if freedom < _FEWEST_FREEDOM:
            return False
        table = np.array([self._scores(history, p) for p in complete])  # [P,S]
        residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
        spread = math.sqrt(float((residuals**2).sum()) / freedom)
        mine = np.array(self._scores(history, proposal))
        difference = float((mine - table[table.mean(axis=1).argmin()][: len(mine)]).mean())
        from scipy.stats import t

        return difference > float(t.isf(_ERROR_RATE / len(complete), freedom)) * spread * math.sqrt(2 / len(mine))

    def _scores(self, history: History, proposal: int) -> list[float]:
        """First objective of the seeds that are in, in their order up to the first that is not; less is better."""
        metric, sign = self._metrics[0], -1.0 if self._study.objectives[0].direction == "maximise" else 1.0
        found: list[float] = []
        for trial in history.trials_of[proposal]:
            values = history.verdicts[trial].values if trial in history.verdicts else None
            if not values:
                break
            logs = has_log_scale(metric) and values[0] > 0
            found.append(sign * (math.log(values[0]) if logs else values[0]))
        return found

    def _mean(self, found: Sequence[Verdict]) -> tuple[float, ...]:
        values = [verdict.values or () for verdict in found]
        return tuple(mean_score(metric, column) for metric, column in zip(self._metrics, zip(*values, strict=True), strict=True))


def _mean_excess(found: Sequence[Verdict]) -> tuple[float, ...]:
    """How far the means exceed the bounds."""
    return tuple(math.fsum(column) / len(column) for column in zip(*(verdict.excess for verdict in found), strict=True))
