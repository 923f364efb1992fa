"""Values that must not be printed, found before anything is.

A configuration is lines: a value with a line break in it is a second command, whoever wrote it. So every text
that comes from outside is one run of printable ASCII without spaces at its ends or doubled (platforms
collapse those, and then a password is another password), and every number, address and prefix is one.
A password is never part of a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from fabric_templates.devices import Device
from fabric_templates.neighbors import placeholder
from fabric_templates.roles import ROLES
from peering.problems import Problem, ordered
from peering.session import PrefixRule, SecretKeyRef, Session, SwitchPlan

_CODE = "unprintable-value"
_LINE_HINT = "use printable ASCII, without spaces at the ends or two in a row"
_RULE_LISTS = ("accept", "send", "announce")

Found = Iterator[tuple[str, str, str]]
"""(path, what is wrong, hint)"""


def check(
    where: str, name: str, plan: SwitchPlan, device: Device, passwords: Mapping[SecretKeyRef, str] | None
) -> tuple[Problem, ...]:
    """Every value of the plan that cannot be printed; errors all."""
    found = [*_switch(name, plan), *_prefixes(plan), *_ranges(plan), *_settings(plan, device)]
    for session in plan.sessions:
        path = f"sessions[{_shown(session.name)}]"
        found += [(f"{path}.{leaf}", message, hint) for leaf, message, hint in _session(session)]
    if passwords is not None:
        found += _passwords(plan, device, passwords)
    return ordered(Problem("error", _CODE, where, path, message, hint) for path, message, hint in found)


def is_one_line(text: str) -> bool:
    """Whether `text` survives being printed into a line of a configuration."""
    return bool(text) and text.isascii() and text.isprintable() and text == " ".join(text.split())


def _shown(text: str) -> str:
    return text if is_one_line(text) else ascii(text)


def _switch(name: str, plan: SwitchPlan) -> Found:
    yield from _lines({"name": name, "rack": plan.rack})
    yield from _parsed({"routerID": plan.router_id}, IPv4Address, "an IPv4 address")
    yield from _parsed({"asn": plan.asn}, _as_number, "an AS number, 1..4294967295")


def _session(session: Session) -> Found:
    yield from _lines({"name": session.name, "peer": session.peer})
    yield from _parsed({"peer": session.peer}, _peer, f"external, or one of {', '.join(sorted(ROLES))} and a name")
    if session.password is not None:
        yield from _lines({"password.secretKeyRef": placeholder(session.password)})
    yield from _parsed({"bfd": session.bfd and session.bfd.profile}, _word, "one word of printable ASCII")
    yield from _parsed(_addresses(session), _address, "an IPv4 or IPv6 address")
    yield from _parsed({"interface": session.interface}, _word, "one word of printable ASCII")
    yield from _parsed({"clusterID": session.cluster_id}, IPv4Address, "an identifier in dotted form")
    numbers = {"localASN": session.local_asn, "peerASN": session.peer_asn}
    yield from _parsed(numbers, _as_number, "an AS number, 1..4294967295")
    yield from _parsed({"peerPort": session.peer_port}, _port, "a port, 1..65535")


def _addresses(session: Session) -> dict[str, str | None]:
    found = {"localAddress": session.local_address, "reachableBy": session.reachable_by}
    return found if session.interface else {"peerAddress": session.peer_address, **found}


def _prefixes(plan: SwitchPlan) -> Found:
    networks = {f"networks[{i}]": cidr for i, cidr in enumerate(plan.networks)}
    networks |= {f"aggregates[{i}]": cidr for i, cidr in enumerate(plan.aggregates)}
    networks |= {f"listenRanges[{i}].cidr": r.cidr for i, r in enumerate(plan.listen_ranges)}
    yield from _parsed(networks, ip_network, "a prefix without host bits")
    yield from _parsed(
        {f"listenRanges[{i}].peerASN": r.peer_asn for i, r in enumerate(plan.listen_ranges) if not r.peer_asns},
        _as_number,
        "an AS number, 1..4294967295",
    )
    rules = {f"{kind}[{i}]": rule for kind in _RULE_LISTS for i, rule in enumerate(getattr(plan, kind))}
    yield from _parsed(rules, _rule, "a prefix with minLength <= maxLength, both inside it")


def _ranges(plan: SwitchPlan) -> Found:
    for i, listen in enumerate(plan.listen_ranges):
        path = f"listenRanges[{i}]"
        if listen.password is not None:
            yield from _lines({f"{path}.password.secretKeyRef": placeholder(listen.password)})
        yield from _parsed({f"{path}.bfd": listen.bfd and listen.bfd.profile}, _word, "one word of printable ASCII")
        yield from _parsed({f"{path}.clusterID": listen.cluster_id}, IPv4Address, "an identifier in dotted form")
        asns = {f"{path}.peerASNs[{n}]": asn for n, asn in enumerate(listen.peer_asns)}
        yield from _parsed(asns, _as_number, "an AS number, 1..4294967295")
        if listen.peer_asns and listen.peer_asn:
            yield f"{path}.peerASN", "peerASN and peerASNs are both given", "leave peerASN at 0"
    communities = {f"keepCommunities[{i}]": text for i, text in enumerate(plan.keep_communities)}
    yield from _parsed(communities, _community, "a community, 65000:100, or a large one, 65000:1:2")


def _settings(plan: SwitchPlan, device: Device) -> Found:
    given = {setting.name: setting.value for setting in plan.settings}
    for name, value in sorted(given.items()):
        row = device.settings.get(name)
        path = f"settings[{_shown(name)}]"
        if row is None:
            yield path, f"{device.title} has no such setting", f"it has {', '.join(sorted(device.settings)) or 'none'}"
        elif not is_one_line(value) or not re.fullmatch(row.pattern, value):
            yield path, f"{value!a} is not of the form {row.pattern}", row.meaning
    for name, row in sorted(device.settings.items()):
        if row.default is None and name not in given:
            yield f"settings[{name}]", f"{device.title} needs it: {row.meaning}", "add it to the Switch's settings"


def _passwords(plan: SwitchPlan, device: Device, passwords: Mapping[SecretKeyRef, str]) -> Found:
    users = [(f"sessions[{_shown(s.name)}].password", s.password) for s in plan.sessions]
    users += [(f"listenRanges[{i}].password", r.password) for i, r in enumerate(plan.listen_ranges)]
    for path, reference in users:
        if reference is None:
            continue
        text = passwords.get(reference)
        if text is None:
            yield path, "the password was not found", "create the secret that secretKeyRef names"
        elif not is_one_line(text):
            yield path, "the password cannot be printed into a configuration", _LINE_HINT
        elif any(character in device.limits.excludes for character in text):
            yield path, f"{device.title} takes none of {device.limits.excludes} in a password", "use another password"
        elif " " in text and not device.limits.password_spaces:
            yield path, f"{device.title} takes no password with a space in it", "use another password"
        elif len(text) > device.limits.password:
            yield (
                path,
                f"the password is longer than the {device.limits.password} characters of {device.title}",
                "",
            )


def _lines(texts: Mapping[str, str | None]) -> Found:
    for path, text in texts.items():
        if text is not None and not is_one_line(text):
            yield path, f"{text!a} cannot be printed into a configuration", _LINE_HINT


def _parsed(values: Mapping[str, Any], parse: Callable[[Any], object], expected: str) -> Found:
    for path, value in values.items():
        if value is None:
            continue
        try:
            parse(value)
        except ValueError:
            yield path, f"{value!a} is not {expected}", ""


def _address(text: str) -> None:
    if "%" in text:
        raise ValueError("a zone has no meaning on another machine")
    ip_address(text)


def _peer(text: str) -> None:
    if text.split("/")[0] not in ROLES:
        raise ValueError


def _word(text: str) -> None:
    if not is_one_line(text) or " " in text:
        raise ValueError


def _as_number(value: int) -> None:
    if not 1 <= value <= 0xFFFFFFFF:
        raise ValueError


def _port(value: int) -> None:
    if not 1 <= value <= 0xFFFF:
        raise ValueError


def _community(text: str) -> None:
    parts = [int(part) for part in text.split(":") if part.isascii() and part.isdigit()]
    most = {2: 0xFFFF, 3: 0xFFFFFFFF}.get(len(parts), -1)
    if len(parts) != text.count(":") + 1 or any(part > most for part in parts):
        raise ValueError


def _rule(rule: PrefixRule) -> None:
    network = ip_network(rule.cidr)
    if not rule.min_length <= rule.max_length <= network.max_prefixlen or rule.max_length < network.prefixlen:
        raise ValueError
