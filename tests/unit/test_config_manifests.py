"""The manifests in config/: complete, of Kubernetes' own schemas, with no more rights than they say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import typer
import yaml

from peering.compile import plan
from peering.manifests import read_manifests
from peering.problems import errors
from peering.resource import Resource, parse_resource
from peering.resources.catalog import KINDS, UNDERLAY
from peering.snapshot import Snapshot
from peering.store.kubernetes.sources import CALICO_KINDS
from tests.unit.kustomize import Document, build
from underlay.cli import command_line
from underlay.web_facts import KINDS as PAGE_KINDS

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "config" / "image" / "runtime_requirements.py"
CONFIG = ROOT / "config"
OVERLAYS = sorted(path.parent for path in CONFIG.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent for path in CONFIG.glob("components/*/kustomization.yaml"))
#: They change what the others bring.
LAST = ("prometheus", "calico-crds")
#: Schemas that Kubernetes does not have.
OTHERS = ("underlay.io/", "monitoring.coreos.com/", "cert-manager.io/")
SAMPLE_OF = {
    "ebgp-as-per-rack": "dual-tor",
    "ebgp-as-per-node": "as-per-node",
    "ebgp-as-per-cluster": "as-per-cluster",
    "ibgp-tor-reflects": "dual-tor-ibgp",
    "reflectors": "reflectors",
}
names = [path.name for path in OVERLAYS]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The default with all components at once."""
    return build(_with_components(tmp_path_factory.mktemp("all")))


def _with_components(folder: Path) -> Path:
    shutil.copytree(CONFIG, folder / "config", ignore=shutil.ignore_patterns("samples"))
    whole = folder / "config" / "whole"
    whole.mkdir()
    ordered = [*(c.name for c in COMPONENTS if c.name not in LAST), *LAST]
    return _composed(whole, *ordered)


def _composed(folder: Path, *components: str) -> Path:
    made = {"resources": ["../default"], "components": [f"../components/{name}" for name in components]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return folder


def one(documents: list[Document], kind: str, name: str) -> Document:
    (found,) = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    return found


def pod(document: Document) -> Document:
    spec: Document = document["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("release", ["1.30", "1.37"])
def test_every_document_is_of_kubernetes_own_schema(everything: list[Document], release: str) -> None:
    looked_at = [d for d in everything if not d["apiVersion"].startswith(OTHERS)]
    assert len(looked_at) > 30
    for document in looked_at:
        kubernetes_validate.validate(document, release, strict=True)


def test_a_misspelt_field_is_seen() -> None:
    wrong = one(build(CONFIG / "default"), "DaemonSet", "underlay-speaker")
    pod(wrong)["hostNetworks"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.30", strict=True)


@pytest.mark.parametrize("folder", [CONFIG / "default", *OVERLAYS], ids=lambda path: path.name)
def test_kubectl_builds_the_same(folder: Path) -> None:
    """Where there is a kubectl of today; what it makes of the folder is what was judged."""
    kubectl = shutil.which("kubectl")
    made = build(folder)
    assert made
    if kubectl is not None:
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert _sorted(list(yaml.safe_load_all(done.stdout))) == _sorted(made)


@pytest.mark.parametrize("component", [*(c.name for c in COMPONENTS), "all"])
def test_kubectl_builds_a_component_as_we_do(component: str, tmp_path: Path) -> None:
    """Each by itself, and all of them: what one changes of another that is not there is nothing."""
    whole = _with_components(tmp_path)
    if component != "all":
        _composed(whole, component)
    made = build(whole)
    assert len(made) >= len(build(CONFIG / "default"))
    kubectl = shutil.which("kubectl")
    if kubectl is not None:
        done = subprocess.run([kubectl, "kustomize", whole], capture_output=True, text=True, check=True)
        assert _sorted(list(yaml.safe_load_all(done.stdout))) == _sorted(made)


def _sorted(documents: list[Document]) -> list[str]:
    return sorted(json.dumps(document, sort_keys=True) for document in documents)


@pytest.mark.parametrize("overlay", names)
def test_an_overlay_declares_what_its_sample_does(overlay: str) -> None:
    made = [d for d in build(CONFIG / "overlays" / overlay) if d["apiVersion"] == UNDERLAY]
    parsed = [parse_resource(document) for document in made]
    ours = {(r.kind, r.name): r.spec for r in parsed if isinstance(r, Resource)}
    assert len(ours) == len(made)
    sample, problems = read_manifests([CONFIG / "samples" / SAMPLE_OF[overlay]])
    assert not errors(problems)
    declared = {(r.kind, r.name): r.spec for r in sample if r.kind != "Node"}
    assert ours == declared
    nodes = [r for r in sample if r.kind == "Node"]
    whole = plan(Snapshot([*nodes, *(r for r in parsed if isinstance(r, Resource))]))
    assert not errors(whole.problems)


RIGHTS = {
    ("DaemonSet", "underlay-speaker"): {"NET_ADMIN", "NET_RAW"},
    ("Deployment", "underlay-reflector"): {"NET_BIND_SERVICE"},
    ("Deployment", "underlay-controller"): set(),
    ("Deployment", "underlay-web"): set(),
    ("Deployment", "underlay-webhook"): set(),
}


def test_no_container_has_more_rights_than_it_says(everything: list[Document]) -> None:
    documents = [*build(CONFIG / "default"), *everything]
    mesh = {("DaemonSet", "underlay-speaker"): {"NET_BIND_SERVICE"}}
    workloads = [d for d in documents if d["kind"] in ("DaemonSet", "Deployment")]
    assert {(d["kind"], d["metadata"]["name"]) for d in workloads} == set(RIGHTS)
    for document in workloads:
        key = (document["kind"], document["metadata"]["name"])
        for container in [*pod(document).get("initContainers", ()), *pod(document)["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"]["drop"] == ["ALL"]
            assert set(context["capabilities"].get("add", ())) <= RIGHTS[key] | mesh.get(key, set())
            assert "privileged" not in context
        assert pod(document)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_daemonset_is_what_the_handbook_says() -> None:
    """Not privileged, with two capabilities, on every node, before others, and updated one node after the other."""
    daemons = one(build(CONFIG / "default"), "DaemonSet", "underlay-speaker")
    spec = pod(daemons)
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert not {"hostPID", "hostIPC", "nodeSelector", "affinity"} & set(spec)
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert daemons["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }
    assert daemons["spec"]["minReadySeconds"] == 10
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
    }
    (first,) = spec["initContainers"]
    assert {one["name"]: one["mountPath"] for one in first["volumeMounts"]} == {"cni-bin": "/opt/cni/bin"}
    assert "/opt/cni/bin" in "".join(first["args"])


def test_reflectors_stand_apart_and_go_one_by_one(everything: list[Document]) -> None:
    reflectors = one(everything, "Deployment", "underlay-reflector")
    spec = pod(reflectors)
    labels = reflectors["spec"]["selector"]["matchLabels"]
    assert spec["hostNetwork"] is True
    assert spec["nodeSelector"] == {"underlay.io/reflector": ""}
    (apart,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart == {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    assert reflectors["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    budget = one(everything, "PodDisruptionBudget", "underlay-reflector")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}


def test_every_process_with_metrics_is_scraped_where_it_answers(everything: list[Document]) -> None:
    monitors = {d["metadata"]["name"]: d["spec"] for d in everything if d["kind"] == "PodMonitor"}
    assert set(monitors) == {"underlay-speaker", "underlay-reflector", "underlay-controller"}
    for name, monitor in monitors.items():
        (workload,) = [
            d for d in everything if d["kind"] in ("DaemonSet", "Deployment") and d["metadata"]["name"] == name
        ]
        assert monitor["selector"]["matchLabels"] == workload["spec"]["selector"]["matchLabels"]
        (container,) = pod(workload)["containers"]
        (asked,) = [row for row in container["ports"] if row["name"] == monitor["podMetricsEndpoints"][0]["port"]]
        (place,) = [a.partition("=")[2] for a in container["args"] if a.startswith(("--health=", "--metrics="))]
        assert place.rpartition(":")[2] == str(asked["containerPort"])
        assert not place.startswith("127.")
        if pod(workload).get("hostNetwork"):
            (address,) = [row["valueFrom"] for row in container["env"] if row["name"] == "NODE_ADDRESS"]
            assert address == {"fieldRef": {"fieldPath": "status.hostIP"}}


def test_network_policies_are_for_the_pods_that_they_hold_for(everything: list[Document]) -> None:
    """None for pods in the network of their node, where it would say what is not so; by themselves those hide."""
    policies = {d["metadata"]["name"]: d["spec"] for d in everything if d["kind"] == "NetworkPolicy"}
    workloads = [d for d in everything if d["kind"] in ("DaemonSet", "Deployment")]
    assert set(policies) == {d["metadata"]["name"] for d in workloads if not pod(d).get("hostNetwork")}
    for name, policy in policies.items():
        (container,) = pod(one(everything, "Deployment", name))["containers"]
        ports = {(row["containerPort"], "TCP") for row in container["ports"]}
        assert {(p["port"], p["protocol"]) for rule in policy["ingress"] for p in rule["ports"]} == ports
        assert (
            policy["podSelector"]["matchLabels"]
            == one(everything, "Deployment", name)["spec"]["selector"]["matchLabels"]
        )
    reflectors = build(CONFIG / "components" / "reflectors")
    for document in [*build(CONFIG / "default"), *reflectors]:
        if document["kind"] in ("DaemonSet", "Deployment") and pod(document).get("hostNetwork"):
            (container,) = pod(document)["containers"]
            places = [a.partition("=")[2] for a in container["args"] if a.startswith(("--health=", "--metrics="))]
            assert [place.partition(":")[0] for place in places] == ["127.0.0.1"]


def test_calicos_resources_are_read_by_all_and_written_by_none(everything: list[Document]) -> None:
    calico = [
        rule
        for d in everything
        if d["kind"] == "ClusterRole"
        for rule in d["rules"]
        if "crd.projectcalico.org" in rule["apiGroups"]
    ]
    plurals = {KINDS[kind].plural for kind in CALICO_KINDS}
    assert [(set(rule["resources"]), set(rule["verbs"])) for rule in calico] == [(plurals, {"get", "list", "watch"})]
    bound = {s["name"] for s in one(everything, "ClusterRoleBinding", "underlay-calico-crds")["subjects"]}
    for document in everything:
        if document["kind"] in ("DaemonSet", "Deployment"):
            assert pod(document)["containers"][0]["args"].count("--calico-crds") == 1
            assert pod(document)["serviceAccountName"] in bound


def test_roles_give_no_wildcard_and_no_list_of_secrets(everything: list[Document]) -> None:
    rules = [
        (d["metadata"]["name"], rule) for d in everything if d["kind"] in ("Role", "ClusterRole") for rule in d["rules"]
    ]
    assert rules
    for name, rule in rules:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]), name
        if "secrets" in rule["resources"]:
            assert rule["verbs"] == ["get"], name
    assert not [n for n, rule in rules if "secrets" in rule["resources"] and n != "underlay-passwords"]
    ours = {r for _, rule in rules if "underlay.io" in rule["apiGroups"] for r in rule["resources"]}
    assert {r.removesuffix("/status") for r in ours} <= {kind.plural for kind in KINDS.values()}


def test_every_account_and_role_that_is_named_is_there(everything: list[Document]) -> None:
    there = {(d["kind"], d["metadata"]["name"]) for d in everything}
    for document in everything:
        if document["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            assert (document["roleRef"]["kind"], document["roleRef"]["name"]) in there
            for subject in document["subjects"]:
                known = ("ServiceAccount", subject["name"]) in there
                assert known, subject["name"]
        if document["kind"] in ("DaemonSet", "Deployment"):
            assert ("ServiceAccount", pod(document)["serviceAccountName"]) in there


def test_the_page_may_read_what_it_shows_and_nothing_else(everything: list[Document]) -> None:
    """A group and a resource for each kind that it asks the store for: one that lacks would be an endless trouble."""
    account = {"kind": "ServiceAccount", "name": "underlay-web", "namespace": "underlay-system"}
    bound = [
        d["roleRef"]["name"]
        for d in everything
        if d["kind"] in ("RoleBinding", "ClusterRoleBinding") and account in d["subjects"]
    ]
    assert sorted(bound) == ["underlay-calico-crds", "underlay-web"]
    rules = one(everything, "ClusterRole", "underlay-web")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    may = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    assert may == {("underlay.io", KINDS[kind].plural) for kind in PAGE_KINDS} | {("", "nodes")}


def test_the_page_is_a_service(everything: list[Document]) -> None:
    spec = one(everything, "Service", "underlay-web")["spec"]
    web = one(everything, "Deployment", "underlay-web")
    assert spec["type"] == "ClusterIP"
    assert spec["selector"] == web["spec"]["selector"]["matchLabels"]
    (container,) = pod(web)["containers"]
    ports = {row["name"]: row["containerPort"] for row in container["ports"]}
    (place,) = [a.partition("=")[2] for a in container["args"] if a.startswith("--listen=")]
    assert [(p["port"], ports[p["targetPort"]]) for p in spec["ports"]] == [(80, int(place.rpartition(":")[2]))]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"port": "web", "path": path}
    assert pod(web)["securityContext"]["runAsNonRoot"] is True


CLUSTER_WIDE = {
    "Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
}  # fmt: skip


def test_what_lives_in_a_namespace_lives_in_ours(everything: list[Document]) -> None:
    for document in everything:
        wanted = None if document["kind"] in CLUSTER_WIDE else "underlay-system"
        assert document["metadata"].get("namespace") == wanted, document["metadata"]["name"]
        for subject in document.get("subjects", ()):
            assert subject["namespace"] == "underlay-system"


def test_a_selector_selects_its_own_pods(everything: list[Document]) -> None:
    for document in everything:
        if document["kind"] in ("DaemonSet", "Deployment"):
            labels = document["spec"]["template"]["metadata"]["labels"].items()
            assert document["spec"]["selector"]["matchLabels"].items() <= labels
        if document["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            spec = document["spec"]
            wanted = (spec.get("selector") or spec["podSelector"])["matchLabels"]
            pods = [d["spec"]["template"]["metadata"]["labels"] for d in everything if "template" in d.get("spec", {})]
            assert any(wanted.items() <= labels.items() for labels in pods), document["metadata"]["name"]


def test_the_commands_of_the_containers_are_ours(everything: list[Document]) -> None:
    """Every option exists; what they do with it is looked at elsewhere."""
    commands: dict[str, Any] = typer.main.get_command(command_line()).commands  # type: ignore[attr-defined]
    for document in everything:
        if document["kind"] in ("DaemonSet", "Deployment"):
            for container in pod(document)["containers"]:
                name, *options = container["args"]
                known = {o for parameter in commands[name].params for o in parameter.opts}
                assert {o.partition("=")[0] for o in options} <= known


def test_probes_ask_where_the_process_answers(everything: list[Document]) -> None:
    for name, kind in (("underlay-speaker", "DaemonSet"), ("underlay-controller", "Deployment")):
        for documents in (build(CONFIG / "default"), everything):
            (container,) = pod(one(documents, kind, name))["containers"]
            (place,) = [a.partition("=")[2] for a in container["args"] if a.startswith("--health=")]
            ports = {row["name"]: row["containerPort"] for row in container.get("ports", ())}
            for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                asked = container[probe]["httpGet"]
                assert asked["path"] == path
                assert str(ports.get(asked["port"], asked["port"])) == place.rpartition(":")[2]
                address = place.rpartition(":")[0]
                assert asked.get("host") == (address if address == "127.0.0.1" else None)


def test_the_image_has_what_runs_and_not_what_tests() -> None:
    command = [sys.executable, str(IMAGE), str(ROOT / "pyproject.toml"), str(ROOT / "requirements.lock")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    have = {line.partition("==")[0] for line in found}
    assert {"exabgp", "pydantic", "pydantic-core", "markupsafe", "typer"} <= have
    assert not {"pytest", "mypy", "ruff", "hypothesis", "iniconfig"} & have


def test_the_image_is_the_one_that_the_manifests_name(everything: list[Document]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "IMAGE ?= underlay:" in makefile
    named = makefile.partition("IMAGE ?= ")[2].split()[0]
    workloads = [d for d in everything if d["kind"] in ("DaemonSet", "Deployment")]
    images = {c["image"] for d in workloads for c in [*pod(d)["containers"], *pod(d).get("initContainers", ())]}
    assert images == {named}
