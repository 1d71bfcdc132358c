"""What runs of a labels root may do: `_meta/policy.json`. Every run is checked when its plan is written, and when it is resumed."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self

from fer_core.errors import CommitError, UsageError
from fer_core.json_reader import parse_object
from fer_core.storage.paths import META
from fer_core.storage.store import Store
from fer_core.validation import check_entries

FILE: Final = f"{META}/policy.json"
MOST_BYTES: Final = 2**20
MOST_DAYS: Final = 36_500
DAY_SECONDS: Final = 86_400

Crops = Literal["allowed", "never"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules of a root. The default allows everything."""

    require_purpose: bool = False
    """Whether a run has to state its purpose."""
    crops: Crops = "allowed"
    """Whether runs may keep the crops of faces."""
    allowed_purposes: tuple[str, ...] = ()
    """The only purposes of runs; empty: any."""
    keep_crops_days: int | None = None
    """How long the crops of a run are kept, from its plan on, which is `labeled_at` of its rows. None: until they are forgotten."""
    keep_labels_days: int | None = None
    """The same for all its rows."""

    def __post_init__(self) -> None:
        for days in (self.keep_crops_days, self.keep_labels_days):
            if type(days) is int and not 1 <= days <= MOST_DAYS:
                raise ValueError(f"an age is between 1 and {MOST_DAYS:,} days, not {days}")

    def check(self, purpose: str, *, keep_crops: bool) -> None:
        """UsageError, in one line, unless a run of that purpose is allowed."""
        stated = purpose.strip()
        if self.require_purpose and not stated:
            raise UsageError("the policy of this root requires a purpose: give --purpose, or fill in Purpose")
        if self.allowed_purposes and stated not in self.allowed_purposes:
            allowed = ", ".join(repr(one) for one in self.allowed_purposes)
            raise UsageError(f"the policy of this root does not allow the purpose {stated!r}; it allows {allowed}")
        if self.crops == "never" and keep_crops:
            raise UsageError("the policy of this root does not allow keeping crops: leave out --keep-crops, or Keep aligned faces")

    def may_show_crops(self, started: float, now: float) -> bool:
        """Whether crops of a run may be copied out of the root, where no removal for age reaches them. Seconds since the epoch."""
        return all(now - started < days * DAY_SECONDS for days in (self.keep_crops_days, self.keep_labels_days) if days)

    def to_bytes(self) -> bytes:
        """JSON, UTF-8. An age that is not set is not written: releases that have no ages can read the rest."""
        rules = {name: rule for name, rule in asdict(self).items() if rule is not None}
        return (json.dumps({"version": 1, **rules}, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; ValueError, KeyError or TypeError for anything else, rules of a later release included."""
        value = parse_object(data, MOST_BYTES)
        if value.pop("version") != 1:
            raise ValueError("a policy of another version")
        policy = cls(**{**value, "allowed_purposes": tuple(value["allowed_purposes"])})
        check_entries(policy)
        return policy


def read_policy(store: Store) -> Policy:
    """The policy of a root. CommitError where it is damaged, or has rules that this release does not know."""
    if not store.exists(FILE):
        return Policy()
    try:
        return Policy.from_bytes(store.read_bytes(FILE))
    except (ValueError, KeyError, TypeError) as error:
        raise CommitError(f"the policy cannot be read, or is that of a later release: {store.url(FILE)}") from error


def write_policy(store: Store, policy: Policy) -> None:
    """Replace the policy in one step. The caller holds the root's lease. It applies to runs that are planned or resumed from now on."""
    store.write_bytes(FILE, policy.to_bytes())
