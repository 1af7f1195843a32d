"""A multipart form in pieces as they come, so that no file is ever held in memory or in another folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

_LONGEST_FIELD = 4096


class NoForm(Exception):
    """The body is no multipart form, or a broken one."""


@dataclass(frozen=True)
class Field:
    """A field of the form that is no file."""

    name: str
    value: str


@dataclass(frozen=True)
class FileBegins:
    """A file comes; what the client calls it is not read further."""

    empty_name: bool


@dataclass(frozen=True)
class Piece:
    """Bytes of the file that began last."""

    data: bytes


@dataclass(frozen=True)
class FileEnds:
    """It was whole."""


Part = Field | FileBegins | Piece | FileEnds


async def parts(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """What a form consists of, in its order.

    Raises
    ------
    NoForm
        Anything but a whole multipart form.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise NoForm
    reader = _Reader(options[b"boundary"])
    async for data in body:
        for part in reader.feed(data):
            yield part
    if not reader.ended:
        raise NoForm


class _Reader:
    """Callbacks of the parser; it is fed and says what it saw."""

    def __init__(self, boundary: bytes) -> None:
        self.ended = False
        self._seen: list[Part] = []
        self._name, self._disposition = b"", b""
        self._value: bytes | None = None
        self._field = ""
        try:
            self._parser = MultipartParser(boundary, {
                "on_part_begin": self._begin, "on_header_field": self._header_name, "on_header_value": self._header,
                "on_header_end": self._header_end, "on_headers_finished": self._headers, "on_part_data": self._data,
                "on_part_end": self._end, "on_end": self._all,
            })  # fmt: skip
        except FormParserError as error:
            raise NoForm from error

    def feed(self, data: bytes) -> list[Part]:
        self._seen = []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise NoForm from error
        return self._seen

    def _begin(self) -> None:
        self._name, self._disposition, self._header_value = b"", b"", b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._name, self._header_value = b"", b""

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self._value = None
            self._seen.append(FileBegins(not options[b"filename"]))
        else:
            self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self._seen.append(Piece(data[start:end]))
            return
        self._value += data[start:end]
        if len(self._value) > _LONGEST_FIELD:
            raise NoForm

    def _end(self) -> None:
        if self._value is None:
            self._seen.append(FileEnds())
        else:
            self._seen.append(Field(self._field, self._value.decode("utf-8", "replace")))

    def _all(self) -> None:
        self.ended = True
