"""Which objects of a source are listed and watched, for the interests of a process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from peering.resources.catalog import KUBERNETES
from peering.store.interest import Declared, Interest
from peering.store.kubernetes.objects import NODE_LABEL, TYPE_LABEL, label_value
from peering.store.kubernetes.sources import Source

_LABELS = {"node": NODE_LABEL, "type": TYPE_LABEL}


@dataclass(frozen=True, slots=True)
class Selection:
    """Objects of a source: all, one by its `name`, or those with a `label`."""

    source: Source
    name: str = ""
    label: tuple[str, str] | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.name and self.label is None

    def query(self) -> dict[str, str]:
        """The selectors of a list or a watch."""
        if self.name:
            return {"fieldSelector": f"metadata.name={self.name}"}
        return {"labelSelector": "=".join(self.label)} if self.label else {}

    def has(self, name: str, labels: dict[str, str]) -> bool:
        """Whether an object with these labels belongs to it."""
        if self.name:
            return name == self.name
        return self.label is None or labels.get(self.label[0]) == self.label[1]


def selections_of(sources: Iterable[Source], interests: Iterable[Interest], declared: Declared) -> set[Selection]:
    """What is watched of one kind. `interests` are those of that kind."""
    narrow = [one for one in interests if one.unless is None or not one.unless.holds(declared)]
    everything = len(narrow) < len(list(interests)) or not narrow
    chosen = [one for one in narrow if one.by != "nothing"]
    return {
        selection
        for source in sources
        for selection in ([Selection(source)] if everything else (_selection(source, one) for one in chosen))
    }


def _selection(source: Source, interest: Interest) -> Selection:
    """Kubernetes' own objects have no labels of ours; there only names choose."""
    if interest.by == "name":
        return Selection(source, name=interest.value)
    if source.api_version == KUBERNETES:
        return Selection(source)
    return Selection(source, label=(_LABELS[interest.by], label_value(interest.value)))
