"""snrlab from Python: run studies, and take their results as tables, figures and networks.

    import snrlab

    outcome = snrlab.run("laplace_b")             # a bundled study, a path, or a mapping of a study's fields
    outcome = snrlab.load("runs", "laplace_b")    # what has been run
    outcome.verdict                                # in a sentence
    outcome.variants                               # pandas, as all tables
    outcome.sample(0, 16)                          # images of trial 0 at its best EMA length
"""

from snrlab.outcome import Figures, Outcome, load, run
from trainables.errors import UserError

__all__ = ["Figures", "Outcome", "UserError", "load", "run"]
