"""The origin of a plot of an evaluation."""

from dataclasses import dataclass

from fer_core.evaluation.evaluate import Evaluation, Protocol
from fer_core.evaluation.plots.paper import printed


@dataclass(frozen=True, slots=True)
class Scored:
    """The scored model and split."""

    model: str
    digest: str
    """SHA-256 of the weights file."""
    split: str
    protocol: Protocol
    prior: str = ""
    """That the model answered under; empty where it is not known."""

    def title(self) -> str:
        """The model."""
        return f"{printed(self.model)}  {self.digest[:12]}"

    def sample(self, figures: Evaluation) -> str:
        """The faces."""
        prior = f", prior {printed(self.prior)}" if self.prior else ""
        return f"{printed(self.split)} split, {self.protocol} protocol{prior}, {figures.n:,} faces"
