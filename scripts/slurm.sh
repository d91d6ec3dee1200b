#!/usr/bin/env bash
# Start a private SLURM on this machine, to try the scripts of jobs/ without a cluster; an installed one stays as it is.
#
#   scripts/slurm.sh install           Debian's slurm-wlm and munge, as root
#   scripts/slurm.sh start DIR [NODES] munged, slurmctld and slurmd with all their files in DIR; one node with all CPUs,
#                                      or NODES simulated ones with one CPU each
#   scripts/slurm.sh stop DIR          end them
#
# After a start: export SLURM_CONF=DIR/slurm.conf, then sbatch, squeue, srun, scontrol as everywhere.
set -euo pipefail

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=120 update
    apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends slurm-wlm munge >/dev/null
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

processors() { # those that this process may use; nproc would obey variables that users of OpenMP set
    env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc
}

nodes() {  # nodes N: lines of slurm.conf
    local host memory node
    host=$(hostname -s)
    memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)  # MiB
    if [[ $1 -eq 1 ]]; then
        echo "NodeName=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=$(processors) RealMemory=$memory"
        return
    fi
    for ((node = 1; node <= $1; node++)); do
        echo "NodeName=n$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=1 RealMemory=$((memory / $1))"
    done
}

configure() {  # configure NODES: write slurm.conf and cgroup.conf
    local host
    host=$(hostname -s)
    cat >slurm.conf <<CONF
ClusterName=private
SlurmUser=root
SlurmdUser=root
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$PWD/munge.socket
StateSaveLocation=$PWD/state
SlurmdSpoolDir=$PWD/spool-%n
TmpFS=$PWD/tmp-%n
SlurmctldPidFile=$PWD/slurmctld.pid
SlurmdPidFile=$PWD/slurmd-%n.pid
SlurmctldLogFile=$PWD/slurmctld.log
SlurmdLogFile=$PWD/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$PWD/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=512
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0
MpiDefault=pmix
ReturnToService=2
JobRequeue=1
$(nodes "$1")
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    echo "CgroupPlugin=disabled" >cgroup.conf
}

ready() {
    [[ $(sinfo --noheader --format=%T 2>/dev/null | sort -u) == idle ]]
}

start() {
    local node
    mkdir -p "$1/state"
    cd "$1"
    chmod 755 . # munge wants its socket within reach of everybody
    configure "${2:-1}"
    export SLURM_CONF=$PWD/slurm.conf
    (umask 077 && head -c 1024 /dev/urandom >munge.key)
    /usr/sbin/munged --socket="$PWD/munge.socket" --key-file="$PWD/munge.key" --pid-file="$PWD/munged.pid" \
        --log-file="$PWD/munged.log" --seed-file="$PWD/munged.seed"
    /usr/sbin/slurmctld -f "$SLURM_CONF"
    sed -n 's/^NodeName=\([^ ]*\) .*/\1/p' slurm.conf | while read -r node; do
        mkdir -p "spool-$node" "tmp-$node" # nodes, also of another private SLURM, must not share the files of PMIx
        /usr/sbin/slurmd -f "$SLURM_CONF" -N "$node"
    done
    for _ in {1..100}; do
        if ready; then
            echo "SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.1
    done
    echo "slurm.sh: not all nodes are idle after 10 s; see the logs in $PWD" >&2
    exit 1
}

stop() {
    cd "$1"
    export SLURM_CONF=$PWD/slurm.conf
    scancel --quiet --user="$(id -un)" 2>/dev/null || true
    for _ in {1..100}; do # daemons must outlive their jobs
        [[ -n $(squeue --noheader 2>/dev/null) ]] || break
        sleep 0.1
    done
    for file in slurmd-*.pid slurmctld.pid munged.pid; do
        [[ -s $file ]] || continue
        daemon=$(<"$file")
        kill "$daemon" 2>/dev/null || true
        for _ in {1..50}; do
            grep -q . "/proc/$daemon/cmdline" 2>/dev/null || break
            sleep 0.1
        done
    done
}

case ${1:-} in
    install) install_packages ;;
    start | stop) [[ $# -ge 2 ]] || usage; "$@" ;;
    *) usage ;;
esac
