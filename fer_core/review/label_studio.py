"""Label Studio's side: tasks with predictions, the labelling configuration, and its export read back.

Formats after Label Studio's documentation: "Label Studio JSON format of annotated tasks" and "Import pre-annotated data"
(labelstud.io/guide/task_format, labelstud.io/guide/predictions).
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from fer_core.errors import ReviewError
from fer_core.review.checked import Fields, object_of
from fer_core.review.record import Correction
from fer_core.review.shown import ShownFace
from fer_core.review.verdicts import KEYS, SPOKEN, VERDICTS

CONTROL, OBJECT = "expression", "face"
"""Names of the choice and of the picture in the configuration."""
_VERDICT_OF: Final[dict[str, str]] = {spoken: verdict for verdict, spoken in SPOKEN.items()}


def configuration() -> str:
    """The labelling configuration, XML: one picture, one choice of ten, with the page's keys."""
    choices = "\n".join(f'    <Choice value="{escape(SPOKEN[verdict])}" hotkey="{KEYS[verdict]}"/>' for verdict in VERDICTS)
    return f"""<View>
  <Header value="What does this face appear to express?"/>
  <Image name="{OBJECT}" value="$image"/>
  <Choices name="{CONTROL}" toName="{OBJECT}" choice="single" required="true">
{choices}
  </Choices>
</View>
"""


def tasks(faces: Sequence[ShownFace], export_id: str) -> list[dict[str, object]]:
    """One task a face, with the current label as a prediction. The picture is part of the task, as a data URI."""
    return [_task(face, export_id) for face in faces]


def _task(face: ShownFace, export_id: str) -> dict[str, object]:
    result = {"id": "label", "from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": {"choices": [face.expression]}}
    return {
        "data": {
            "image": face.picture,
            "export_id": export_id,
            "image_sha256": face.image_sha256,
            "image_uri": face.image_uri,
            "box": list(face.box),
            "previous_expression": face.expression,
            "previous_model": face.model_digest,
        },
        "predictions": [{"model_version": f"{face.model_name} {face.model_digest[:12]}", "score": face.confidence, "result": [result]}],
    }


def read_tasks(value: Sequence[object], name: str, reviewer: str | None = None) -> list[Correction]:
    """The reviews in an export (JSON, not JSON-MIN): each annotation that was submitted, by task. Skipped tasks are left out."""
    return [correction for number, task in enumerate(value, start=1) for correction in _annotated(task, number, name, reviewer)]


def _annotated(task: object, number: int, name: str, reviewer: str | None) -> Iterator[Correction]:
    entry = object_of(task, f"task {number} of {name}")
    where = f"task {entry['id']} of {name}" if isinstance(entry.get("id"), int) else f"task {number} of {name}"
    annotations = entry.get("annotations")
    if not isinstance(annotations, list):
        raise ReviewError(f"{where} has no list 'annotations': export as JSON, not as JSON-MIN")
    fields = Fields(object_of(entry.get("data"), f"{where}: 'data'"), where)
    for annotation in annotations:
        review = object_of(annotation, f"an annotation of {where}")
        if review.get("was_cancelled") is True:
            continue
        verdict = _verdict(review.get("result"), where)
        yield Correction(
            image_sha256=fields.sha256("image_sha256"),
            image_uri=fields.text("image_uri"),
            box=fields.box("box"),
            verdict=verdict,
            previous_expression=fields.expression("previous_expression"),
            previous_model=fields.sha256("previous_model"),
            reviewer=reviewer or _reviewer(review, where),
            reviewed_at_us=Fields(review, where).moment("updated_at" if review.get("updated_at") else "created_at"),
            export_id=fields.export_id("export_id"),
        )


def _verdict(result: object, where: str) -> str:
    """The one choice of an annotation."""
    found = [_choices(entry, where) for entry in result] if isinstance(result, list) else []
    choices = [choice for entry in found for choice in entry]
    if len(choices) != 1:
        raise ReviewError(f"{where} has {len(choices)} choices instead of one")
    choice = choices[0]
    if not isinstance(choice, str) or _VERDICT_OF.get(choice, choice) not in VERDICTS:
        raise ReviewError(f"{where}: {str(choice)[:40]!r} is no verdict (they are {', '.join(SPOKEN.values())})")
    return _VERDICT_OF.get(choice, choice)


def _choices(entry: object, where: str) -> Sequence[object]:
    region = object_of(entry, f"a result of {where}")
    value = region.get("value")
    if region.get("type") != "choices" or region.get("from_name") != CONTROL or not isinstance(value, dict):
        raise ReviewError(f"{where} was not annotated with ferflow's labelling configuration")
    choices = value.get("choices")
    if not isinstance(choices, list):
        raise ReviewError(f"{where} was not annotated with ferflow's labelling configuration")
    return choices


def _reviewer(annotation: Mapping[str, object], where: str) -> str:
    """Label Studio names its users by e-mail address or by number."""
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    if isinstance(who, int) and not isinstance(who, bool):
        return f"label-studio user {who}"
    if isinstance(who, str) and who.strip():
        return who.strip()
    raise ReviewError(f"{where} does not name the reviewer; give --reviewer NAME")
