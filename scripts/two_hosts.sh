#!/usr/bin/env bash
# Simulate two hosts on one machine: run a command where mpirun finds host1 (this one) and host2. These are network
# namespaces of this script's own, which speak TCP through a pair of interfaces and end with the command. As root:
#
#   [DELAY=500] scripts/two_hosts.sh DIR mpirun --bind-to none --host host1:1,host2:1 -n 2 COMMAND
#
# DIR is for its files. DELAY is added to every packet, one way, in microseconds; a process carries the packets then.
set -euo pipefail
if [[ -z ${INSIDE:-} ]]; then
    [[ $# -ge 2 ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
    INSIDE=yes exec unshare --mount --net --uts "$0" "$@"
fi
folder=$(realpath "$1") here=$(dirname "$(realpath "$0")")
shift
mount --make-rprivate /
mount -t tmpfs none /run && mkdir -p /run/netns
hostname host1
ip link set lo up
ip netns add host2
if [[ -z ${DELAY:-} ]]; then
    ip link add link1 type veth peer name link2 netns host2
else
    ip tuntap add link1 mode tap
    ip netns exec host2 ip tuntap add link2 mode tap
    python3 "$here/delayed_link.py" link1 host2 link2 "$DELAY" &
fi
ip address add 10.77.0.1/24 dev link1 && ip link set link1 up
ip netns exec host2 ip link set lo up
ip netns exec host2 ip address add 10.77.0.2/24 dev link2
ip netns exec host2 ip link set link2 up
printf '127.0.0.1 localhost\n10.77.0.1 host1\n10.77.0.2 host2\n' >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts
# in the place of ssh: enters the namespaces of the host that it is told
cat >"$folder/agent" <<'AGENT'
#!/usr/bin/env bash
host=$1
shift
exec ip netns exec "$host" unshare --uts bash -c "hostname $host; $*"
AGENT
chmod +x "$folder/agent"
export PRTE_MCA_plm_ssh_agent=$folder/agent OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
export PRTE_MCA_prte_if_include=10.77.0.0/24 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec "$@"
