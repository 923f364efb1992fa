"""What a switch of a generated lab can be: a kind of containerlab, and how that kind names interfaces and gets its
configuration.

Facts of containerlab (docs of its kinds, 0.6x to 0.79): `arista_ceos` and `nokia_srlinux` boot with `startup-config`,
SR Linux on top of its factory configuration when that is a file of commands; `sonic-vm` puts it in the place of
`/etc/sonic/config_db.json`; the container of SONiC (`sonic-vs`) has no such option, and no frrcfgd, so it is not here.
A `linux` container reads what is bound into it. `eth0` is the management interface of every kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LINUX = "linux"
NODE = "node"
"""What `--image node=...` names: the image that runs a speaker."""
NODE_IMAGE = "underlay:local"
ROUTER_IMAGE = "quay.io/frrouting/frr:10.5.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabKind:
    """`platform` is what is rendered, `kind` what containerlab calls it.

    Port N (from 1) is `port` in the topology and `device` in the configuration; in that one `{n}` is N and `{lane}`
    four times the ports before it. `startup` names the file; `bind` is where a container of kind `linux` reads it.
    `ports` is how many there are, 0 for any number.
    """

    platform: str
    kind: str
    image: str
    port: str
    device: str
    startup: str
    bind: str = ""
    mtu: int = 1500
    ports: int = 0
    cmd: str = ""

    @property
    def is_linux(self) -> bool:
        return self.kind == LINUX

    def port_name(self, number: int) -> str:
        return self.port.format(n=number)

    def device_name(self, number: int) -> str:
        return self.device.format(n=number, lane=4 * (number - 1))


def _linux(platform: str, image: str, path: str, cmd: str = "") -> LabKind:
    """Links of a Linux router have 9000 bytes: pods send without encapsulation, and nothing has to be set for it."""
    file = path.rpartition("/")[2]
    return LabKind(
        platform=platform, kind=LINUX, image=image, port="eth{n}", device="eth{n}", startup=file, bind=path, mtu=9000,
        cmd=cmd,
    )  # fmt: skip


#: By the name that `lab generate --kind` takes. Images that end in `:local` are for the user to make or to name.
KINDS: Mapping[str, LabKind] = {
    "frr": _linux("frr", ROUTER_IMAGE, "/etc/frr/frr.conf"),
    "bird": _linux("bird", "pierky/bird:2.15", "/etc/bird/bird.conf"),
    "gobgp": _linux("gobgp", "gobgp:local", "/etc/gobgp/gobgpd.yml", "gobgpd -t yaml -f /etc/gobgp/gobgpd.yml"),
    "openbgpd": _linux("openbgpd", "openbgpd:local", "/etc/bgpd/bgpd.conf", "bgpd -d -f /etc/bgpd/bgpd.conf"),
    "ceos": LabKind(
        platform="eos",
        kind="arista_ceos",
        image="ceos:4.34.2F",
        port="eth{n}",
        device="Ethernet{n}",
        startup="startup-config.cfg",
    ),
    "srlinux": LabKind(
        platform="srlinux",
        kind="nokia_srlinux",
        image="ghcr.io/nokia/srlinux:25.3.1",
        port="e1-{n}",
        device="ethernet-1/{n}",
        startup="startup-config.cli",
        ports=48,
    ),
    "sonic": LabKind(
        platform="sonic",
        kind="sonic-vm",
        image="vrnetlab/sonic_sonic-vs:202405",
        port="eth{n}",
        device="Ethernet{lane}",
        startup="config_db.json",
        ports=32,
    ),
}

_BY_PLATFORM = {kind.platform: name for name, kind in KINDS.items()}


def kind_of(platform: str) -> str | None:
    """The kind for `eos` or `srlinux@24.10`; None where no image of that platform runs in a lab."""
    return _BY_PLATFORM.get(platform.partition("@")[0])
