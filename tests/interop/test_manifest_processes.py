"""Each container of config/ as a runtime would start it: its arguments, environment, user and capabilities, on a root
that it cannot write to, with the volumes that its manifest mounts and no others. What is missing is the image itself,
and seccomp.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import yaml

from ipam.conflist import FILE_NAME, PLUGIN
from tests.interop.lab_kubernetes.api_server import StandIn
from tests.interop.speaker_lab import command, eventually
from tests.unit.eapi_switch import certificate
from tests.unit.kustomize import Document, build

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
FOLDERS = ("default", "components/reflectors", "components/webhook")
NODE, REFLECTOR = "node-1", "rr-1"
NAME_OF = {"underlay-speaker": NODE, "underlay-reflector": REFLECTOR}
ASK = """
import ssl, sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read().decode())
"""
CODE = f"{ROOT} {Path(sys.prefix).resolve()} {Path(sys.base_prefix).resolve()}"
Right = tuple[str, str, str]
soon = partial(eventually, within=90)

#: $1 is a folder for the root, $2 what is bound where, $3 what the container has in its image, $4 folders of this
#: machine that may be mounts of their own, or lie below one of the volumes, as /tmp. The rest is run.
ENTER = """
set -e
root=$1; binds=$2; made=$3; code=$4; shift 4
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/root"
cp -r "$made"/. "$root/root/made-for-this-test"
for kind in proc dev sys; do mount --rbind "/$kind" "$root/root/$kind"; done
for one in $code; do mkdir -p "$root/root$one"; done
for one in $binds; do mkdir -p "$root/root${one#*=}"; done
mount -o remount,ro "$root/root"
for one in $binds; do mount --bind "${one%%=*}" "$root/root${one#*=}"; done
for one in $code; do
  mkdir -p "$root/root$one"; mount --bind "$one" "$root/root$one"; mount -o remount,bind,ro "$root/root$one"
done
exec chroot "$root/root" "$@"
"""


def documents() -> list[Document]:
    return [d for folder in FOLDERS for d in build(CONFIG / folder)]


def allowed(account: str) -> set[Right]:
    """What RBAC lets the account do: verb, group, resource."""
    bound = {
        (d["roleRef"]["kind"], d["roleRef"]["name"])
        for d in documents()
        if d["kind"].endswith("Binding") and any(s["name"] == account for s in d.get("subjects", ()))
    }
    rules = [rule for d in documents() if (d["kind"], d["metadata"]["name"]) in bound for rule in d["rules"]]
    return {(v, g, r) for rule in rules for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}


def workloads() -> dict[str, Document]:
    found = {
        d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in documents() if "template" in d.get("spec", {})
    }
    return {name: pod for name, pod in found.items() if pod["containers"][0]["args"][0] in PROCESSES}


def image_environment() -> dict[str, str]:
    """All that a process of the image finds in its environment."""
    (line,) = re.findall(r"^ENV (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return dict(word.split("=", 1) for word in line.split())


#: Of each process where it answers, as a probe asks.
PROCESSES = {
    "speaker": "http://127.0.0.1:9790/readyz",
    "controller": "http://127.0.0.1:9792/readyz",
    "reflector": "http://127.0.0.1:9791/metrics",
    "webhook": "https://127.0.0.1:9443/livez",
    "web": "http://127.0.0.1:9793/readyz",
}


def rights(pod: Document, container: Document) -> list[str]:
    """Of a user other than root: the interpreter of the tests may lie where only root can read, and only that."""
    context = container["securityContext"]
    user = pod["securityContext"]["runAsUser"]
    kept = [f"+{name.lower()}" for name in context["capabilities"].get("add", ())]
    if user == 0:
        return ["setpriv", "--no-new-privs", f"--bounding-set={','.join(['-all', *kept])}", "--inh-caps=-all"]
    reading = "-all,+dac_read_search"
    return [
        *("setpriv", "--no-new-privs", f"--reuid={user}", f"--regid={pod['securityContext']['runAsGroup']}"),
        *("--clear-groups", f"--bounding-set={reading}", f"--inh-caps={reading}", f"--ambient-caps={reading}"),
    ]


class Machine:
    """A network namespace with a stand-in for the API server; volumes are folders of it, shared by their host paths."""

    def __init__(self, folder: Path, stand_in: StandIn, namespace: str) -> None:
        self.folder = folder
        self.stand_in = stand_in
        self.namespace = namespace
        self.made = folder / "made"
        self.made.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        stand_in.server.kubeconfig(self.made / "kubeconfig")
        self.made.chmod(0o755)

    def volume(self, name: str, pod: Document, volume: str) -> Path:
        (found,) = [one for one in pod["volumes"] if one["name"] == volume]
        place: Path = self.folder / "volumes" / (found.get("hostPath", {}).get("path", f"{name}-{volume}").strip("/"))
        if not place.exists():
            place.mkdir(parents=True)
            if "emptyDir" in found:
                place.chmod(0o777)  # as kubelet makes them
        return place

    def inside(self, name: str, pod: Document, container: Document, run: list[str]) -> list[str]:
        binds = [f"{self.volume(name, pod, one['name'])}={one['mountPath']}" for one in container["volumeMounts"]]
        root = self.folder / f"root-{name}"
        root.mkdir(exist_ok=True)
        return [
            *("ip", "netns", "exec", self.namespace, "unshare", "--mount", "sh", "-c", ENTER, "enter", str(root)),
            *(" ".join(binds), str(self.made), CODE, *rights(pod, container), *run),
        ]

    def start(self, name: str, pod: Document) -> Path:
        """The log of the container's process."""
        (container,) = pod["containers"]
        arguments = [one.replace("$(NODE_NAME)", NAME_OF.get(name, "")) for one in container["args"]]
        environment = image_environment() | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": "/made-for-this-test/kubeconfig",
        }
        log = self.folder / f"{name}.log"
        run = self.inside(name, pod, container, [sys.executable, "-m", "underlay", *arguments])
        with log.open("wb") as said:
            self._processes.append(subprocess.Popen(run, env=environment, cwd="/", stdout=said, stderr=said))
        return log

    def asked(self, url: str) -> str:
        return command("ip", "netns", "exec", self.namespace, sys.executable, "-c", ASK, url, check=False).strip()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder, namespace = tmp_path_factory.mktemp("machine"), f"u-manifests-{os.getpid()}"
    for path in (folder, *folder.parents[:-1]):
        if path.stat().st_uid == os.getuid() and path.is_relative_to("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)  # who is not root has to get to its volumes
    command("ip", "netns", "add", namespace)
    with ExitStack() as stack:
        stack.callback(command, "ip", "netns", "delete", namespace)
        command("ip", "-n", namespace, "link", "set", "lo", "up")
        command("ip", "-n", namespace, "link", "add", "eth1", "type", "veth", "peer", "name", "switch")
        for link in ("switch", "eth1"):
            command("ip", "-n", namespace, "link", "set", link, "up")
        for address in ("192.0.2.1/24", "192.0.2.11/24", "fd00:c0::1/64", "fd00:c0::11/64"):
            nodad = ("nodad",) if ":" in address else ()
            command("ip", "-n", namespace, "address", "add", address, "dev", "eth1", *nodad)
        stand_in = stack.enter_context(StandIn([namespace]))
        for path in sorted((CONFIG / "samples" / "reflectors").glob("*.yaml")):
            for one in yaml.safe_load_all(path.read_text()):
                stand_in.put(one)
        made = Machine(folder, stand_in, namespace)
        stack.callback(made.stop)
        yield made


def test_nothing_but_the_volumes_can_be_written(machine: Machine) -> None:
    """So that what follows means something."""
    for name, pod in workloads().items():
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            mounts = [one for one in container["volumeMounts"] if not one.get("readOnly")]
            places = dict.fromkeys(("/", "/var/lib", "/run", str(ROOT)), False) | {m["mountPath"]: True for m in mounts}
            for place, works in places.items():
                run = machine.inside(name, pod, container, ["sh", "-c", f"touch {place}/x && rm {place}/x"])
                done = subprocess.run(run, capture_output=True, text=True, check=False)
                assert (done.returncode == 0) is works, (name, place, done.stderr)


#: Those who only read first, and the controller last: so each right that is missing is missed by whose it is.
IN_ORDER = ("underlay-web", "underlay-webhook", "underlay-reflector", "underlay-speaker", "underlay-controller")
#: So that a speaker and a controller that write nothing are seen.
WRITTEN = {
    ("create", "underlay.io", "blockaffinities"),
    ("patch", "underlay.io", "bgpnodestatuses"),
    ("create", "coordination.k8s.io", "leases"),
}


def answers(machine: Machine, pod: Document) -> bool:
    return machine.asked(PROCESSES[pod["containers"][0]["args"][0]]) != ""


def test_the_init_container_installs_plugins_that_run(machine: Machine) -> None:
    pod = workloads()["underlay-speaker"]
    (first,) = pod["initContainers"]
    for _ in range(2):  # the second time over what is there
        run = machine.inside("underlay-speaker", pod, first, [*first["command"], *first["args"]])
        subprocess.run(run, check=True)
    there = machine.folder / "volumes/opt/cni/bin"
    assert {path.name for path in there.iterdir()} == {"ptp", "host-local"}
    for plugin in there.iterdir():
        said = subprocess.run([plugin], env={"CNI_COMMAND": "VERSION"}, input=b"{}", capture_output=True, check=True)
        assert "1.0.0" in json.loads(said.stdout)["supportedVersions"]


def test_every_process_does_its_part_with_what_its_manifest_gives_it(machine: Machine) -> None:
    pods = workloads()
    assert set(pods) == set(IN_ORDER)
    tls = machine.volume("underlay-webhook", pods["underlay-webhook"], "tls")
    both, _ = certificate(tls)
    for name in ("tls.crt", "tls.key"):
        shutil.copy(both, tls / name)
    logs, rights_so_far = {}, set[Right]()
    for name in IN_ORDER:
        logs[name] = machine.start(name, pods[name])
        soon(partial(answers, machine, pods[name]))
        rights_so_far |= allowed(pods[name]["serviceAccountName"])
        assert machine.stand_in.server.used <= rights_so_far, name
    volumes = machine.folder / "volumes"
    soon(lambda: (volumes / "etc/cni/net.d" / FILE_NAME).is_file())
    soon(lambda: (volumes / "run/underlay/speaker/last-seen.json").is_file())
    assert (volumes / "opt/cni/bin" / PLUGIN).is_file()
    assert (volumes / "var/lib/underlay/reflector" / f"{REFLECTOR}.json").is_file()
    assert (volumes / "run/underlay/cni/agent.sock").is_socket()
    assert machine.stand_in.server.used >= WRITTEN
    soon(lambda: "Established" in json.dumps(machine.stand_in.get("bgpnodestatuses", NODE)["spec"]))
    assert machine.stand_in.server.used <= rights_so_far
    for log in logs.values():
        said = log.read_text().lower()
        assert not [w for w in ("read-only", "not permitted", "denied", "traceback", "a bug in") if w in said], said
