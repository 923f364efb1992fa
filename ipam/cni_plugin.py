#!/usr/bin/python3 -IS
"""`underlay-ipam`: what a CNI runtime runs for every pod. It asks the node agent on a unix socket, prints the answer.

    /usr/bin/python3 -IS underlay-ipam < network-configuration    (CNI_COMMAND and its like in the environment)

Only the standard library, one file, runnable by path, and as few imports as can be: `json` would be half of its time.
One file, however long: the agent puts a copy of it among the node's plugins (conflist.py), where it stands alone. Run
with -I it finds no module beside itself, and none of ours need be on the node: the agent may run in a container.
CNI 1.0.0 and 1.1.0 (ADD, DEL, CHECK, GC, STATUS, VERSION). It has two places in a list of plugins:

- as the IPAM plugin of `ptp`, where the configuration has an `ipam` section: everything but VERSION is the agent's;
- the same with `ipam.hostLocal`: addresses of one family come from the reference plugin `host-local`, run with that
  section, those of the other from the agent; the pod has them as if the agent had given both;
- behind `ptp`, without that section: the default route of IPv4, by a gateway outside the pod's subnet, which `ptp`
  cannot make. It changes the pod's namespace and asks nobody.

A DEL never waits for an agent. Where it is away, or cannot reach its store, the DEL is put into a folder: one file for
each container and interface, whole or not at all, on disk before the runtime is told that all is well. The agent takes
it from there.

On success stdout has the result of an ADD or VERSION, or nothing; else the error object of the spec, exit code 1.
"""

from __future__ import annotations

import _json  # `json` takes as long to import as Python to start, and is imported for what this cannot read
import _socket  # `socket` would take two milliseconds more, `typing` four
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Json = dict[str, Any]

VERSIONS = ("1.0.0", "1.1.0")
SOCKET = "/run/underlay/cni/agent.sock"
QUEUE = "/var/lib/underlay/cni/deletions"
#: Seconds for one answer of the agent; runtimes wait for two minutes.
PATIENCE = 30.0
#: The pod's next hop of IPv4: link-local, the same on every pod's veth.
GATEWAY = "169.254.1.1"
#: The same of IPv6.
GATEWAY_V6 = "fe80::1"

# Error codes of the spec; those from 100 on are free for plugins (cni_errors.py).
INCOMPATIBLE_VERSION = 1
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
NOT_DECODED = 6
INVALID_CONFIG = 7
TRY_AGAIN = 11
NOT_AVAILABLE = 50
INTERNAL = 100

_OF_A_CONTAINER = ("ADD", "DEL", "CHECK")
_COMMANDS = (*_OF_A_CONTAINER, "GC", "STATUS", "VERSION")
#: Since which version a command is one.
_SINCE = {"GC": "1.1.0", "STATUS": "1.1.0"}
_ANSWER_LIMIT = 1 << 20
_LONGEST_NAME = 200


class CniError(Exception):
    """An error object of the spec: a code, a short message, details for a person."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details

    def document(self) -> Json:
        """The object, without the version."""
        said: Json = {"code": self.code, "msg": self.msg}
        return {**said, "details": self.details} if self.details else said


class AgentAway(Exception):
    """Nobody has answered: the agent may have heard the request or not."""


def main(environment: Mapping[str, str], stdin: int = 0, stdout: int = 1) -> int:
    """One call of the plugin; its exit code."""
    version = VERSIONS[0]
    try:
        command = _command(environment)
        config = _configuration(_read(stdin), command)
        asked = config.get("cniVersion")
        version = asked if asked in VERSIONS else VERSIONS[-1] if command == "VERSION" else version
        answer, code = _answer(command, environment, config), 0
    except CniError as error:
        answer, code = error.document(), 1
    except Exception as bug:  # noqa: BLE001 - the runtime shows no traceback to anybody
        answer, code = {"code": INTERNAL, "msg": "underlay-ipam has failed", "details": repr(bug)}, 1
    if answer is not None:
        _print(stdout, {"cniVersion": version, **answer})
    return code


def queue_name(network: str, container: str, interface: str) -> str:
    """The file of a DEL. Neither networks nor containers can have an `@`, so no two have the same."""
    name = f"{network}@{container}@{interface}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        from hashlib import sha256  # noqa: PLC0415 - a millisecond that no usual container has to wait for

        name = f"sha256-{sha256(os.fsencode(name)).hexdigest()}"
    return f"{name}.json"


def is_identifier(text: object) -> bool:
    """Whether a network or a container may be called so: letters and digits, then `_`, `.` and `-` as well."""
    if not isinstance(text, str) or not text.isascii() or not text[:1].isalnum():
        return False
    return text.replace("_", "a").replace(".", "a").replace("-", "a").isalnum()


def is_interface(text: object) -> bool:
    """Whether an interface may be called so: as in Linux."""
    if not isinstance(text, str) or text in ("", ".", "..") or len(os.fsencode(text)) > 15:
        return False
    return text.isprintable() and not any(c in "/:" or c.isspace() for c in text)


def _command(environment: Mapping[str, str]) -> str:
    command = environment.get("CNI_COMMAND", "")
    if command not in _COMMANDS:
        said = f"CNI_COMMAND is {command!r}" if command else "CNI_COMMAND is not set"
        raise CniError(INVALID_ENVIRONMENT, said, f"one of {', '.join(_COMMANDS)} is expected")
    return command


def _read(stdin: int) -> bytes:
    try:
        with open(stdin, "rb", closefd=False) as stream:
            return stream.read()
    except OSError as error:
        raise CniError(IO_FAILURE, f"stdin cannot be read: {error.strerror}") from None


def _configuration(text: bytes, command: str) -> Json:
    """The network configuration. For VERSION there may be none."""
    if command == "VERSION" and not text.strip():
        return {}
    try:
        config = _loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(NOT_DECODED, "the network configuration on stdin is no JSON", str(error)) from None
    if not isinstance(config, dict):
        raise CniError(NOT_DECODED, "the network configuration on stdin is no JSON object")
    return config


def _answer(command: str, environment: Mapping[str, str], config: Json) -> Json | None:
    """What is printed. Raises CniError."""
    if command == "VERSION":
        return {"supportedVersions": list(VERSIONS)}
    _check_version(config, command)
    request = _request(command, environment, config)
    if "ipam" not in config:
        return _behind_ptp(request)
    ipam = _section(config)
    if "hostLocal" in ipam and command in _OF_A_CONTAINER:
        return _with_host_local(ipam, request, environment)
    return _by_agent(ipam, request)


def _by_agent(ipam: Json, request: Json) -> Json | None:
    """The agent's result; a DEL that it cannot do now waits for it. Raises CniError."""
    command = request["command"]
    try:
        return _ask(ipam, request)
    except AgentAway as away:
        if command == "DEL":
            _queue(_text(ipam, "queue", QUEUE), request)
            return None
        code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN
        raise CniError(code, "the node agent does not answer", f"{away}: is underlay's agent running?") from None


def _check_version(config: Json, command: str) -> None:
    version = config.get("cniVersion")
    if version not in VERSIONS:
        said = f"cniVersion is {version!r}" if version else "the network configuration has no cniVersion"
        raise CniError(INCOMPATIBLE_VERSION, said, f"underlay-ipam knows {' and '.join(VERSIONS)}")
    if version < _SINCE.get(command, version):
        raise CniError(INVALID_ENVIRONMENT, f"CNI_COMMAND is {command}, which CNI {version} does not have")


def _request(command: str, environment: Mapping[str, str], config: Json) -> Json:
    """What the agent is told. Raises CniError naming every variable that is wrong."""
    if not is_identifier(config.get("name")):
        raise CniError(
            INVALID_CONFIG, f"the network's name is {config.get('name')!r}", "it begins with a letter or digit"
        )
    request: Json = {"command": command, "config": config}
    if command not in _OF_A_CONTAINER:
        return request
    container, interface = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    netns = environment.get("CNI_NETNS", "")
    right = {
        "CNI_CONTAINERID": is_identifier(container),
        "CNI_IFNAME": is_interface(interface),
        "CNI_NETNS": bool(netns) or command == "DEL",
    }
    if wrong := [name for name, is_right in right.items() if not is_right]:
        said = ", ".join(f"{name}={environment.get(name, '')!r}" for name in wrong)
        raise CniError(INVALID_ENVIRONMENT, f"missing or wrong: {said}")
    args = environment.get("CNI_ARGS", "")
    return {**request, "containerID": container, "ifname": interface, "netns": netns, "args": args}


def _section(config: Json) -> Json:
    ipam = config["ipam"]
    if not isinstance(ipam, dict):
        raise CniError(INVALID_CONFIG, "ipam is no JSON object")
    return ipam


def _text(ipam: Json, field: str, default: str) -> str:
    found = ipam.get(field, default)
    if not isinstance(found, str) or not found.startswith("/") or "\0" in found:
        raise CniError(INVALID_CONFIG, f"ipam.{field} is {found!r}", "an absolute path is expected")
    return found


def _seconds(ipam: Json) -> float:
    found = ipam.get("timeout", PATIENCE)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= 3600:
        raise CniError(INVALID_CONFIG, f"ipam.timeout is {found!r}", "seconds are expected, at most 3600")
    return float(found)


def _ask(ipam: Json, request: Json) -> Json | None:
    """The agent's result. Raises CniError with its error, AgentAway; the latter too when a DEL has to wait."""
    answer = _talk(_text(ipam, "socket", SOCKET), _seconds(ipam), _dumps(request) + b"\n")
    error = answer.get("error")
    if error is None:
        result = answer.get("result")
        return result if isinstance(result, dict) else None
    if request["command"] == "DEL" and error["code"] >= TRY_AGAIN:
        raise AgentAway(error["msg"])  # nothing is wrong with the request: it can be done later
    raise CniError(error["code"], error["msg"], error.get("details", ""))


def _talk(path: str, seconds: float, question: bytes) -> Json:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        connection.connect(path)
        connection.sendall(question)
        text = _line(connection)
    except TimeoutError:
        raise AgentAway(f"nothing was heard on {path} for {seconds:g} seconds") from None
    except OSError as error:
        raise AgentAway(f"{path}: {error.strerror or error}") from None
    finally:
        connection.close()
    try:
        answer = _loads(text)
        if "result" in answer or (isinstance(answer["error"]["code"], int) and isinstance(answer["error"]["msg"], str)):
            return dict(answer)
    except (ValueError, KeyError, TypeError):
        pass
    raise AgentAway(f"{path}: what answered there is not underlay's agent")


def _line(connection: _socket.socket) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        piece = connection.recv(65536)
        if not piece or len(text) > _ANSWER_LIMIT:
            raise OSError(errno.EPIPE, "the agent hung up before its answer was whole")
        text += piece
    return text


def _queue(folder: str, request: Json) -> None:
    """Writes the DEL into the folder. It is on disk, and whole, when this returns. Raises CniError."""
    network, container, interface = request["config"]["name"], request["containerID"], request["ifname"]
    name = queue_name(network, container, interface)
    text = _dumps({"network": network, "containerID": container, "ifname": interface})
    unfinished = os.path.join(folder, f".{os.getpid()}")
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        _write(unfinished, text)
        os.replace(unfinished, os.path.join(folder, name))
        _sync_folder(folder)
    except OSError as error:
        _forget(unfinished)
        details = "the node agent is away, and what it has to release could not be kept for it: DEL has to be repeated"
        raise CniError(IO_FAILURE, f"{folder}: {error.strerror or error}", details) from None


def _write(path: str, text: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while text:
            text = text[os.write(descriptor, text) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _with_host_local(ipam: Json, request: Json, environment: Mapping[str, str]) -> Json | None:
    """What both give; if one fails, an ADD leaves nothing with the other. Raises CniError."""
    command = request["command"]
    if command == "ADD":
        found = _host_local(ipam, request, environment, command)
        try:
            return _both(found, _by_agent(ipam, request) or {})
        except CniError:
            _host_local(ipam, request, environment, "DEL")
            raise
    if command == "CHECK":
        _host_local(ipam, request, environment, command)
        return _by_agent(ipam, _without_its_addresses(ipam, request))
    _by_agent(ipam, request)
    _host_local(ipam, request, environment, command)
    return None


def _host_local(ipam: Json, request: Json, environment: Mapping[str, str], command: str) -> Json:
    """Runs it; its result. It hears of no wishes of the pod: those are the agent's to judge. Raises CniError."""
    import subprocess  # noqa: PLC0415 - not where the agent gives all

    said_by_runtime = request["config"]
    config = {"cniVersion": said_by_runtime["cniVersion"], "name": said_by_runtime["name"], "ipam": ipam["hostLocal"]}
    folders = filter(None, environment.get("CNI_PATH", "").split(os.pathsep))
    path = next((one for folder in folders if os.access(one := os.path.join(folder, "host-local"), os.X_OK)), None)
    if path is None:
        raise CniError(IO_FAILURE, "the plugin host-local is missing", "it has to be where the runtime has its plugins")
    variables = {**environment, "CNI_COMMAND": command, "CNI_ARGS": ""}
    done = subprocess.run([path], input=_dumps(config), capture_output=True, env=variables, check=False)
    try:
        said = _loads(done.stdout) if done.stdout.strip() else {}
        if done.returncode:
            raise CniError(said["code"], f"host-local: {said['msg']}", said.get("details", ""))
        return dict(said)
    except (ValueError, KeyError, TypeError):
        details = (done.stderr or done.stdout).decode(errors="replace")[-1000:]
        raise CniError(IO_FAILURE, "host-local has answered with no result of CNI", details) from None


def _both(found: Json, given: Json) -> Json:
    """One result, IPv4 first: single addresses with the gateways of all pods here, and the routes that `ptp` needs."""
    ips, routes = list(given.get("ips", ())), list(given.get("routes", ()))
    for one in found["ips"]:
        address, _, _ = one["address"].partition("/")
        if ":" in address:
            ips.append({"address": f"{address}/128", "gateway": GATEWAY_V6})
            routes.append({"dst": "::/0", "gw": GATEWAY_V6})
        else:
            ips.insert(0, {"address": f"{address}/32", "gateway": GATEWAY})
            routes.insert(0, {"dst": f"{address}/32", "gw": "0.0.0.0"})
    return {**given, "ips": ips, "routes": routes}


def _without_its_addresses(ipam: Json, request: Json) -> Json:
    """For a CHECK of the agent: the addresses of the other family are none of its."""
    families = {":" in one["subnet"] for ranges in ipam["hostLocal"]["ranges"] for one in ranges}
    previous = request["config"].get("prevResult")
    if not isinstance(previous, dict):
        return request
    ips = [one for one in previous.get("ips") or () if (":" in one["address"]) not in families]
    return {**request, "config": {**request["config"], "prevResult": {**previous, "ips": ips}}}


def _behind_ptp(request: Json) -> Json | None:
    """Adds the default route of IPv4 to what `ptp` made; the result of the list with it. Raises CniError."""
    previous = request["config"].get("prevResult")
    if request["command"] == "ADD" and not isinstance(previous, dict):
        raise CniError(INVALID_CONFIG, "the network configuration has neither ipam nor prevResult")
    if request["command"] != "ADD":
        return None
    result = {name: value for name, value in previous.items() if name != "cniVersion"}
    try:
        is_ipv4 = any(":" not in ip["address"] for ip in previous.get("ips") or ())
        kept = [route for route in previous.get("routes") or () if route.get("gw") != "0.0.0.0"]
    except (AttributeError, KeyError, TypeError):
        raise CniError(INVALID_CONFIG, "the ips or routes of prevResult cannot be read") from None
    if is_ipv4:
        _in_namespace(request["netns"], request["ifname"])
        result["routes"] = [*kept, {"dst": "0.0.0.0/0", "gw": GATEWAY}]
    return result


def _in_namespace(netns: str, interface: str) -> None:
    import ctypes  # noqa: PLC0415 - not for the IPAM plugin, which starts for every pod too

    try:
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(descriptor, 0x40000000) != 0:  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(descriptor)
        _add_default_route(interface)
    except OSError as error:
        said = f"no default route for {interface} in {netns}: {error.strerror or error}"
        raise CniError(IO_FAILURE, said) from None


def _add_default_route(interface: str) -> None:
    """RTM_NEWROUTE 0.0.0.0/0 via GATEWAY; a route that is there is replaced. Raises OSError."""
    from struct import pack, unpack_from  # noqa: PLC0415

    index = _socket.if_nametoindex(interface)
    attributes = pack("=HH4s", 8, 5, _socket.inet_aton(GATEWAY)) + pack("=HHI", 8, 4, index)
    # Family 2 (IPv4), table 254 (main), protocol 3 (boot), scope 0, type 1 (unicast).
    body = pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attributes
    # Type 24; flags REQUEST, ACK, REPLACE, CREATE.
    message = pack("=IHHII", 16 + len(body), 24, 0x505, 1, 0) + body
    netlink = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, 0)
    try:
        netlink.send(message)
        (code,) = unpack_from("=i", netlink.recv(4096), 16)
    finally:
        netlink.close()
    if code:
        raise OSError(-code, os.strerror(-code))


def _print(stdout: int, answer: Json) -> None:
    text = _dumps(answer) + b"\n"
    while text:
        text = text[os.write(stdout, text) :]


#: Its inside, which says of itself less than it takes.
_C: Any = _json


class _Reading:
    """How `json` has its scanner read."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int


def _loads(text: bytes) -> Any:
    """As `json.loads`, which is asked if this is no JSON, and by a Python whose scanner is another."""
    try:
        said = text.decode().strip(" \t\r\n")
        value, end = _C.make_scanner(_Reading)(said, 0)
        if end == len(said):
            return value
    except Exception:  # noqa: BLE001, S110 - `json` finds the words for it
        pass
    import json  # noqa: PLC0415

    return json.loads(text)


def _dumps(value: Json) -> bytes:
    """As `json.dumps`, which is asked where Python has another encoder."""
    try:
        encode = _C.make_encoder(None, None, _C.encode_basestring_ascii, None, ": ", ", ", False, False, True)
        return "".join(encode(value, 0)).encode()
    except Exception:  # noqa: BLE001
        import json  # noqa: PLC0415

        return json.dumps(value).encode()


if __name__ == "__main__":
    os._exit(main(os.environ))  # all is written, and to take the interpreter down takes milliseconds
