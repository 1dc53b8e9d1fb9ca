#!/bin/bash
#
# Makes a MLNX_OFED_LINUX with drivers for the running kernel, from the sources in src/ (the lab's stand-in: it checks
# what the original checks first, and the lab's sources hold no drivers to compile).

folder=""
kernel=$(uname -r)
while [ $# -gt 0 ]; do
    case "$1" in
        -m|--mlnx_ofed) folder=$2; shift ;;
        -k|--kernel) kernel=$2; shift ;;
        -y|--yes|--make-tgz|--make-iso) ;;
        *)
            echo "Usage: $0 -m|--mlnx_ofed <directory of MLNX_OFED_LINUX> [-k|--kernel <version>] [--make-iso|--make-tgz] [-y]"
            exit 1
            ;;
    esac
    shift
done

if [ ! -f "$folder/.mlnx" ]; then
    echo "ERROR: '$folder' is not a directory of MLNX_OFED_LINUX"
    exit 1
fi
if [ ! -d "/lib/modules/$kernel/build/scripts" ]; then
    echo "ERROR: the sources of kernel $kernel are not installed; install kernel-devel-${kernel%.*}"
    exit 1
fi
echo "ERROR: $(basename "$folder")/src holds no driver sources"
exit 1
