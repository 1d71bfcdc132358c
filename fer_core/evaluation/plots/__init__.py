"""Pictures of figures, as PNG: confusion, reliability, risk and coverage, training curves, robustness. They are drawn without a display.

matplotlib loads when the first one is drawn, not before.
"""

from fer_core.evaluation.plots.confusion import confusion_png
from fer_core.evaluation.plots.curves import curves_png
from fer_core.evaluation.plots.paper import make_folder
from fer_core.evaluation.plots.reliability import reliability_png
from fer_core.evaluation.plots.risk_coverage import risk_coverage_png
from fer_core.evaluation.plots.robustness import Trial, robustness_png
from fer_core.evaluation.plots.scored import Scored

__all__ = ["Scored", "Trial", "confusion_png", "curves_png", "make_folder", "reliability_png", "risk_coverage_png", "robustness_png"]
