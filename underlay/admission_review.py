"""What is said to an AdmissionReview (admission.k8s.io/v1): the change is judged as `underlay apply` judges it.

What the change brings decides: new errors of the plan refuse it, and so does the loss of more sessions than is allowed.
Errors that were there before stop nobody, since the way out of them is a change, too. Everything else that is found
comes back as warnings, which kubectl prints. Who knows better annotates the object with `underlay.io/force: "true"`.
"""

from __future__ import annotations

from typing import Any

from peering.problems import Problem, errors
from peering.resource import Resource, parse_resource
from peering.session_loss import loss_problem
from peering.snapshot import Snapshot
from underlay.applying import Edit, judge

FORCE = "underlay.io/force"

_API = "admission.k8s.io/v1"
#: What kubectl prints of one warning, and of all of them (the API server cuts the rest).
_LONGEST_WARNING = 256
_MOST_WARNINGS = 16


class NotAReview(Exception):
    """The request is no AdmissionReview that can be answered."""


def answer(review: Any, before: Snapshot, max_loss: float) -> dict[str, Any]:
    """The AdmissionReview with the response. `max_loss` is in percent of the sessions. Raises NotAReview."""
    request = _request(review)
    uid = request.get("uid")
    if not isinstance(uid, str):
        raise NotAReview("an AdmissionReview has a request with a uid")
    refused, warnings = _judged(request, before, max_loss)
    response: dict[str, Any] = {"uid": uid, "allowed": not refused}
    if refused:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": "\n".join(p.line() for p in refused)}
    shown = [warning.line()[:_LONGEST_WARNING] for warning in warnings]
    if len(shown) > _MOST_WARNINGS:
        shown[_MOST_WARNINGS - 1 :] = [f"and {len(shown) - _MOST_WARNINGS + 1} more: underlay lint"]
    if shown:
        response["warnings"] = shown
    return {"apiVersion": _API, "kind": "AdmissionReview", "response": response}


def _request(review: Any) -> dict[str, Any]:
    request = review.get("request") if isinstance(review, dict) and review.get("kind") == "AdmissionReview" else None
    if not isinstance(request, dict):
        raise NotAReview("expected an AdmissionReview with a request")
    return request


def _judged(request: dict[str, Any], before: Snapshot, max_loss: float) -> tuple[list[Problem], list[Problem]]:
    """(why it is refused, what else is to be told)."""
    deleted = request.get("operation") == "DELETE"
    document = request.get("oldObject" if deleted else "object")
    resource = parse_resource(document, "request")
    if not isinstance(resource, Resource):
        # What is there already and cannot be read may go.
        return ([], []) if deleted else (resource, [])
    edit = Edit(removed=((resource.kind, resource.name),)) if deleted else Edit(put=(resource,))
    judgement = judge(before, edit.on(before))
    found = [*judgement.brought, *filter(None, [loss_problem(judgement.counted, max_loss)])]
    if _forced(document):
        return [], found
    wrong = list(errors(found))
    return wrong, [problem for problem in found if problem not in wrong]


def _forced(document: Any) -> bool:
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and annotations.get(FORCE) == "true"
