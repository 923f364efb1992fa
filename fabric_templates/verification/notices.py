"""NOTIFICATIONs by their names: RFC 4271, 4486 and 9384 call them so, and most platforms print no numbers."""

from __future__ import annotations

import re

from fabric_templates.verification.end import Notice

_CODES = {
    "messageheadererror": (1, 0),
    "openmessageerror": (2, 0),
    "updatemessageerror": (3, 0),
    "holdtimerexpired": (4, 0),
    "holdtimeexpired": (4, 0),
    "holdtimerexpirederror": (4, 0),
    "finitestatemachineerror": (5, 0),
    "cease": (6, 0),
}
_SUBCODES = {
    "unsupportedversionnumber": (2, 1),
    "badpeeras": (2, 2),
    "badpeerasnumber": (2, 2),
    "badasnumber": (2, 2),
    "asunacceptable": (2, 2),
    "badbgpidentifier": (2, 3),
    "authenticationfailure": (2, 5),
    "unacceptableholdtime": (2, 6),
    "unsupportedcapability": (2, 7),
    "maximumnumberofprefixes": (6, 1),
    "maxnumprefixes": (6, 1),
    "maximumprefixes": (6, 1),
    "maxprefixexceeded": (6, 1),
    "administrativeshutdown": (6, 2),
    "administrativelyshutdown": (6, 2),
    "administrativelydown": (6, 2),
    "peerdeconfigured": (6, 3),
    "peerunconfigured": (6, 3),
    "administrativereset": (6, 4),
    "connectionrejected": (6, 5),
    "otherconfigurationchange": (6, 6),
    "connectioncollisionresolution": (6, 7),
    "connectioncollision": (6, 7),
    "outofresources": (6, 8),
    "hardreset": (6, 9),
    "bfddown": (6, 10),
}


def named(said: str, *, sent: bool | None) -> Notice | None:
    """The NOTIFICATION that a text names: the subcode's name anywhere in it, else the code's. None for other texts."""
    words = re.sub(r"[^a-z]", "", said.lower())
    for table in (_SUBCODES, _CODES):
        found = next((number for name, number in table.items() if name in words), None)
        if found:
            return Notice(*found, sent)
    return None
