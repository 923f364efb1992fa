"""BIRD 2 as a client of the reflector; and, to try out the tests, in place of the reflector."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.interop.reflector_client import DEFAULT, IPV4, IPV6, Client, Options, Path, by_version
from tests.interop.reflector_lab import AS, Host, Lab, Process, command, eventually

#: Its name of the channel, and of the kind of table where that is not one it has anyhow.
_CHANNELS: dict[str, tuple[str, str]] = {
    IPV4: ("ipv4", ""),
    IPV6: ("ipv6", ""),
    "ipv4-labelled-unicast": ("ipv4 mpls", ""),
    "ipv6-labelled-unicast": ("ipv6 mpls", ""),
    "ipv4-vpn": ("vpn4 mpls", "vpn4"),
    "ipv6-vpn": ("vpn6 mpls", "vpn6"),
    "ipv4-flowspec": ("flow4", "flow4"),
    "ipv6-flowspec": ("flow6", "flow6"),
}
_PREFIX = re.compile(r"^(\S+/\d+) ")


class Bird(Client):
    kind = "bird"

    def __init__(self, lab: Lab, number: int, reflector: Host, options: Options = DEFAULT, name: str = "") -> None:
        super().__init__(lab, number, reflector, options, name)
        self._seconds: list[str] = []
        self._file, self._socket = self.host.folder / "bird.conf", self.host.folder / "bird.ctl"

    def launch(self, *, recovering: bool = False) -> None:
        self._write()
        self._socket.unlink(missing_ok=True)
        recover = ("-R",) if recovering else ()
        pid = str(self.host.folder / "bird.pid")
        self.process.start("bird", "-f", *recover, "-c", str(self._file), "-s", str(self._socket), "-P", pid)
        eventually(self._socket.exists, why=self.diagnosis)

    def _write(self) -> None:
        self._file.write_text(self._configuration())
        self._file.chmod(0o600)

    def _configuration(self) -> str:
        lines = [f"router id {self.host.ipv4};", "log stderr all;", "graceful restart wait 20;"]
        tables = sorted({_CHANNELS[family][1] for families in self.options.families.values() for family in families})
        lines += [f"{table} table {table}routes;" for table in tables if table]
        lines += ["protocol device { scan time 1; }", "protocol direct { ipv4; ipv6; }"]
        for version, prefixes in by_version(self.announced).items():
            routes = "".join(f"  route {prefix} blackhole;\n" for prefix in prefixes)
            lines.append(f"protocol static own{version} {{\n  ipv{version};\n{routes}}}")
        lines.append(f"protocol static seconds {{ ipv4; {' '.join(self._seconds)} }}")
        for version in self.options.families:
            lines += [f"protocol bgp rr{version} {{", *(f"  {line}" for line in self._session(version)), "}"]
        return "\n".join(lines) + "\n"

    def _session(self, version: int) -> Iterator[str]:
        o = self.options
        yield f"local {self.host.address(version)} as {o.local_asn};"
        yield f"neighbor {self.reflector.address(version)} as {AS};"
        yield f"hold time {o.hold_time};"
        yield "connect delay time 1; connect retry time 1; error wait time 1, 2;"
        yield f"graceful restart {f'on; graceful restart time {o.restart_time}' if o.restart_time else 'off'};"
        yield "long lived graceful restart off;"
        if o.password:
            yield f'password "{o.password}";'
        if o.extended_messages:
            yield "enable extended messages on;"
        yield from (self._channel(family) for family in o.families[version])

    def _channel(self, family: str) -> str:
        paths = {(True, True): "add paths on;", (True, False): "add paths rx;", (False, True): "add paths tx;"}
        channel, table = _CHANNELS[family]
        words = [f"table {table}routes;"] if table else []
        words += ["import all;", "export where source = RTS_STATIC;"]
        words.append(paths.get((self.options.add_path, self.options.send_paths), ""))
        if self.options.extended_next_hop and family == IPV4:
            words.append("extended next hop on;")
        return f"{channel} {{ {' '.join(words)} }};"

    def ask(self, *question: str) -> str:
        return command("birdc", "-s", str(self._socket), *question, check=False)

    def is_established(self, version: int) -> bool:
        return "Established" in self.ask("show", "protocols", f"rr{version}")

    def paths(self, family: str) -> set[Path]:
        names = [f"rr{version}" for version, families in self.options.families.items() if family in families]
        found: set[Path] = set()
        for name in names:
            table = f"master{4 if family == IPV4 else 6}"
            found |= set(_parse(self.ask("show", "route", "table", table, "protocol", name, "all")))
        return found

    def count(self, family: str) -> int:
        table = _CHANNELS[family][1]
        where = f"{table}routes" if table else f"master{6 if 'ipv6' in family else 4}"
        shown = self.ask("show", "route", "table", where, "protocol", f"rr{self.version_of(family)}", "count")
        found = re.search(r"^(\d+) of", shown, re.MULTILINE)
        assert found, shown
        return int(found[1])

    def announce(self, *prefixes: str) -> None:
        self.announced += prefixes
        self._reconfigure()

    def withdraw(self, *prefixes: str) -> None:
        gone = set(prefixes)
        self.announced = [prefix for prefix in self.announced if prefix not in gone]
        self._reconfigure()

    def announce_second(self, prefix: str, next_hop: str) -> None:
        self._seconds.append(f"route {prefix} via {next_hop};")
        self._reconfigure()

    def withdraw_second(self, prefix: str, next_hop: str) -> None:
        self._seconds.remove(f"route {prefix} via {next_hop};")
        self._reconfigure()

    def _reconfigure(self) -> None:
        self._write()
        said = self.ask("configure")
        assert "Reconfigur" in said, said

    def refresh(self, version: int) -> None:
        self.ask("reload", "in", f"rr{version}")


def _parse(shown: str) -> Iterator[Path]:
    """Routes as `show route all` prints them: a line per route, attributes below."""
    prefix, fields = "", {}
    for line in shown.splitlines():
        words = line.split()
        if not words or line.startswith(("BIRD", "Access", "Table")):
            continue
        if line[0] in " \t" and words[0].endswith(":"):
            fields[words[0].rstrip(":")] = words[1:]
        elif "[" in line:  # the head of a route; a further one to the same prefix begins with blanks
            if fields:
                yield _path(prefix, fields)
            prefix, fields = (words[0] if line[0] not in " \t" else prefix), {}
    if fields:
        yield _path(prefix, fields)


def _path(prefix: str, fields: dict[str, list[str]]) -> Path:
    hop = fields["BGP.next_hop"][0]
    return Path(prefix, hop, "".join(fields.get("BGP.originator_id", [])), tuple(fields.get("BGP.cluster_list", [])))


class BirdReflector:
    """Stands for the reflector: whatever proves the tests with BIRD in the middle judges our own then."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self.host = host
        self.process = Process(lab, host, "bird.log")
        self._socket = host.folder / "bird.ctl"

    def start(self, password: str, hold_time: int = 90) -> None:
        file = self.host.folder / "bird.conf"
        lines = [f"router id {self.host.ipv4};", "log stderr all;", "protocol device { scan time 1; }"]
        lines += ["protocol direct { ipv4; ipv6; }"]
        for version, accepted in ((4, "10.90.0.0/24"), (6, "fd00:90::/64")):
            lines += [f"protocol bgp clients{version} {{ local {self.host.address(version)} as {AS};"]
            lines += [f'  dynamic name "c{version}_";']
            lines += [f"  neighbor range {accepted} as {AS}; rr client; rr cluster id {self.host.ipv4}; passive;"]
            lines += [f'  password "{password}"; hold time {hold_time}; enable extended messages on;']
            lines += ["  long lived graceful restart off;"]
            for channel in (f"ipv{version}",) if version == 4 else ("ipv4", "ipv6"):
                hop = "extended next hop on;" if (channel, version) == ("ipv4", 6) else ""
                lines += [f"  {channel} {{ import all; export where source = RTS_BGP; add paths on; {hop} }};"]
            lines += ["}"]
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o600)
        pid = str(self.host.folder / "bird.pid")
        self.process.start("bird", "-f", "-c", str(file), "-s", str(self._socket), "-P", pid)
        eventually(self._socket.exists, why=self.process.said)

    def stop(self) -> None:
        self.process.terminate()
