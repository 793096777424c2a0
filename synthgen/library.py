"""The bodies and motions that specs refer to, and the one place that knows which adapter poses which subject."""

from dataclasses import dataclass

from synthgen.scene import HumanSpec, PoseSpec, QuadrupedSpec, SmplSpec, SubjectSpec
from synthgen.subjects.animals.subject import AnimalLibrary, pose_quadruped
from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.mocap import Clip
from synthgen.subjects.people.subject import pose_human
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.smpl.body import SmplBody
from synthgen.subjects.smpl.subject import pose_smpl


@dataclass(frozen=True, eq=False)
class SubjectLibrary:
    """What a recipe's subjects need; a body that the recipe has no use for is None.

    Attributes:
        assets: ids of the assets that this came from, for provenance.
    """

    assets: tuple[str, ...]
    human: HumanBody | None = None
    clips: dict[str, Clip] | None = None
    animals: AnimalLibrary | None = None
    smpl: dict[str, SmplBody] | None = None

    @property
    def clip_durations_s(self) -> dict[str, float]:
        """Length of each motion clip."""
        return {name: clip.duration_s for name, clip in (self.clips or {}).items()}


def pose_subject(
    library: SubjectLibrary, subject: SubjectSpec, pose: PoseSpec, position_m: tuple[float, float]
) -> PosedSubject:
    """Mesh and joints of a subject at one moment, standing at a place (x, y) on the ground."""
    match subject:
        case HumanSpec():
            person = subject.shape, subject.wardrobe, subject.complexion
            return pose_human(library.human, library.clips, *person, pose, position_m)
        case SmplSpec():
            body = library.smpl[subject.model]
            return pose_smpl(body, library.clips, subject.shape, subject.outfit, pose, position_m)
        case QuadrupedSpec():
            return pose_quadruped(library.animals, subject.shape, pose, position_m, subject.coat)
