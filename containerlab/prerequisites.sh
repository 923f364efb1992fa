#!/bin/sh
# Installs what the lab, its tests and the bench need from the distribution (Debian, Ubuntu), and only what is missing.
# Repeatable; leaves at once if everything is there. What is installed here is not started as a service: they run their
# daemons themselves, in namespaces. Services that were there before are left as they are.
set -eu

# package, and a file that shows it is there (a command is looked for on PATH)
needs='
iproute2                       ip
procps                         sysctl
iputils-ping                   ping
traceroute                     traceroute
tcpdump                        tcpdump
frr                            /usr/lib/frr/bgpd
frr-pythontools                /usr/lib/frr/frr-reload.py
bird2                          birdc
gobgpd                         gobgp
openbgpd                       bgpctl
patch                          patch
gcc                            gcc
libc6-dev                      /usr/include/stdio.h
containernetworking-plugins    /usr/lib/cni/ptp
'

PATH="$PATH:/usr/sbin:/sbin"

say() { printf 'prerequisites: %s\n' "$*"; }

fail() {
    say "$*" >&2
    exit 1
}

present() {
    case $1 in
        /usr/lib/cni/ptp)
            for folder in $(printf '%s' "${CNI_PATH:-}" | tr ':' ' ') /usr/lib/cni /opt/cni/bin; do
                if [ -x "$folder/ptp" ] && [ -x "$folder/static" ]; then return 0; fi
            done
            return 1
            ;;
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing_packages() {
    printf '%s\n' "$needs" | while read -r package shown_by; do
        if [ -n "$package" ] && ! present "$shown_by"; then printf '%s ' "$package"; fi
    done
    # `python3 -m venv` needs a package of its own on these distributions, unless another python brings its venv.
    if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then printf 'python3-venv '; fi
}

missing=$(missing_packages)
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null 2>&1 ||
    fail "missing: $missing- this is no Debian or Ubuntu; please install what corresponds to these packages"

as_root=''
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "missing: $missing- run this as root, or install sudo"
    as_root='sudo'
fi

# A package asks policy-rc.d before it starts its service; 101 means "no". One that is there already stays in force.
policy=/usr/sbin/policy-rc.d
made_policy=''
remove_policy() {
    if [ -n "$made_policy" ]; then $as_root rm -f "$policy"; fi
}
trap remove_policy EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    made_policy=yes
    $as_root chmod 755 "$policy"
fi

# Packages whose services must not come up at the next boot either, if they are new here.
new_services=''
for service in frr bird gobgpd openbgpd; do
    case " $missing" in
        *" $service "* | *" ${service}2 "*) new_services="$new_services $service" ;;
    esac
done

say "installing $missing"
quiet='-qq -o=Dpkg::Use-Pty=0'
# shellcheck disable=SC2086
if ! $as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get $quiet install -y --no-install-recommends $missing >/dev/null 2>&1; then
    say "reading the package lists first"
    # shellcheck disable=SC2086
    $as_root apt-get $quiet update || fail "apt-get update failed"
    # shellcheck disable=SC2086
    $as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get $quiet install -y --no-install-recommends $missing ||
        fail "apt-get could not install: $missing"
fi

if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
    for service in $new_services; do
        $as_root systemctl disable --quiet "$service" 2>/dev/null || say "could not disable the service $service"
    done
fi

left=$(missing_packages)
[ -z "$left" ] || fail "still missing after the installation: $left"
say "done"
