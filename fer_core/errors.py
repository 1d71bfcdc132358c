"""Every error a user can meet, as one small tree. The message is the one sentence that is shown."""


class FerflowError(Exception):
    """An error for the user; its message is one sentence."""


class UsageError(FerflowError):
    """The command or its parameters make no sense as given (exit code 2)."""


class SourceError(FerflowError):
    """The collection to be labelled is absent, empty or cannot be listed."""


class StoreError(FerflowError):
    """A storage location cannot be read or written."""


class OutageError(StoreError):
    """A storage location does not answer, or refuses temporarily; retries have failed."""


class AccessError(OutageError):
    """A storage location does not accept the client or its request: credentials are wrong, missing or expired. That concerns all files, so
    the run ends instead of losing them all."""


class ImageError(FerflowError):
    """One image cannot be decoded; `status` is the value for its row in the images table."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        """One of `schema.IMAGE_STATUSES`."""
        self.reason = reason


class DetectorError(FerflowError):
    """A detector cannot be built or its file cannot be used."""


class ModelError(FerflowError):
    """A model is unknown, damaged, or does not match its card."""


class FaceSetError(FerflowError):
    """A training set does not have the layout or the content it should have."""


class ReviewError(FerflowError):
    """A file of reviews is not what it should be, or the reviews that are kept are damaged."""


class TrainingError(FerflowError):
    """Training cannot start or continue."""


class ClusterError(FerflowError):
    """Dask workers cannot be reached or started."""


class OrchestrationError(FerflowError):
    """The Prefect API cannot be reached or started."""


class CommitError(FerflowError):
    """A run cannot be published, resumed or read back as its manifest promises."""


class QueryError(FerflowError):
    """A query is wrong, reaches for what it may not have, or cannot be answered."""


class LeaseError(FerflowError):
    """Another process is writing to a labels root."""
