# One image for speaker, reflector and controller. `make image` builds it.
# Debian 12 is what everything is tested on; its Python at /usr/bin/python3 is also the path that the CNI plugin names,
# which the node's runtime runs with the node's own Python (3.11 or later).
FROM debian:12.12-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# The locked versions of what is needed at run time, and nothing that only tests need.
COPY config/image/runtime_requirements.py config/image/
RUN python3 -m venv /opt/underlay \
 && python3 config/image/runtime_requirements.py pyproject.toml requirements.lock > runtime.txt \
 && /opt/underlay/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps -r runtime.txt
COPY peering peering
COPY bgp_speaker bgp_speaker
COPY reflector reflector
COPY fabric_templates fabric_templates
COPY ipam ipam
COPY containerlab containerlab
COPY underlay underlay
RUN /opt/underlay/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
 && /opt/underlay/bin/python -m compileall -q /opt/underlay/lib

FROM debian:12.12-slim
# ptp is what attaches pods, host-local gives them the addresses of podCIDRs; iproute2 is for people who look into a speaker.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 containernetworking-plugins iproute2 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/underlay /opt/underlay
# A user without a line in /etc/passwd has no home, and the Kubernetes client asks for it when it is imported.
ENV PATH=/opt/underlay/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The controller stays this user; speakers and reflectors are root with few capabilities (config/).
USER 65532:65532
ENTRYPOINT ["underlay"]
CMD ["--help"]
