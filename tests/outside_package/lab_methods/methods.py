"""All methods of the lab: this module is its entry point."""

from lab_methods.drawing import LabFlips, LabPairs
from lab_methods.experts import LabBudgets, LabCriterion, LabSplit
from lab_methods.formulas import LabPower, LabTarget, LabUniform
from lab_methods.images import LabDiscs, LabEuler, LabGap, LabMeans
from lab_methods.learning import LabNetwork, LabSign

__all__ = ["LabBudgets", "LabCriterion", "LabDiscs", "LabEuler", "LabFlips", "LabGap", "LabMeans", "LabNetwork", "LabPairs", "LabPower",
           "LabSign", "LabSplit", "LabTarget", "LabUniform"]
