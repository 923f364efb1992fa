# Switch/tor-1a of Rack/rack-1, for MikroTik RouterOS 7, rendered by Underlay.
# Change the declaration, not this file. What begins with UNDERLAY is ours; interfaces and everything else belong to the
# base configuration. An import removes all of ours and adds it anew, so it ends the sessions and begins them again.
/routing/bgp/connection remove [find where name~"^UNDERLAY-"]
/routing/bgp/instance remove [find where name="UNDERLAY"]
/routing/bfd/configuration remove [find where comment~"^UNDERLAY-"]
/routing/filter/rule remove [find where chain~"^UNDERLAY-"]
/routing/filter/community-list remove [find where list~"^UNDERLAY-"]
/routing/filter/community-large-list remove [find where list~"^UNDERLAY-"]
/routing/filter/num-list remove [find where list~"^UNDERLAY-"]
/ip/firewall/address-list remove [find where list="UNDERLAY-NETWORKS"]
/ip/route remove [find where comment~"^UNDERLAY-"]
/ipv6/firewall/address-list remove [find where list="UNDERLAY-NETWORKS"]
/ipv6/route remove [find where comment~"^UNDERLAY-"]
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V4 rule="if (dst in 10.0.11.1/32 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V4 rule="if (dst in 10.244.0.0/16 && dst-len >= 26 && dst-len <= 26) { accept }"
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V4 rule="if (dst in 10.244.0.0/16 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V4 rule="reject"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V4 rule="if (dst in 10.0.1.1/32 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V4 rule="if (dst in 10.0.11.1/32 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V4 rule="if (dst in 10.244.0.0/16 && dst-len >= 26 && dst-len <= 26) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V4 rule="if (dst in 10.244.0.0/16 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V4 rule="reject"
/routing/filter/rule add chain=UNDERLAY-DEFAULT-V4 rule="if (dst in 0.0.0.0/0 && dst-len >= 0 && dst-len <= 0) { accept }"
/routing/filter/rule add chain=UNDERLAY-DEFAULT-V4 rule="reject"
/routing/filter/rule add chain=UNDERLAY-OWN-V4 rule="if (dst in 10.0.1.1/32 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-OWN-V4 rule="reject"
/routing/filter/rule add chain=UNDERLAY-SEND-V4 rule="if (dst in 10.244.0.0/16 && dst-len >= 32 && dst-len <= 32) { accept }"
/routing/filter/rule add chain=UNDERLAY-SEND-V4 rule="reject"
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V6 rule="if (dst in fd00:10:244::/48 && dst-len >= 122 && dst-len <= 122) { accept }"
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V6 rule="if (dst in fd00:10:244::/48 && dst-len >= 128 && dst-len <= 128) { accept }"
/routing/filter/rule add chain=UNDERLAY-ACCEPT-V6 rule="reject"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V6 rule="if (dst in fd00:0:1::1/128 && dst-len >= 128 && dst-len <= 128) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V6 rule="if (dst in fd00:10:244::/48 && dst-len >= 122 && dst-len <= 122) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V6 rule="if (dst in fd00:10:244::/48 && dst-len >= 128 && dst-len <= 128) { accept }"
/routing/filter/rule add chain=UNDERLAY-ANNOUNCE-V6 rule="reject"
/routing/filter/rule add chain=UNDERLAY-DEFAULT-V6 rule="if (dst in ::/0 && dst-len >= 0 && dst-len <= 0) { accept }"
/routing/filter/rule add chain=UNDERLAY-DEFAULT-V6 rule="reject"
/routing/filter/rule add chain=UNDERLAY-OWN-V6 rule="if (dst in fd00:0:1::1/128 && dst-len >= 128 && dst-len <= 128) { accept }"
/routing/filter/rule add chain=UNDERLAY-OWN-V6 rule="reject"
/routing/filter/rule add chain=UNDERLAY-SEND-V6 rule="if (dst in fd00:10:244::/48 && dst-len >= 128 && dst-len <= 128) { accept }"
/routing/filter/rule add chain=UNDERLAY-SEND-V6 rule="reject"
/routing/filter/rule add chain=UNDERLAY-NODES-PATH rule="if (bgp-as-path ^65101+\$) { accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-PATH rule="reject"
/routing/filter/rule add chain=UNDERLAY-RACK-PATH rule="if (bgp-path-len == 0) { accept }"
/routing/filter/rule add chain=UNDERLAY-RACK-PATH rule="if (bgp-as-path ^65101+\$) { accept }"
/routing/filter/rule add chain=UNDERLAY-RACK-PATH rule="reject"
/routing/filter/community-list add list=UNDERLAY-STRIP communities=65535:0,65535:65281,65535:65282
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="if (afi ipv4 && chain UNDERLAY-OWN-V4) { reject }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="if (afi ipv4 && bgp-communities any 65535:0) { set bgp-local-pref 0; accept }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="if (afi ipv4) { accept }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-OUT rule="if (afi ipv4 && chain UNDERLAY-RACK-PATH && chain UNDERLAY-ANNOUNCE-V4) { accept }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="if (afi ipv6 && chain UNDERLAY-OWN-V6) { reject }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="if (afi ipv6 && bgp-communities any 65535:0) { set bgp-local-pref 0; accept }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="if (afi ipv6) { accept }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-OUT rule="if (afi ipv6 && chain UNDERLAY-RACK-PATH && chain UNDERLAY-ANNOUNCE-V6) { accept }"
/routing/filter/rule add chain=UNDERLAY-FABRIC-IN rule="reject"
/routing/filter/rule add chain=UNDERLAY-FABRIC-OUT rule="reject"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="if (afi ipv4 && bgp-communities any 65535:666) { reject }"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="if (afi ipv4 && chain UNDERLAY-NODES-PATH && chain UNDERLAY-ACCEPT-V4 && bgp-communities any 65535:0) { filter bgp-communities UNDERLAY-STRIP; delete bgp-ext-communities rt,soo,other; delete bgp-large-communities all; set bgp-local-pref 0; accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="if (afi ipv4 && chain UNDERLAY-NODES-PATH && chain UNDERLAY-ACCEPT-V4) { filter bgp-communities UNDERLAY-STRIP; delete bgp-ext-communities rt,soo,other; delete bgp-large-communities all; accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-OUT rule="if (afi ipv4 && chain UNDERLAY-DEFAULT-V4) { accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-OUT rule="if (afi ipv4 && chain UNDERLAY-SEND-V4) { accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="if (afi ipv6 && bgp-communities any 65535:666) { reject }"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="if (afi ipv6 && chain UNDERLAY-NODES-PATH && chain UNDERLAY-ACCEPT-V6 && bgp-communities any 65535:0) { filter bgp-communities UNDERLAY-STRIP; delete bgp-ext-communities rt,soo,other; delete bgp-large-communities all; set bgp-local-pref 0; accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="if (afi ipv6 && chain UNDERLAY-NODES-PATH && chain UNDERLAY-ACCEPT-V6) { filter bgp-communities UNDERLAY-STRIP; delete bgp-ext-communities rt,soo,other; delete bgp-large-communities all; accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-OUT rule="if (afi ipv6 && chain UNDERLAY-DEFAULT-V6) { accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-OUT rule="if (afi ipv6 && chain UNDERLAY-SEND-V6) { accept }"
/routing/filter/rule add chain=UNDERLAY-NODES-IN rule="reject"
/routing/filter/rule add chain=UNDERLAY-NODES-OUT rule="reject"
/ip/firewall/address-list add list=UNDERLAY-NETWORKS address=10.0.1.1/32
/ipv6/firewall/address-list add list=UNDERLAY-NETWORKS address=fd00:0:1::1/128
/routing/bgp/instance add name=UNDERLAY as=65011 router-id=10.0.1.1 multipath=16
/routing/bgp/connection add name="UNDERLAY-10.254.1.0" instance=UNDERLAY comment="spine-1-ipv4" local.role=ebgp remote.address=10.254.1.0 remote.as=65000 connect=yes listen=yes hold-time=90s keepalive-time=30s afi=ip input.filter=UNDERLAY-FABRIC-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-FABRIC-OUT
/routing/bgp/connection add name="UNDERLAY-10.254.2.0" instance=UNDERLAY comment="spine-2-ipv4" local.role=ebgp remote.address=10.254.2.0 remote.as=65000 connect=yes listen=yes hold-time=90s keepalive-time=30s afi=ip input.filter=UNDERLAY-FABRIC-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-FABRIC-OUT
/routing/bgp/connection add name="UNDERLAY-fd00:fe:1::" instance=UNDERLAY comment="spine-1-ipv6" local.role=ebgp remote.address=fd00:fe:1:: remote.as=65000 connect=yes listen=yes hold-time=90s keepalive-time=30s afi=ipv6 input.filter=UNDERLAY-FABRIC-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-FABRIC-OUT
/routing/bgp/connection add name="UNDERLAY-10.1.1.1" instance=UNDERLAY comment="node/node-1" local.role=ebgp local.address=10.1.1.0 remote.address=10.1.1.1 remote.as=65101 connect=no listen=yes remote.ttl=255 local.ttl=255 tcp-md5-key="<secret:rack-1/bgp>" hold-time=9s keepalive-time=3s afi=ip input.limit-process-routes-ipv4=100 input.filter=UNDERLAY-NODES-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-NODES-OUT
/routing/bgp/connection add name="UNDERLAY-10.1.1.3" instance=UNDERLAY comment="node/node-2" local.role=ebgp local.address=10.1.1.2 remote.address=10.1.1.3 remote.as=65101 connect=yes listen=yes hold-time=90s keepalive-time=30s afi=ip input.filter=UNDERLAY-NODES-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-NODES-OUT
/routing/bgp/connection add name="UNDERLAY-fd00:1:1::1" instance=UNDERLAY comment="node/node-1" local.role=ebgp local.address=fd00:1:1:: remote.address=fd00:1:1::1 remote.as=65101 connect=no listen=yes remote.ttl=255 local.ttl=255 tcp-md5-key="<secret:rack-1/bgp>" hold-time=9s keepalive-time=3s afi=ipv6 input.limit-process-routes-ipv6=100 input.filter=UNDERLAY-NODES-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-NODES-OUT
/routing/bgp/connection add name="UNDERLAY-fd00:1:1::3" instance=UNDERLAY comment="node/node-2" local.role=ebgp local.address=fd00:1:1::2 remote.address=fd00:1:1::3 remote.as=65101 connect=yes listen=yes hold-time=90s keepalive-time=30s afi=ipv6 input.filter=UNDERLAY-NODES-IN output.network=UNDERLAY-NETWORKS output.redistribute=bgp output.filter-chain=UNDERLAY-NODES-OUT
