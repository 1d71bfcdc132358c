"""The resource of Prefect events about a labels root. Light: labelling emits one as well."""


def resource_of(url: str) -> str:
    """The id of a labels root in events."""
    return f"ferflow.labels.{url}"
