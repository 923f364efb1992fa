"""The table of docs/switches.md: what each platform expresses, and what proves it.

    python -m tests.switches.table            prints it
    python -m tests.switches.table --write    puts it into docs/switches.md, with the tables of platforms and settings

It follows from the feature tables and from the judges that the tests run (test_platforms.py): a letter stands only
where a judge of that level looks at the feature, over a plan that has it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

from fabric_templates import devices
from fabric_templates.devices import Device, Feature
from fabric_templates.features import check, code_of
from peering.session import SwitchPlan
from tests.switches.judges import LETTERS, Level
from tests.switches.matrix import cases
from tests.switches.platforms import judges, live, releases
from tests.switches.wants import NEVER_ASKED

PAGE = Path(__file__).parents[2] / "docs" / "switches.md"
_BEGIN = "<!-- begin {}: python -m tests.switches.table --write -->\n"
_END = "<!-- end {} -->\n"

#: What a feature is for who reads the handbook.
TITLES: dict[Feature, str] = {
    "addPaths": "several paths per prefix (RFC 7911)",
    "aggregates": "pools announced whole",
    "allowASIn": "own AS in received paths",
    "asOverride": "neighbour's AS replaced by the switch's",
    "bfd": "BFD",
    "bfdPassive": "BFD, passive",
    "bfdTimers": "BFD intervals",
    "blackhole": "BLACKHOLE of nodes refused",
    "clusterID": "cluster ID",
    "connectRetry": "connect retry time",
    "description": "peer's name at the session",
    "ecmp": "several paths used at once",
    "extendedNextHop": "IPv4 over IPv6 sessions (RFC 8950)",
    "firstAS": "first AS checked",
    "gracefulRestart": "graceful-restart helper",
    "gracefulShutdown": "GRACEFUL_SHUTDOWN gets local preference 0",
    "keepCommunities": "declared communities kept",
    "listenASFilter": "listen ranges for several ASs",
    "listenRanges": "listen ranges",
    "localAddress": "session's own address",
    "localASN": "another AS for one session",
    "longLivedStaleTime": "long-lived graceful restart",
    "maxPrefixes": "most prefixes of a session",
    "maxPrefixesRestart": "… and begins again",
    "maxPrefixesWarning": "… and warns at 80 %",
    "multihop": "eBGP over several hops",
    "multipathRelax": "… with different ASs in them",
    "nextHopKeep": "next hop kept towards eBGP",
    "nextHopSelf": "next hop self",
    "originate": "loopbacks announced",
    "passive": "passive sessions",
    "password": "TCP MD5",
    "pathFilters": "filters by AS path",
    "peerASInPath": "routes sent back into the AS of nodes",
    "peerPort": "another port than 179",
    "prefixFilters": "filters by prefix",
    "reachableBy": "route to a node's loopback",
    "rrClient": "route reflection",
    "setOrigin": "the rack's other switch as the second way",
    "stripCommunities": "other communities removed",
    "timers": "hold and keepalive time",
    "ttlSecurity": "TTL security (RFC 5082)",
    "unnumbered": "unnumbered links",
}
#: Below which feature one is told.
_BELOW: dict[Feature, Feature] = {"multipathRelax": "ecmp"}


def features_shown() -> list[Feature]:
    alphabetic = [f for f in get_args(Feature) if f not in NEVER_ASKED and f not in _BELOW]
    return [f for top in alphabetic for f in (top, *(b for b, above in _BELOW.items() if above == top))]


def support_of(device: Device, feature: Feature) -> str:
    """`yes`, `no`, `partly`, or of what it is said: `eBGP`, `send, both`."""
    support = device.features[feature]
    if isinstance(support, bool):
        return "yes" if support else "no"
    if isinstance(support, str):
        return {"ebgp": "eBGP", "ibgp": "iBGP"}.get(support, support)
    every = {"addPaths": ("send", "receive", "both"), "keepCommunities": ("standard", "large")}.get(feature, ())
    return "yes" if set(every) <= set(support) and every else ", ".join(support)


def proof_of(platform: str, feature: Feature) -> str:
    """The letters of the levels at which judges look at it, strongest first; a dot where there is only a golden file.

    Of what takes no line a parser sees nothing.
    """
    levels: set[Level] = {"ran" for one in live(platform) if feature in one.proves}
    silent = feature in _device(platform).implied
    for judge in judges(platform):
        seen = not silent if judge.proves is None else feature in judge.proves
        if seen and any(judge.takes(plan) for plan in _plans_with(platform, feature)):
            levels.add(judge.level)
    letters = "".join(letter for level, letter in LETTERS.items() if level in levels)
    return letters or ("no line" if silent else LETTERS["rendered"])


def _device(platform: str) -> Device:
    device = devices.find(platform, "")
    assert isinstance(device, Device)
    return device


@cache
def _plans_with(platform: str, feature: Feature) -> tuple[SwitchPlan, ...]:
    """The cases that ask for a feature."""
    return tuple(plan for plan in cases(platform).values() if asks_for(plan, platform, feature))


def asks_for(plan: SwitchPlan, platform: str, feature: Feature) -> bool:
    """Whether a platform without the feature would say so of this plan."""
    return code_of(feature) in _asked(plan, platform)


@cache
def _asked(plan: SwitchPlan, platform: str) -> frozenset[str]:
    """What a platform that can do nothing would say."""
    device = _device(platform)
    bare = device.model_copy(update={"features": dict.fromkeys(device.features, False)})
    return frozenset(problem.code for problem in check("Switch/x", plan, bare))


def cell(platform: str, feature: Feature) -> str:
    support = support_of(_device(platform), feature)
    if support == "no":
        return "–"
    proof = proof_of(platform, feature)
    return proof if support == "yes" else f"{support}: {proof}"


def table() -> str:
    """Markdown: a row per feature, a column per platform, then what is behind the letters and the parts."""
    platforms = releases("")
    lines = [f"| | {' | '.join(f'`{p}`' for p in platforms)} |", f"|---|{'---|' * len(platforms)}"]
    lines += [f"| {TITLES[f]} | {' | '.join(cell(p, f) for p in platforms)} |" for f in features_shown()]
    return "\n".join([*lines, "", *_legend(platforms), ""])


def _legend(platforms: list[str]) -> Iterator[str]:
    yield "| platform | judges | in part, or without a line |"
    yield "|---|---|---|"
    for platform in platforms:
        device = _device(platform)
        names = [f"{LETTERS[judge.level]} {judge.name}" for judge in judges(platform)]
        names += [f"R `{file}`" for file in sorted({one.test.partition("::")[0] for one in live(platform)})]
        notes = [f"{TITLES[f]}: {device.notes[f]}" for f in features_shown() if device.features[f] == "partly"]
        notes += [f"{_option(key)}: {reason}" for key, reason in sorted(device.implied.items())]
        yield f"| `{platform}` | {', '.join(names)} | {'; '.join(notes)} |"


def _option(key: str) -> str:
    """`FEATURE` or `FEATURE=VALUE` in words."""
    name, _, value = key.partition("=")
    title = next(title for feature, title in TITLES.items() if feature == name)
    return f"{title}, {value}" if value else title


def platforms() -> str:
    """Markdown: a row per platform, its files and what reads them."""
    lines = ["| platform | file | read by |", "|---|---|---|"]
    for name in devices.names():
        device = _device(name)
        known = device.versions
        title = f"{device.read_by}; {name}@{known.oldest} to {name}@{known.newest}" if known else device.read_by
        lines.append(f"| `{name}` | {', '.join(f'`{file.name}`' for file in device.files)} | {title} |")
    return "\n".join([*lines, ""])


def settings() -> str:
    """Markdown: what a Switch says for its platform (`spec.settings`)."""
    lines = ["| platform | setting | meaning | default |", "|---|---|---|---|"]
    for name in devices.names():
        for setting, row in sorted(_device(name).settings.items()):
            default = "required" if row.default is None else f"`{row.default}`"
            lines.append(f"| `{name}` | `{setting}` | {row.meaning} | {default} |")
    return "\n".join([*lines, ""])


PARTS = {"platforms": platforms, "settings": settings, "table": table}


def written(page: str) -> str:
    """The page with the tables of now. Raises ValueError where it has no place for one."""
    for name, part in PARTS.items():
        begin, end = page.index(_BEGIN.format(name)) + len(_BEGIN.format(name)), page.index(_END.format(name))
        page = f"{page[:begin]}\n{part()}\n{page[end:]}"
    return page


def main(arguments: list[str]) -> None:
    if arguments == ["--write"]:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(*(part() for part in PARTS.values()), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
