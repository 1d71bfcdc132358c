"""`ClusterSpec`: the cluster of a run, as one field of a form."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from fer_core.errors import UsageError
from tasks.clusters.registry import Kind
from tasks.clusters.text_syntax import SPEC, from_text

_WRITTEN: Final = {"type": "string", "title": "In words", "description": f"As on the command line: {SPEC}.", "minLength": 1}


class _Form:
    """JSON schema for Prefect's pages: one of the kinds, or text, as in deployments of earlier releases.

    `anyOf`, because some parts of Prefect's pages do not support pydantic's `oneOf`.
    """

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [*handler(schema)["oneOf"], _WRITTEN]}


def _from_words(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return from_text(value)
    except UsageError as error:
        raise ValueError(str(error)) from error


ClusterSpec = Annotated[Kind, Field(discriminator="kind"), BeforeValidator(_from_words), _Form()]
