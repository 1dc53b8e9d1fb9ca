#!/bin/bash
#
# Removes MLNX_OFED_LINUX and every other InfiniBand package (the lab's stand-in).
# Also installed as /usr/sbin/ofed_uninstall.sh.
#
# --force: don't ask, and remove even what other packages need. --unattended: don't ask.
# Exit codes: 0, 1 (answered no, or rpm failed), 22 unknown option, 172 not root, 174 another package needs these.

version=2.3-1.0.1
logs=/tmp/MLNX_OFED_LINUX-$version.$$.logs
log=$logs/ofed_uninstall.log
ask=yes
check=yes

names="ibacm ibutils ibutils2 infiniband-diags dapl dapl-devel dapl-utils fca hcoll kmod-iser kmod-srp kmod-knem-mlnx
knem-mlnx libcxgb3 libcxgb4 libibcm libibcm-devel libibmad libibmad-devel libibumad libibumad-devel libibverbs
libibverbs-devel libibverbs-utils libipathverbs libmlx4 libmlx4-devel libmlx5 libmlx5-devel libmthca libnes librdmacm
librdmacm-devel librdmacm-utils mlnx-ofa_kernel mlnx-ofa_kernel-devel kmod-mlnx-ofa_kernel mpi-selector mpitests mstflint
mvapich2 mxm openmpi opensm opensm-devel opensm-libs perftest qperf srptools"
pattern='rdma|ofed|openib|mft|kernel-ib|rds|ib-bonding|infiniband'
# QLogic's own stack is not of this family: its package counts as one that is in the way.
foreign='^qlgc-'

while [ $# -gt 0 ]; do
    case "$1" in
        --force) ask=no; check=no ;;
        --unattended) ask=no ;;
        *)
            echo "Usage: $0 [--force] [--unattended]"
            exit 22
            ;;
    esac
    shift
done

if [ "$(id -u)" -ne 0 ]; then
    echo "Error: You must be root to run this program"
    exit 172
fi

if [ $ask = yes ]; then
    echo "This program will uninstall all MLNX_OFED_LINUX-$version packages on your machine."
    echo -n "Do you want to continue?[y/N]:"
    read -r -n 1 answer
    echo
    [[ "$answer" == [yY] ]] || exit 1
fi

mkdir -p "$logs"
installed=$(rpm -qa --qf '%{NAME}\n' | sort -u)
removed=$( { grep -Fx -f <(tr -s ' ' '\n' <<<"$names") <<<"$installed"; grep -E "$pattern" <<<"$installed"; } |
    grep -Ev "$foreign" | sort -u)
echo "To be removed:" $removed >>"$log"
if [ -z "$removed" ]; then
    exit 0
fi

if [ $check = yes ]; then
    needed=$( { rpm -q --provides $removed | awk '{ print $1 }'; rpm -ql $removed; } | sort -u)
    dependents=$(rpm -qa --qf '[%{=NAME} %{REQUIRENAME}\n]' | awk '
        FNR == NR { needed[$1] = 1; next }
        $2 in needed { print $1 }' <(echo "$needed") - |
        sort -u | grep -Fxv -f <(echo "$removed"))
    if [ -n "$dependents" ]; then
        {
            echo
            echo "Error: One or more packages depends on MLNX_OFED."
            echo "These packages must be removed before MLNX_OFED_LINUX can be installed or removed:"
            echo
            echo "$dependents"
            echo
            echo "To remove MLNX_OFED_LINUX all the same, use '--force'."
            echo "See $log"
        } | tee -a "$log"
        exit 174
    fi
fi

if ! rpm -e --allmatches --nodeps $removed >>"$log" 2>&1; then
    echo "Error: rpm could not remove the packages. See $log"
    exit 1
fi
echo "Uninstall finished successfully" | tee -a "$log"
