"""Parameters of the flow `retrain`."""

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fer_core.training.promotion_gate import GateBounds
from flows.form_fields import Address

DEFAULTS = GateBounds()


class GateForm(BaseModel):
    """Bounds that a challenger must hold to be promoted. Differences are challenger less champion, in shares: 0.01 is one point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float = Field(
        DEFAULTS.accuracy, ge=-1, le=1, title="Accuracy", description="Least 95 % lower bound of the difference, by a paired bootstrap."
    )
    macro_f1: float = Field(DEFAULTS.macro_f1, ge=-1, le=1, title="Macro F1", description="The same, over classes with enough faces.")
    recall: float = Field(DEFAULTS.recall, ge=-1, le=1, title="Recall", description="The same, for each class with enough faces.")
    support: int = Field(DEFAULTS.support, ge=1, le=100_000, title="Enough faces", description="Rarer classes are reported only.")
    calibration: float = Field(
        DEFAULTS.calibration, ge=-1, le=1, title="Calibration", description="Most by which the calibration error may exceed the champion's."
    )
    robustness: float = Field(
        DEFAULTS.robustness, ge=-1, le=1, title="Robustness", description="Least lower bound of the difference on covered and turned faces."
    )
    speed: float = Field(DEFAULTS.speed, ge=0, le=10, title="Speed", description="Least faces a second, as a share of the champion's.")

    def bounds(self) -> GateBounds:
        """For the gate."""
        return GateBounds.from_json(self.model_dump())


class RetrainParams(BaseModel):
    """One retraining: faces, folder of models, bounds of the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    models: Address = Field(
        min_length=1,
        title="Folder of models",
        description="Holds challengers, promotions and the champion; labelling with this folder as its model uses the champion.",
        examples=["/models"],
    )
    facesets: list[str] = Field(
        default_factory=list,
        max_length=20,
        title="Base face sets",
        description="Folders made by `ferflow dataset import`. The held-out faces of the first one are used for the comparison.",
        examples=[["/facesets/ferplus"]],
    )
    reviewed: Address | None = Field(
        None,
        title="Reviewed labels root",
        description="Labels root with imported reviews. They override base sets; without those, the champion is tuned on them alone.",
        examples=["/data/labels", "s3://bucket/labels"],
    )
    start: Literal["from champion", "from random weights"] = Field(
        "from champion", title="Start", description="Tune the champion (quick), or train from random weights (with base sets)."
    )
    tune: Literal["all", "head"] = Field(
        "all",
        title="Tune",
        description="`all`: the whole network learns. `head`: class centers and bias alone, from 20 reviewed faces on, without base sets; "
        "for one collection.",
    )
    epochs: int = Field(8, ge=1, le=1000, title="Epochs", description="Passes over the training faces.")
    batch: int = Field(128, ge=2, le=8192, title="Batch", description="Faces a step.")
    learning_rate: float = Field(
        0.01, gt=0, le=1, title="Learning rate", description="Maximum; 0.01 to tune, 0.05 to 0.1 from random weights."
    )
    balance: float = Field(0.3, ge=0, le=1, title="Balance", description="0: faces count as they come; 1: all expressions count alike.")
    seed: int = Field(
        0, ge=0, le=2**32 - 1, title="Seed", description="The same seed, faces and champion give the same model on one device."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", title="Device", description="Where training runs.")
    protocol: Literal["majority", "argmax"] = Field(
        "majority", title="Protocol", description="Faces of the comparison, and their true label."
    )
    promote: bool = Field(True, title="Promote", description="Promote a challenger that passes the gate.")
    gate: GateForm = Field(GateForm.model_validate({}), title="Gate", description="Bounds that a challenger must hold.")

    @model_validator(mode="after")
    def _something_to_learn(self) -> "RetrainParams":
        if not self.facesets and self.reviewed is None:
            raise ValueError("there are no training faces: name base face sets, or a labels root with reviewed faces")
        if not self.facesets and self.start == "from random weights":
            raise ValueError("training from random weights needs base face sets")
        if self.tune == "head" and (self.facesets or self.start == "from random weights"):
            raise ValueError("tuning the head starts from the champion and learns from reviewed faces alone: leave base face sets out")
        return self


assert set(asdict(DEFAULTS)) == set(GateForm.model_fields)
