"""The species that recipes may name: read from assets/species.yaml."""

from dataclasses import dataclass
from functools import cache

import yaml

from posecore.resources import resource_dir
from synthgen.subjects.animals.shape import QuadrupedShape


@dataclass(frozen=True)
class Species:
    """A build to start from; `what` says it in words."""

    what: str
    shape: QuadrupedShape


@cache
def species() -> dict[str, Species]:
    """All species by name, in the file's order."""
    content = yaml.safe_load((resource_dir("assets") / "species.yaml").read_text(encoding="utf-8"))
    return {
        name: Species(entry["what"], QuadrupedShape(base=entry["base"], **entry.get("shape", {})))
        for name, entry in content.items()
    }
