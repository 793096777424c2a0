"""Strict YAML for people: recipes and training configurations load into pydantic models, errors are one line each.

A name is looked up in a packaged folder, anything with a slash or an existing file is a path. Errors name the file,
the path to the field, what is wrong and, for an unknown key, the nearest valid one.
"""

import difflib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from posecore.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def find_settings(name_or_path: str, folder: Path, what: str) -> Path:
    """The file that a user means by a name ("humans_dr", "humans_dr.yaml") or a path.

    Args:
        folder: where names are looked up. what: word for the error, such as "recipe".

    Raises:
        UserError: there is no such file; the nearest names are given.
    """
    given = Path(name_or_path)
    packaged = folder / given.with_suffix(".yaml").name
    if len(given.parts) == 1 and packaged.is_file():
        return packaged
    if given.is_file():
        return given
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    near = difflib.get_close_matches(given.stem, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    raise UserError(f"no {what} {name_or_path!r}, neither packaged nor a file; {hint}")


def load_settings(
    model: type[Model],
    name_or_path: str,
    folder: Path,
    what: str,
    overrides: tuple[str, ...] = (),
    whole: frozenset[str] = frozenset(),
) -> Model:
    """Read settings by name or path into a strict model.

    A file may say `extends: NAME` and then only what differs. Sections are merged field by field; replaced as a whole
    are a section of another variant (its `kind`, `name` or `body` differs) and one with a key in `whole`.

    Args:
        folder, what: see `find_settings`. overrides: "a.b=value" strings, applied last; values are YAML.

    Raises:
        UserError: not found, unreadable, or refused by the model; one line for each problem.
    """
    path = find_settings(name_or_path, folder, what)
    content = _read_extended(path, folder, what, whole, ())
    for override in overrides:
        apply_override(content, override)
    return parse_settings(model, content, str(path))


def _read_extended(
    path: Path, folder: Path, what: str, whole: frozenset[str], extended_by: tuple[Path, ...]
) -> dict[str, Any]:
    content = read_yaml(path)
    base = content.pop("extends", None)
    if base is None:
        return content
    if path in extended_by:
        raise UserError(f"{path}: extends itself, by way of {', '.join(p.name for p in extended_by)}")
    base_path = find_settings(str(base), folder, f"{what} to extend")
    return _merge(_read_extended(base_path, folder, what, whole, (*extended_by, path)), content, whole)


def _merge(base: dict[str, Any], changes: dict[str, Any], whole: frozenset[str]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        before = base.get(name)
        is_section = isinstance(before, dict) and isinstance(value, dict) and not whole & {*before, *value}
        if is_section and all(value.get(key, before.get(key)) == before.get(key) for key in ("kind", "name", "body")):
            merged[name] = _merge(before, value, whole)
        else:
            merged[name] = value
    return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds. Raises UserError if it cannot be read or is not a mapping."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of settings, found {type(content).__name__}")
    return content


def parse_settings(model: type[Model], content: dict[str, Any], source: str) -> Model:
    """Validate a mapping; `source` names it in errors. Raises UserError, one line for each problem."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{source}: {_explain(model, item)}" for item in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def apply_override(content: dict[str, Any], override: str) -> None:
    """Set one "a.b=value" in a nested mapping, in place.

    Raises:
        UserError: it has no "=", or a part of the path is not a mapping.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override!r}: write it as a.b=value")
    *parents, last = path.split(".")
    place = content
    for name in parents:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise UserError(f"--set {override!r}: {name} is a single value, it has no fields")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: the value is not valid YAML") from None


def _explain(model: type[BaseModel], item: Any) -> str:
    location, valid_names = _follow(model, [str(part) for part in item["loc"]])
    path = f"{'.'.join(location)}: " if location else ""  # a rule about the whole file names no field
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], valid_names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{path}unknown key{hint}"
    if item["type"] == "missing":
        return f"{path}missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    value = item["input"]
    shown = f", got {value!r}" if isinstance(value, str | int | float | bool) and "got" not in message else ""
    return f"{path}{message[0].lower()}{message[1:]}{shown}"


def _follow(model: type[BaseModel], location: list[str]) -> tuple[list[str], list[str]]:
    """The path to a field as the user wrote it, and the names that were valid at its last place.

    pydantic puts the tag of a discriminated union into the path ("subject.human.clothes"); the file has no such key.
    """
    models, path, names = [model], [], list(model.model_fields)
    for part in location:
        tagged = [m for m in models if part in _tags(m)]
        if tagged and not any(part in m.model_fields for m in models):
            models = tagged
            continue
        path.append(part)
        names = [name for m in models for name in m.model_fields]
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        models = [nested for field in fields for nested in _nested_models(field.annotation)]
    return path, names


def _nested_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [nested for argument in get_args(annotation) for nested in _nested_models(argument)]


def _tags(model: type[BaseModel]) -> list[str]:
    """Values that the fields allow by name, such as kinds: what a discriminated union tells its members apart by."""
    literals = [get_args(f.annotation) for f in model.model_fields.values() if get_origin(f.annotation) is Literal]
    return [str(value) for values in literals for value in values]
