"""YAML and `--set` to RunConfig, with errors that name file, line and the nearest right key."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vidgen.config.base import FamilyConfig
from vidgen.config.families import config_class
from vidgen.config.run import RunConfig
from vidgen.errors import ConfigError, did_you_mean

Options = TypeVar("Options", bound=BaseModel)
KeyPath = tuple[str | int, ...]  # a key's place in the document: ("train", "steps")
Lines = dict[KeyPath, str]  # where each key was set: "shapes.yaml:12" or "--set"


class YamlLoader(yaml.SafeLoader):
    """Safe YAML that also reads 1e-3 as a number (YAML 1.1 wants 1.0e-3)."""


YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted."""
    folder = resources.files("vidgen.recipes")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """A packaged recipe's YAML. Raises ConfigError with the nearest name."""
    if name not in recipe_names():
        raise ConfigError(
            f"no recipe or file '{name}'{did_you_mean(name, recipe_names())}",
            fix="`vidgen recipes` lists the recipes; a path to a YAML file works too.",
        )
    return (resources.files("vidgen.recipes") / f"{name}.yaml").read_text(encoding="utf-8")


def load_run(source: str, overrides: tuple[str, ...] | list[str] = ()) -> RunConfig:
    """Load a recipe by name, or a YAML file, and apply `a.b=c` overrides in order.

    Raises:
        ConfigError: unknown recipe, key or value; the message has file and line.
    """
    path = Path(source)
    named = source.endswith((".yaml", ".yml")) or "/" in source
    if named or (path.is_file() and source not in recipe_names()):
        if not path.is_file():
            raise ConfigError(
                f"no such config file: {source}",
                fix="`vidgen recipes` lists the recipes that come with vidgen.",
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{source} is not UTF-8 text: {error}") from None
        name = source
    else:
        text, name = recipe_text(source), f"recipe {source}"
    return parse_run(text, name, overrides)


def parse_run(text: str, name: str, overrides: tuple[str, ...] | list[str] = ()) -> RunConfig:
    """Validate YAML text; `name` stands for it in messages."""
    values, lines = parse_yaml(text, name)
    for override in overrides:
        apply_override(values, lines, override)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, lines, name) from None


def load_options(kind: type[Options], overrides: tuple[str, ...] | list[str]) -> Options:
    """A config model that has no file, from its defaults and `a=b` overrides alone.

    Raises:
        ConfigError: unknown key or wrong value.
    """
    values: dict[str, Any] = {}
    lines: Lines = {}
    for override in overrides:
        apply_override(values, lines, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, lines, "--set", kind) from None


def dump(config: RunConfig) -> str:
    """A config as YAML that `load_run` reads back to an equal config."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )


def leaves(config: BaseModel) -> dict[str, Any]:
    """A config's values by dotted key: {'train.steps': 1000, ...}."""
    found: dict[str, Any] = {}

    def walk(values: dict[str, Any], before: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                walk(value, f"{before}{key}.")
            else:
                found[f"{before}{key}"] = value

    walk(config.model_dump(mode="json"), "")
    return found


def parse_yaml(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    try:
        node = yaml.compose(text, Loader=YamlLoader)
        values = yaml.load(text, Loader=YamlLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"{where}: not valid YAML: {problem}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: a run config is a mapping of keys, got {_kind(values)}")
    lines: Lines = {}
    _index(node, (), name, lines)
    return values, lines


def _index(node: yaml.Node | None, at: KeyPath, name: str, lines: Lines) -> None:
    """Record where each key stands; refuse keys given twice (YAML would silently keep the last)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            if here in lines:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: key '{'.'.join(map(str, here))}' "
                    "is given twice",
                    fix=f"First given at {lines[here]}; remove one.",
                )
            lines[here] = f"{name}:{key.start_mark.line + 1}"
            _index(value, here, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _index(value, (*at, index), name, lines)


def apply_override(values: dict[str, Any], lines: Lines, override: str) -> None:
    """Set one `a.b=c`; the value is read as YAML."""
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(
            f"--set {override!r} is not an assignment",
            expected="key.key=value, like train.steps=100",
        )
    try:
        value = yaml.load(text, Loader=YamlLoader)
    except yaml.YAMLError:
        value = text
    target = values
    for depth, part in enumerate(parts[:-1]):
        inner = target.get(part)
        if inner is None:
            inner = target[part] = {}
        if not isinstance(inner, dict):
            held = ".".join(parts[: depth + 1])
            raise ConfigError(f"--set {override}: '{held}' holds a value, not a group of keys")
        target = inner
    target[parts[-1]] = value
    lines[tuple(parts)] = "--set"


def explain(
    error: ValidationError,
    values: dict[str, Any],
    lines: Lines,
    name: str,
    root: type[BaseModel] = RunConfig,
) -> ConfigError:
    """One pydantic error as one line: where, which key, what was expected."""
    # A key that is missing often follows from another that is wrong: that one is told first.
    first = min(error.errors(), key=lambda found: found["type"] == "missing")
    at: KeyPath = tuple(p for p in first["loc"])
    key = ".".join(str(p) for p in at)
    where = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), name)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        choices = _keys_at(at[:-1], values, root)
        hint = did_you_mean(str(at[-1]), choices)
        return ConfigError(
            f"{where}: unknown key '{key}'{hint}{more}",
            fix="" if hint else f"Keys here: {', '.join(choices)}.",
        )
    if first["type"] == "missing":
        return ConfigError(f"{where}: key '{key}' is missing{more}")
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if not key or isinstance(first["input"], dict) else f" (got {first['input']!r})"
    subject = f"{key}: " if key else ""
    return ConfigError(f"{where}: {subject}{message[0].lower()}{message[1:]}{shown}{more}")


def _keys_at(at: KeyPath, values: dict[str, Any], root: type[BaseModel]) -> list[str]:
    """Keys that a config model takes at a place."""
    kind: Any = root
    for part in at:
        if kind is RunConfig and part == "model":
            family = values.get("model", {}).get("family")
            try:
                kind = config_class(str(family))
            except ValueError:
                kind = FamilyConfig
            continue
        field = kind.model_fields.get(part) if _is_model(kind) else None
        kind = (
            next((a for a in _arguments(field.annotation) if _is_model(a)), None) if field else None
        )
    return sorted(kind.model_fields) if _is_model(kind) else []


def _arguments(annotation: Any) -> list[Any]:
    """The annotation and everything inside its unions and generics."""
    inner = [x for a in getattr(annotation, "__args__", ()) for x in _arguments(a)]
    return [annotation, *inner]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
