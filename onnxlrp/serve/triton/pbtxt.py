"""Writes protobuf text: what Triton reads as `config.pbtxt`."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Field: TypeAlias = "str | int | bool | Word | Mapping[str, Field] | Sequence[Field]"


class Word(str):
    """An enumeration value, written without quotes."""

    __slots__ = ()


def to_text(message: Mapping[str, Field], indent: str = "") -> str:
    """Return a message as text; a list is a repeated field."""
    return "".join(_field(name, value, indent) for name, value in message.items())


def parameters(entries: Mapping[str, str]) -> list[Field]:
    """Return model parameters: a map from text to `string_value`."""
    return [{"key": key, "value": {"string_value": value}} for key, value in entries.items()]


def _field(name: str, value: Field, indent: str) -> str:
    if isinstance(value, Mapping):
        return f"{indent}{name} {{\n{to_text(value, indent + '  ')}{indent}}}\n"
    if isinstance(value, list | tuple):
        if all(isinstance(each, int) for each in value):
            return f"{indent}{name}: [ {', '.join(map(str, value))} ]\n"
        return "".join(_field(name, each, indent) for each in value)
    return f"{indent}{name}: {_scalar(value)}\n"


def _scalar(value: Field) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Word) or not isinstance(value, str):
        return str(value)
    return '"' + "".join(_escaped(byte) for byte in value.encode()) + '"'


def _escaped(byte: int) -> str:
    plain = 32 <= byte < 127 and chr(byte) not in '"\\'
    return chr(byte) if plain else f"\\{byte:03o}"
