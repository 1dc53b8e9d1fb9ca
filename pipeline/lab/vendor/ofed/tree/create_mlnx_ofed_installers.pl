#!/usr/bin/perl
#
# Writes a list of packages for each of the installer's sets into a directory, for mlnxofedinstall --config.

use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Copy qw(move);

my ($folder) = @ARGV;
if (@ARGV != 1 || !-d $folder) {
    print "Usage: $0 <directory>\n";
    exit 1;
}
my $here = dirname(abs_path($0));
for my $set (qw(all hpc basic msm)) {
    system("$here/mlnxofedinstall", '--print-available', "--$set") == 0 or exit 1;
    move("/tmp/MLNX_OFED_LINUX-$set.conf", "$folder/mlnx_ofed-$set.conf") or die "$folder: $!\n";
}
