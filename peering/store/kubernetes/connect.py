"""The official client's way into a cluster: a pod's service account, or a kubeconfig with all that may be in one.

Only its configuration and connections are used. Its models would hold every object many times over, and its informer
needs a thread for each resource.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    load_incluster_config,
)
from kubernetes.aio.config.kube_config import list_kube_config_contexts, load_kube_config

from peering.store.kubernetes.location import NAMESPACE, Location
from peering.store.protocol import StoreError

if TYPE_CHECKING:
    from peering.store.kubernetes.api import Client

_KUBECONFIG = "~/.kube/config"
_USER_AGENT = "underlay"


async def connect(location: Location, kubeconfig: Path | None = None) -> Client:
    """A client of the cluster; nothing is sent yet. Raises StoreError."""
    configuration = Configuration()
    try:
        if kubeconfig is None and _in_pod(location):
            load_incluster_config(client_configuration=configuration)
        else:
            await _load_kubeconfig(location, str(kubeconfig or _existing_paths()), configuration)
    except (ConfigException, OSError, yaml.YAMLError) as error:
        raise StoreError(f"--store kubernetes: {' '.join(str(error).split())}") from error
    # Each watch keeps a connection: with a limit, many of them would leave none for requests.
    configuration.connection_pool_maxsize = 0
    client: Client = ApiClient(configuration)
    client.user_agent = _USER_AGENT
    return client


def namespace_of(location: Location) -> str:
    """Where Secrets are: as the URL says, else that of the pod, else the one of our manifests."""
    if location.namespace or not _in_pod(location):
        return location.namespace or NAMESPACE
    path = Path(SERVICE_TOKEN_FILENAME).with_name("namespace")
    return path.read_text().strip() if path.is_file() else NAMESPACE


def _in_pod(location: Location) -> bool:
    return not location.context and SERVICE_HOST_ENV_NAME in os.environ and Path(SERVICE_TOKEN_FILENAME).is_file()


def _paths() -> str:
    return os.environ.get("KUBECONFIG") or str(Path(_KUBECONFIG).expanduser())


def _existing_paths() -> str:
    paths = _paths()
    if not any(Path(path).is_file() for path in paths.split(os.pathsep)):
        raise StoreError(f"--store kubernetes: {paths} is not there, and this is no pod: set KUBECONFIG")
    return paths


async def _load_kubeconfig(location: Location, paths: str, configuration: Configuration) -> None:
    try:
        known = {one["name"] for one in list_kube_config_contexts(paths)[0]}
    except (AttributeError, KeyError, TypeError) as error:  # the client takes the shape of the file for granted
        raise ConfigException(f"{paths} is no kubeconfig") from error
    if location.context and location.context not in known:
        raise ConfigException(f"{paths} has no context {location.context} (there are: {', '.join(sorted(known))})")
    await load_kube_config(
        config_file=paths,
        context=location.context or None,
        client_configuration=configuration,
        persist_config=False,
    )
