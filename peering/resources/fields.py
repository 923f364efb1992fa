"""The field types that kinds share: AS numbers, CIDRs, addresses, durations, selectors, references.

Each validator's message is read by the admin who wrote the manifest: it says what is wrong and, where it
can, what was probably meant. Each type also says its form as JSON schema, which the CRDs are made of.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from peering.resources.spec import Mistake as Mistake
from peering.resources.spec import Spec as Spec
from peering.selectors import parse_selector

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_HOST = re.compile(r"^[0-9A-Za-z:][0-9A-Za-z.:_-]*$", re.ASCII)
_SHORT_DURATION = re.compile(r"(\d{1,6})(ms|s)", re.ASCII)
_RESERVED_ASNS = {0: "RFC 7607", 23456: "AS_TRANS, RFC 6793", 65535: "RFC 7300", 4294967295: "RFC 7300"}
_LONGEST_SHOWN = 60

#: Communities that may be written by name (RFC 1997, RFC 7999, RFC 8326), with their value.
WELL_KNOWN_COMMUNITIES = {
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "blackhole": "65535:666",
    "graceful-shutdown": "65535:0",
}

#: What is said of a value by what it is; of others, its text is shown.
_KINDS = {type(None): "nothing", list: "a list", tuple: "a list", dict: "a mapping", bool: "true or false"}


def kind_of(value: Any) -> str:
    """What a value is, without its content: it may be a password in the wrong place."""
    return _KINDS.get(type(value)) or ("text" if isinstance(value, str) else "a number")


def shown(value: Any) -> str:
    """A value as a message shows it: short whatever it is, for aliases make small files of huge lists."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | float) or (isinstance(value, int) and value.bit_length() <= 64):
        text = repr(value[: _LONGEST_SHOWN + 1] if isinstance(value, str) else value)
        return text if len(text) <= _LONGEST_SHOWN + 2 else f"{text[:_LONGEST_SHOWN]}...'"
    return kind_of(value)


def _as_number(value: Any) -> int:
    """Calico's numorstring: an integer, its text, or asdot (`"6.1"` = 6*65536+1, RFC 5396)."""
    if isinstance(value, float) and math.isfinite(value):
        raise ValueError(f"{value} is no AS number; asdot notation must be quoted")
    if isinstance(value, str) and re.fullmatch(r"\d{1,10}\.\d{1,10}", value, re.ASCII):
        high, low = (int(part) for part in value.split("."))
        if high > 65535 or low > 65535:
            raise ValueError(f"{value} is no AS number in asdot notation (both halves are at most 65535)")
        value = high * 65536 + low
    if isinstance(value, str) and re.fullmatch(r"\d{1,20}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(value)} is no AS number")
    if not 0 <= value <= 4294967295:
        raise ValueError(f"AS number {shown(value)} is out of range (1..4294967294)")
    if value in _RESERVED_ASNS:
        raise ValueError(f"AS number {value} is reserved ({_RESERVED_ASNS[value]})")
    return value


def _host(value: Any) -> str:
    """It stands in command lines of ssh: nothing that begins like an option."""
    text = _text(value, "an address or a DNS name")
    if len(text) > 253 or not _HOST.fullmatch(text):
        raise ValueError(f"{shown(text)} is no address and no DNS name")
    return text


def _cidr(value: Any) -> str:
    return _usual_cidr(_text(value, "a CIDR such as 10.0.0.0/16"))


@lru_cache(maxsize=1 << 14)
def _usual_cidr(text: str) -> str:
    """Blocks are read and written with every pod."""
    _, slash, length = text.partition("/")
    try:
        meant = ipaddress.ip_interface(text)
    except ValueError:
        meant = None
    if meant is None or "%" in text or (slash and not (length.isascii() and length.isdigit())):
        raise ValueError(f"{shown(text)} is no CIDR such as 10.0.0.0/16")
    if meant.ip != meant.network.network_address:
        raise ValueError(f"{text} has host bits set; the network is {meant.network}")
    return str(meant.network)


def _address(value: Any) -> str:
    text = _text(value, "an IP address")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        hint = "; leave out the length" if "/" in text else ""
        raise ValueError(f"{shown(text)} is no IP address{hint}") from None
    if "%" in text:
        raise ValueError(f"{shown(text)} names an interface; write the address alone")
    return str(address)


def _interface_address(value: Any) -> str:
    """`10.0.0.1/31`; without a length a host address (/32, /128), as Calico reads it."""
    text = _text(value, "an address such as 10.1.1.1/31")
    _, slash, length = text.partition("/")
    try:
        address = ipaddress.ip_interface(text)
    except ValueError:
        address = None
    if address is None or "%" in text or (slash and not (length.isascii() and length.isdigit())):
        raise ValueError(f"{shown(text)} is no interface address such as 10.1.1.1/31")
    return str(address)


def _of_family(version: int) -> Callable[[str], str]:
    def check(address: str) -> str:
        if (":" in address) is not (version == 6):
            raise ValueError(f"{address} is no IPv{version} address")
        return address

    return check


def _router_id(value: Any) -> str:
    text = _text(value, "a router ID such as 10.0.0.1")
    try:
        router_id = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is no router ID (four octets such as 10.0.0.1)") from None
    if int(router_id) == 0:
        raise ValueError("0.0.0.0 is no router ID (RFC 6286: non-zero)")
    return str(router_id)


def _seconds(value: Any) -> int:
    """Whole seconds from `30`, `"30s"` or `"1m30s"` (Kubernetes' duration text)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{shown(value)} is negative; a duration is not")
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError(f"{shown(value)} is no duration such as 30s or 1m30s (whole seconds)")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _at_most(limit: int, message: str) -> Callable[[int], int]:
    def check(value: int) -> int:
        if value > limit:
            raise ValueError(message)
        return value

    return check


def _hold_time(value: int) -> int:
    if value != 0 and not 3 <= value <= 65535:
        raise ValueError("holdTime must be 0 or 3s..65535s (RFC 4271, 4.2)")
    return value


def _connect_retry(value: int) -> int:
    if not 1 <= value <= 65535:
        raise ValueError("connectRetry must be 1s..65535s")
    return value


def _milliseconds(value: Any) -> int:
    """Whole milliseconds from `300`, `"300ms"` or `"1s"`."""
    match = _SHORT_DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        value = int(match[1]) * (1000 if match[2] == "s" else 1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(value)} is no interval such as 300ms or 1s")
    if not 10 <= value <= 60000:
        raise ValueError(f"{shown(value)} ms is out of range (10ms..60s)")
    return value


def _community(value: Any) -> str:
    """`65000:100` (RFC 1997) or `65000:1:2` (RFC 8092); the well-known ones by name."""
    text = _text(value, "a community such as 65000:100")
    if text in WELL_KNOWN_COMMUNITIES:
        return text
    if not is_community(text):
        raise ValueError(f"{shown(text)} is no community such as 65000:100 or 65000:1:2 (large)")
    return ":".join(str(int(part)) for part in text.split(":"))


def is_community(text: str) -> bool:
    """Whether this is `AA:NN` with 16 bits each, or `AA:NN:MM` with 32 bits each."""
    parts = text.split(":")
    limit = {2: 65535, 3: 4294967295}.get(len(parts), -1)
    return all(re.fullmatch(r"\d{1,10}", part, re.ASCII) is not None and int(part) <= limit for part in parts)


def unless_empty(value: Any) -> Any:
    """Calico's own tools write a text that is not set as `""`."""
    return None if value == "" else value


def _selector(value: Any) -> str:
    text = _text(value, "a selector such as rack == 'r1'")
    parse_selector(text)
    return text


def _text(value: Any, wanted: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not {wanted}")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable text on one line")
    return value


def _schema(kind: str, **words: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **words})


def _int_or_text(**words: Any) -> WithJsonSchema:
    """What may be written as a number or as text: Kubernetes' int-or-string."""
    return WithJsonSchema({"x-kubernetes-int-or-string": True, **words})


_DURATION_WORDS = {"pattern": r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 1, "maxLength": 30}
_ADDRESS_WORDS = {"pattern": r"^[0-9A-Fa-f:.]+$", "maxLength": 45}
_PREFIX_WORDS = {"pattern": r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "maxLength": 49}
_IN_SECONDS = PlainSerializer(lambda seconds: f"{seconds}s", return_type=str, when_used="json-unless-none")
_IN_MILLISECONDS = PlainSerializer(lambda number: f"{number}ms", return_type=str, when_used="json-unless-none")

T = TypeVar("T")

#: A list in a manifest. The bound keeps the cost of CEL rules over its items within what an API server allows.
Many = Annotated[tuple[T, ...], Field(max_length=1000)]

WholeNumber = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]

AsNumber = Annotated[
    int,
    BeforeValidator(_as_number),
    _int_or_text(minimum=1, maximum=4294967294, pattern=r"^[0-9]{1,10}$|^[0-9]{1,5}\.[0-9]{1,5}$"),
]
Cidr = Annotated[str, BeforeValidator(_cidr), _schema("string", **_PREFIX_WORDS)]
IpAddress = Annotated[str, BeforeValidator(_address), _schema("string", **_ADDRESS_WORDS)]
InterfaceAddress = Annotated[str, BeforeValidator(_interface_address), _schema("string", **_PREFIX_WORDS)]
Ipv4Address = Annotated[IpAddress, AfterValidator(_of_family(4))]
Ipv6Address = Annotated[IpAddress, AfterValidator(_of_family(6))]
Ipv4InterfaceAddress = Annotated[InterfaceAddress, AfterValidator(_of_family(4))]
Ipv6InterfaceAddress = Annotated[InterfaceAddress, AfterValidator(_of_family(6))]
RouterId = Annotated[str, BeforeValidator(_router_id), _schema("string", format="ipv4", maxLength=15)]
Seconds = Annotated[int, BeforeValidator(_seconds), _IN_SECONDS, _int_or_text(minimum=0, **_DURATION_WORDS)]
HoldTime = Annotated[
    int,
    BeforeValidator(_seconds),
    AfterValidator(_hold_time),
    _IN_SECONDS,
    _int_or_text(minimum=0, maximum=65535, **_DURATION_WORDS),
]
KeepaliveTime = Annotated[
    int,
    BeforeValidator(_seconds),
    AfterValidator(_at_most(65535, "keepaliveTime is at most 65535s, as the hold time is")),
    _IN_SECONDS,
    _int_or_text(minimum=0, maximum=65535, **_DURATION_WORDS),
]
ConnectRetry = Annotated[
    int,
    BeforeValidator(_seconds),
    AfterValidator(_connect_retry),
    _IN_SECONDS,
    _int_or_text(minimum=1, maximum=65535, **_DURATION_WORDS),
]
RestartTime = Annotated[
    int,
    BeforeValidator(_seconds),
    AfterValidator(_at_most(4095, "a restart time is at most 4095s (12 bits, RFC 4724, 3)")),
    _IN_SECONDS,
    _int_or_text(minimum=0, maximum=4095, **_DURATION_WORDS),
]
StaleTime = Annotated[
    int,
    BeforeValidator(_seconds),
    AfterValidator(_at_most(16777215, "a stale time is at most 16777215s (24 bits, RFC 9494, 3)")),
    _IN_SECONDS,
    _int_or_text(minimum=0, maximum=16777215, **_DURATION_WORDS),
]
Milliseconds = Annotated[
    int,
    BeforeValidator(_milliseconds),
    _IN_MILLISECONDS,
    _int_or_text(minimum=10, maximum=60000, pattern="^[0-9]{1,6}m?s$"),
]
Selector = Annotated[str, BeforeValidator(_selector), _schema("string", maxLength=4096)]
AnyLine = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_one_line)]
OneLine = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_one_line)]
Community = Annotated[
    str,
    BeforeValidator(_community),
    _schema("string", maxLength=32, pattern="^[0-9]+:[0-9]+(:[0-9]+)?$|^[a-z]+(-[a-z]+)*$"),
]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
HostAddress = Annotated[str, BeforeValidator(_host), _schema("string", maxLength=253, pattern=_HOST.pattern)]
PrefixLimit = Annotated[int, Strict(), Field(ge=1, le=4294967295)]
ListenLimit = Annotated[int, Strict(), Field(ge=1, le=5000)]
MaybeOneLine = Annotated[OneLine | None, BeforeValidator(unless_empty)]
MaybeSelector = Annotated[
    Selector | None, BeforeValidator(unless_empty), _schema("string", minLength=1, maxLength=4096)
]
AddressFamily = Literal["ipv4-unicast", "ipv6-unicast"]
AddPaths = Literal["send", "receive", "both"]


class SecretKey(Spec):
    """The name of a Secret and the key inside it."""

    name: OneLine
    """Name of the Secret."""
    key: OneLine
    """Key in that Secret."""

    @model_validator(mode="before")
    @classmethod
    def _never_without(cls, value: Any) -> Any:
        """Kubernetes' `optional: true` would mean a session without its password; `false` says nothing new."""
        if isinstance(value, dict) and value.get("optional") is False:
            return {name: part for name, part in value.items() if name != "optional"}
        return value

    ELSEWHERE = {"optional": "leave it out: a session waits for its password, it never goes without"}


class Password(Spec):
    """A password of TCP-MD5 (RFC 2385), as Calico writes it: always a reference."""

    EXAMPLE = "{secretKeyRef: {name: a-secret, key: a-key}}"

    secret_key_ref: SecretKey
    """Where the password is."""


class SecretName(Spec):
    """A Secret as a whole."""

    name: OneLine
    """Name of the Secret."""


def keepalive_mistakes(hold_time: int, keepalive_time: int | None) -> Iterator[Mistake]:
    """A keepalive time that leaves no room for a lost keepalive."""
    if keepalive_time is not None and hold_time and keepalive_time * 2 > hold_time:
        said = "keepaliveTime must be at most half of holdTime, better a third (RFC 4271, 4.4)"
        yield ("keepaliveTime",), said
