"""The network of a scanner as data: the PACS that it sends to, and who may send to it (`scan --pacs FILE`)."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator
from typing_extensions import Self

from edgedx.core.errors import UsageError
from edgedx.core.strict import Strict

from .validation import explain
from .yaml_file import read_yaml

ANYONE = "*"
_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")  # PS3.5 6.2: AE
_NEXT = "`edgedx scan pacs` prints a file that is right, with every field explained"


def _title(text: str) -> str:
    if not _TITLE.fullmatch(text) or text == ANYONE:
        raise ValueError(f"{text!r} is no application entity title: 1 to 16 characters of ASCII, no backslash")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address of this machine, such as 127.0.0.1 or 192.168.10.5") from None


def _host(text: str) -> str:
    bare = text.strip("[]")
    if not bare or any(sign.isspace() or sign in "@/" for sign in bare):
        raise ValueError(f"{text!r} is no host name or address")
    return bare


def _path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and value else value


Model = TypeVar("Model", bound=BaseModel)
AeTitle = Annotated[str, AfterValidator(_title)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
PemFile = Annotated[Path, BeforeValidator(_path)]


class ClientTls(Strict):
    """TLS 1.2 or later towards the PACS."""

    ca: PemFile = Field(description="PEM file of who must have signed the certificate of the PACS.")
    certificate: PemFile | None = Field(None, description="Our certificate, PEM, where the PACS asks for one.")
    key: PemFile | None = Field(None, description="Its private key, PEM, without a password.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: give both or none")
        return self


class ServerTls(Strict):
    """TLS 1.2 or later for senders; both sides prove themselves by certificate, so that all three are needed."""

    ca: PemFile = Field(description="PEM file of who must have signed a sender's certificate.")
    certificate: PemFile = Field(description="Our certificate, PEM.")
    key: PemFile = Field(description="Its private key, PEM, without a password.")


class Send(Strict):
    """The PACS that gets reports and pictures by C-STORE."""

    ae_title: AeTitle = Field(description="Application entity title of the PACS.")
    host: Annotated[str, AfterValidator(_host)] = Field(description="Name or address of the PACS.")
    port: Port = Field(description="Its DICOM port.")
    tls: ClientTls | None = Field(None, description="TLS; without it everything is sent in clear.")


class Receive(Strict):
    """How images come in by C-STORE."""

    address: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1", description="The one IP address of this machine to listen on; 127.0.0.1 is this machine alone."
    )
    port: Port = Field(description="Port to listen on; above 1023, for an ordinary user.")
    allow: list[AeTitle] | Literal["*"] = Field(
        min_length=1, description="Application entity titles that may send, as a list; '*' takes anyone."
    )
    tls: ServerTls | None = Field(None, description="TLS; without it anyone on the network can read along.")


class PacsSettings(Strict):
    """What ``--pacs`` of `edgedx scan` names: at least one of the sections send and receive."""

    ae_title: AeTitle = Field("EDGEDX", description="Our application entity title, for both directions.")
    send: Send | None = Field(None, description="Where reports and pictures go; needs --sr or --sc.")
    receive: Receive | None = Field(None, description="Who may send images to us, and where we listen.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.send is None and self.receive is None:
            raise ValueError("send, receive: neither is there, so that there is nothing to do")
        return self

    def files(self) -> list[Path]:
        """The PEM files that it names."""
        sections = [section.tls for section in (self.send, self.receive) if section is not None and section.tls]
        return [path for tls in sections for path in (tls.ca, tls.certificate, tls.key) if path is not None]


def load_pacs(path: Path) -> PacsSettings:
    """Read a file of settings; files that it names are taken from its own folder unless their path is absolute.

    Raises
    ------
    UsageError
        Unknown key or wrong value; names the file and the field.
    InputOutputError
        The file cannot be read.
    """
    raw = read_yaml(path, UsageError)
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: no settings of a PACS: a mapping with send, receive or both", next_step=_NEXT)
    try:
        settings = PacsSettings.model_validate(raw)
    except ValidationError as error:
        raise UsageError(explain(error, PacsSettings, str(path)), next_step=_NEXT) from error
    return _beside(settings, path.absolute().parent)


def _beside(model: Model, folder: Path) -> Model:
    """A copy in which every path is absolute."""
    changes: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            changes[name] = folder / value
        elif isinstance(value, BaseModel):
            changes[name] = _beside(value, folder)
    return model.model_copy(update=changes)


def fields_of(model: type[BaseModel] = PacsSettings, prefix: str = "") -> list[tuple[str, str]]:
    """Every field as (dotted key, meaning), in the order of the file."""
    rows: list[tuple[str, str]] = []
    for name, info in model.model_fields.items():
        inner = _INNER.get((model, name))
        rows += [(f"{prefix}{name}", info.description or "")]
        rows += fields_of(inner, f"{prefix}{name}.") if inner else []
    return rows


_INNER: dict[tuple[type[BaseModel], str], type[BaseModel]] = {
    (PacsSettings, "send"): Send,
    (PacsSettings, "receive"): Receive,
    (Send, "tls"): ClientTls,
    (Receive, "tls"): ServerTls,
}
