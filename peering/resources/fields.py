"""The field types that kinds share: AS numbers, CIDRs, addresses, durations, selectors, references.

Each validator's message is read by the admin who wrote the manifest: it says what is wrong and, where it
can, what was probably meant.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from peering.selectors import parse_selector

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_RESERVED_ASNS = {0: "RFC 7607", 23456: "AS_TRANS, RFC 6793", 65535: "RFC 7300", 4294967295: "RFC 7300"}


class Spec(BaseModel):
    """A `spec` or a part of one: unknown fields are mistakes, and nothing changes after it was read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


def _as_number(value: Any) -> int:
    """Calico's numorstring: an integer, its text, or asdot (`"6.1"` = 6*65536+1, RFC 5396)."""
    if isinstance(value, str) and re.fullmatch(r"\d+\.\d+", value):
        high, low = (int(part) for part in value.split("."))
        if high > 65535 or low > 65535:
            raise ValueError(f"{value} is no AS number in asdot notation (both halves are at most 65535)")
        value = high * 65536 + low
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no AS number")
    if not 0 <= value <= 4294967295:
        raise ValueError(f"AS number {value} is out of range (1..4294967294)")
    if value in _RESERVED_ASNS:
        raise ValueError(f"AS number {value} is reserved ({_RESERVED_ASNS[value]})")
    return value


def _cidr(value: Any) -> str:
    text = _text(value, "a CIDR such as 10.0.0.0/16")
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_interface(text).network
    except ValueError:
        raise ValueError(f"{text!r} is no CIDR such as 10.0.0.0/16") from None
    raise ValueError(f"{text} has host bits set; the network is {meant}")


def _address(value: Any) -> str:
    text = _text(value, "an IP address")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None


def _interface_address(value: Any) -> str:
    """`10.0.0.1/31`; without a length a host address (/32, /128), as Calico reads it."""
    text = _text(value, "an address such as 10.1.1.1/31")
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        raise ValueError(f"{text!r} is no interface address such as 10.1.1.1/31") from None


def _router_id(value: Any) -> str:
    text = _text(value, "a router ID such as 10.0.0.1")
    try:
        router_id = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no router ID (four octets such as 10.0.0.1)") from None
    if int(router_id) == 0:
        raise ValueError("0.0.0.0 is no router ID (RFC 6286: non-zero)")
    return str(router_id)


def _seconds(value: Any) -> int:
    """Whole seconds from `30`, `"30s"` or `"1m30s"` (Kubernetes' duration text)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value} is negative; a duration is not")
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError(f"{value!r} is no duration such as 30s or 1m30s (whole seconds)")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _hold_time(value: int) -> int:
    if value != 0 and not 3 <= value <= 65535:
        raise ValueError("holdTime must be 0 or 3s..65535s (RFC 4271, 4.2)")
    return value


def _keepalive_time(value: int) -> int:
    if value > 65535:
        raise ValueError("keepaliveTime is at most 65535s, as the hold time is")
    return value


def _restart_time(value: int) -> int:
    if value > 4095:
        raise ValueError("a restart time is at most 4095s (12 bits, RFC 4724, 3)")
    return value


def _selector(value: Any) -> str:
    text = _text(value, "a selector such as rack == 'r1'")
    parse_selector(text)
    return text


def _text(value: Any, wanted: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not {wanted}")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable text on one line")
    return value


AsNumber = Annotated[int, BeforeValidator(_as_number)]
Cidr = Annotated[str, BeforeValidator(_cidr)]
IpAddress = Annotated[str, BeforeValidator(_address)]
InterfaceAddress = Annotated[str, BeforeValidator(_interface_address)]
RouterId = Annotated[str, BeforeValidator(_router_id)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
HoldTime = Annotated[Seconds, AfterValidator(_hold_time)]
KeepaliveTime = Annotated[Seconds, AfterValidator(_keepalive_time)]
RestartTime = Annotated[Seconds, AfterValidator(_restart_time)]
Selector = Annotated[str, BeforeValidator(_selector)]
OneLine = Annotated[str, AfterValidator(_one_line)]


class SecretKey(Spec):
    """`secretKeyRef`: the name of a Secret and the key inside it."""

    name: OneLine
    key: OneLine


class Password(Spec):
    """`password`, as Calico writes it: always a reference."""

    secret_key_ref: SecretKey
