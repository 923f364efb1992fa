"""The options of `underlay reflector`: from text to values, with all that is wrong at once.

There are two forms. With --name everything is declared in a store. With --listen everything is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from peering.prefixes import Address, Prefix, format_address, format_prefix, is_ipv6, pack_address, pack_prefix
from peering.problems import Problem, errors
from peering.resources.fields import AsNumber, Cidr, HoldTime, IpAddress, RouterId
from peering.route_filter import Named
from reflector.configuration import Owners, OwnershipMode
from reflector.filters_file import read_filters
from reflector.owners_file import read_owners
from reflector.server.tcp_options import LONGEST_PASSWORD
from reflector.standalone import Standalone

T = TypeVar("T")

#: sun_path without its end.
_LONGEST_SOCKET_PATH = 107
#: As in a manifest (PrefixLimit of peering/resources/fields.py).
MOST_PREFIXES = 4294967295
_AS_NUMBER: TypeAdapter[int] = TypeAdapter(AsNumber)
_ROUTER_ID: TypeAdapter[str] = TypeAdapter(RouterId)
_CIDR: TypeAdapter[str] = TypeAdapter(Cidr)
_ADDRESS: TypeAdapter[str] = TypeAdapter(IpAddress)
_HOLD_TIME: TypeAdapter[int] = TypeAdapter(HoldTime)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Packed address and port."""

    address: Address
    port: int

    def __str__(self) -> str:
        text = format_address(self.address)
        return f"[{text}]:{self.port}" if is_ipv6(self.address) else f"{text}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was written, as it was written. None and () stand for what was not."""

    name: str | None = None
    listen: Sequence[str] = ()
    asn: str | None = None
    router_id: str | None = None
    cluster_id: str | None = None
    accept: Sequence[str] = ()
    owners: Path | None = None
    ownership: OwnershipMode | None = None
    filters: Path | None = None
    max_prefixes: str | None = None
    hold_time: str | None = None
    password_file: Path | None = None
    admin_socket: Path | None = None
    metrics: str | None = None

    def check_form(self) -> None:
        """Raises typer.BadParameter for what belongs to neither form, or to the other one."""
        if (self.name is None) is not bool(self.listen):
            message = "not together with --listen" if self.name else "is missing: give it, or --listen"
            raise typer.BadParameter(message, param_hint="--name")
        needed = {"--as": self.asn, "--router-id": self.router_id, "--accept": self.accept}
        others = {
            "--cluster-id": self.cluster_id,
            "--owners": self.owners,
            "--ownership": self.ownership,
            "--filters": self.filters,
            "--max-prefixes": self.max_prefixes,
            "--hold-time": self.hold_time,
        }
        if self.name is not None:
            foreign = [option for option, value in {**needed, **others}.items() if value]
            if foreign:
                raise typer.BadParameter("with --name it is the store that says so", param_hint=", ".join(foreign))
        missing = [option for option, value in needed.items() if not value]
        if self.name is None and missing:
            why = "" if self.accept else " (without --accept nobody can come in: give the prefixes of the clients)"
            raise typer.BadParameter(f"missing{why}", param_hint=", ".join(missing))


@dataclass(slots=True)
class Reader:
    """Reads options; what is wrong comes together in `problems`, and stands as None in the values.

    Warnings are problems, too, and keep nobody from starting.
    """

    problems: list[Problem] = field(default_factory=list)

    def standalone(self, given: Given) -> tuple[Standalone, bytes | None] | None:
        """The second form, with its password; None when anything is wrong."""
        asn = self.value("--as", given.asn, _AS_NUMBER)
        router_id = self.value("--router-id", given.router_id, _ROUTER_ID)
        cluster_id = self.value("--cluster-id", given.cluster_id, _ROUTER_ID)
        hold_time = self.value("--hold-time", _with_unit(given.hold_time), _HOLD_TIME)
        listen = self._listen(given.listen)
        all_read = len(listen) == len(given.listen)
        accept = self._accept(given.accept, {is_ipv6(one.address) for one in listen} if all_read else set())
        owners = self._owners(given)
        filters = self._filters(given.filters)
        max_prefixes = self._max_prefixes(given.max_prefixes)
        password = self.password(given.password_file)
        if errors(self.problems) or asn is None or router_id is None:
            return None
        standalone = Standalone(
            asn=asn,
            router_id=pack_address(router_id),
            cluster_id=pack_address(cluster_id or router_id),
            addresses=[one.address for one in listen],
            port=listen[0].port,
            accept=accept,
            hold_time=90 if hold_time is None else hold_time,
            password=password is not None,
            ownership=given.ownership or ("report" if given.owners else "off"),
            owners=owners,
            filters=filters,
            max_prefixes=max_prefixes,
        )
        return standalone, password

    def value(self, option: str, text: str | None, adapter: TypeAdapter[T]) -> T | None:
        """The text as a value of a manifest's field, by the same rules."""
        if text is None:
            return None
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            self.bad(option, error.errors(include_url=False)[0]["msg"].removeprefix("Value error, "))
            return None

    def endpoint(self, option: str, text: str | None) -> Endpoint | None:
        """`10.0.0.1:179` or `[fd00::1]:179`."""
        if text is None:
            return None
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
            self.bad(option, f"{text!r} is no address and port", "write 10.0.0.1:179 or [fd00::1]:179")
            return None
        address = self.value(option, host[1:-1] if bracketed else host, _ADDRESS)
        if len(port) > 5 or not 1 <= int(port) <= 65535:
            self.bad(option, f"port {port} is not 1 to 65535")
            return None
        return Endpoint(pack_address(address), int(port)) if address else None

    def socket_path(self, option: str, path: Path | None) -> Path | None:
        if path is not None and len(str(path).encode()) > _LONGEST_SOCKET_PATH:
            self.bad(option, f"is longer than the {_LONGEST_SOCKET_PATH} bytes that a unix socket's path may have")
            return None
        return path

    def password(self, path: Path | None) -> bytes | None:
        """The first line of the file."""
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except OSError as error:
            self._unreadable(path, f"cannot be read: {error.strerror}")
            return None
        password = data.removesuffix(b"\n").removesuffix(b"\r")
        if not password:
            self._unreadable(path, "is empty")
        elif b"\n" in password:
            self._unreadable(path, "has more than one line")
        elif len(password) > LONGEST_PASSWORD:
            self._unreadable(path, f"holds more than {LONGEST_PASSWORD} octets, the most that TCP-MD5 takes")
        else:
            return password
        return None

    def bad(self, option: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem("error", "bad-value", option, "", message, hint))

    def _unreadable(self, path: Path, message: str) -> None:
        self.problems.append(Problem("error", "unreadable-file", str(path), "", message))

    def _listen(self, texts: Sequence[str]) -> list[Endpoint]:
        found: list[Endpoint] = []
        for text in texts:
            one = self.endpoint("--listen", text)
            if one is None:
                continue
            if found and one.port != found[0].port:
                message = f"{one} has another port than {found[0]}"
                self.bad("--listen", message, "a reflector has one port, and clients expect 179")
            elif one in found:
                self.bad("--listen", f"{one} is given twice")
            else:
                found.append(one)
        return found

    def _accept(self, texts: Sequence[str], families: set[bool]) -> list[Prefix]:
        """`families` are those that are listened on (True: IPv6), empty while that is not known."""
        found: list[Prefix] = []
        for text in texts:
            cidr = self.value("--accept", text, _CIDR)
            if cidr is None:
                continue
            prefix = pack_prefix(cidr)
            if prefix in found:
                self.bad("--accept", f"{format_prefix(prefix)} is given twice")
            elif families and is_ipv6(prefix) not in families:
                version = "IPv6" if is_ipv6(prefix) else "IPv4"
                message = f"{format_prefix(prefix)}: nobody can come in from there, as no --listen is {version}"
                self.bad("--accept", message, f"add --listen {'[::]' if is_ipv6(prefix) else '0.0.0.0'}:179")
            else:
                found.append(prefix)
        return found

    def _owners(self, given: Given) -> Owners:
        if given.owners is None:
            if given.ownership not in (None, "off"):
                message = f"{given.ownership} needs to know who owns what"
                self.bad("--ownership", message, "give --owners FILE")
            return Owners()
        owners = read_owners(given.owners)
        if isinstance(owners, list):
            self.problems += owners
            return Owners()
        return owners

    def _max_prefixes(self, text: str | None) -> int | None:
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MOST_PREFIXES:
            return int(text)
        self.bad("--max-prefixes", f"{text!r} is no number from 1 to {MOST_PREFIXES}")
        return None

    def _filters(self, path: Path | None) -> Named:
        if path is None:
            return ()
        filters, problems = read_filters(path)
        self.problems += problems
        return filters


def _with_unit(text: str | None) -> str | None:
    """A number alone is seconds, as in a manifest."""
    return f"{text}s" if text is not None and text.isascii() and text.isdigit() else text
