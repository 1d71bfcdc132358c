"""Configuration of a training run: JSON in, JSON out."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

from fer_core.errors import TrainingError
from fer_core.labels import EXPRESSIONS
from fer_core.losses.choice import build, classifier_of
from fer_core.losses.objective import LossConfig
from fer_core.models.network_config import BASE, TINY, NetworkConfig
from fer_core.training.augment import AugmentConfig
from fer_core.validation import check_entries

Precision = Literal["auto", "fp32", "bf16"]
SIZES: Final[dict[str, NetworkConfig]] = {"tiny": TINY, "base": BASE}
"""Networks that a configuration may name instead of listing their sizes."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run. It determines the result, together with the face sets' bytes, the start, the teachers and one device."""

    name: str = "tiny"
    network: NetworkConfig = TINY
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    epochs: int = 30
    batch: int = 128
    """Faces a step, over all processes."""
    learning_rate: float = 0.1
    """Peak, for SGD with Nesterov momentum 0.9; one warm-up epoch, then half a cosine down to zero."""
    weight_decay: float = 5e-4
    """On convolution and linear weights only."""
    sam_radius: float = 0.0
    """Radius of sharpness-aware minimisation (Foret et al., ICLR 2021), which doubles the work; 0 is plain SGD."""
    average: float = 0.998
    """Largest decay a step of the moving average of the weights (see `optimizer.warmed`); the average is what ships."""
    balance: float = 0.0
    """Faces count in proportion to (mean class share / their class's share) to this power: 0 as they come, 1 all classes alike."""
    smoothing: float = 0.1
    """Part of a single label that is spread over all expressions; votes are taken as they are."""
    distill: float = 0.5
    """Part of the targets that teachers give, where there are teachers."""
    dev_share: float = 0.1
    """Part of the first face set's training groups held back for selection, temperature and review limits."""
    patience: int = 15
    """Epochs without a better held-back accuracy after which the run ends; 0 never ends early."""
    precision: Precision = "auto"
    """Of the network's passes; `auto` is bf16 on CUDA and fp32 on a CPU."""
    half: bool = False
    """Whether the model is written in half precision, half as large."""
    dev_share_others: float = 0.0
    """Part of the further face sets' training groups held back, too: not to select by, but so that there are unseen faces of another origin
    to fit what is said under shift. `carve_dev` finds them again."""
    centers: Literal["free", "sphere", "simplex"] = "free"
    """What becomes of the class centers of a cosine classifier: `free` vectors of which the direction counts, put back onto the unit
    `sphere` after each step (a long center turns slowly), or fixed at the corners of a regular `simplex` (Yang et al., NeurIPS 2022)."""
    seed: int = 0

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. TrainingError: entries that make no run."""
        check_entries(self)
        if self.name in {"", ".", ".."} or not set(self.name).isdisjoint("/\\\0"):
            raise TrainingError(f"the name of a model is the name of a folder, not {self.name!r}")
        if self.epochs < 1 or self.batch < 2:
            raise TrainingError("a training run has at least one epoch and two faces a batch")
        shares = (self.distill, self.smoothing, self.dev_share, self.dev_share_others, self.average)
        if min(shares) < 0 or self.distill > 1 or max(shares[1:]) >= 1:
            raise TrainingError("distill, smoothing, dev_share and average are shares between 0 and 1")
        if min(self.weight_decay, self.sam_radius, self.balance, self.patience) < 0 or self.learning_rate <= 0:
            raise TrainingError("weight_decay, sam_radius, balance and patience are at least 0, and learning_rate is more")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"a seed is a whole number from 0 to {2**32 - 1}, not {self.seed}")
        if self.network.classes != EXPRESSIONS:
            raise TrainingError("a network is trained on the eight expressions in their order")
        if self.centers != "free" and self.network.classifier == "linear":
            raise TrainingError(f"only a cosine classifier has centers on a {self.centers}")
        if self.centers == "simplex" and self.network.embedding < len(self.network.classes):
            raise TrainingError("a simplex needs an embedding at least as long as there are classes")
        try:
            build(self.loss, self.network.logit_scale, len(self.network.classes), 1)
        except ValueError as error:
            raise TrainingError(f"the loss does not suit the network: {error}") from error
        if self.network.classifier != classifier_of(self.loss.kind):
            raise TrainingError(f"the loss {self.loss.kind} needs a {classifier_of(self.loss.kind)} classifier")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        entries = {**asdict(self), "network": self.network.to_json(), "loss": self.loss.to_json()}
        later = {"centers": "free", "dev_share_others": 0.0}  # checkpoints of before stay what they were
        return {name: value for name, value in entries.items() if name not in later or value != later[name]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Entries may be left out (defaults); `network` may be a size's name, and its classifier follows the loss.

        An unknown name or a wrong value is a TrainingError.
        """
        try:
            loss = LossConfig.from_json(value.get("loss", {}))
            network = {"classifier": classifier_of(loss.kind), **_network(value.get("network", {}))}
            return cls(
                **{
                    **value,
                    "network": NetworkConfig.from_json(network),
                    "loss": loss,
                    "augment": AugmentConfig(**value.get("augment", {})),
                }
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise TrainingError(f"the training configuration has a wrong entry: {error}") from error


def _network(value: str | dict[str, Any]) -> dict[str, Any]:
    """A size's name, or entries that differ from a size (`size`, else tiny) -> all entries but the classifier, unless it is given."""
    given = {"size": value} if isinstance(value, str) else dict(value)
    size = given.pop("size", "tiny")
    if size not in SIZES:
        raise ValueError(f"unknown network {size!r} (there are {', '.join(SIZES)})")
    whole = SIZES[size].to_json()
    del whole["classifier"]
    return {**whole, **given}
