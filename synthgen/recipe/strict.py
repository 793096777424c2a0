"""What all recipe models share: they are frozen, and refuse unknown keys."""

from pydantic import BaseModel, ConfigDict

from synthgen.distributions import Choice


class Strict(BaseModel):
    """Refuses unknown keys; cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def even(*options: str) -> Choice:
    """Each of the options as likely as the others."""
    return Choice(tuple((option, 1.0) for option in options))
