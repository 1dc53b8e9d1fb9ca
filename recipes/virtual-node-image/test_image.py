"""What instances of this image rely on; run in the version's chroot before any of them sees it."""

import pytest


def test_ofed_is_the_one_that_was_asked_for(host, parameters):
    assert host.check_output("ofed_info -s") == f"MLNX_OFED_LINUX-{parameters['ofed_version']}:"


@pytest.mark.parametrize("name", ["mlnx-ofa_kernel", "kmod-mlnx-ofa_kernel", "ofed-scripts", "libmlx4"])
def test_ofed_package_is_installed(host, name):
    assert host.package(name).is_installed


@pytest.mark.parametrize("module", ["mlx4_core", "mlx4_ib", "ib_ipoib"])
def test_the_image_kernel_finds_the_driver(host, image, module):
    path = host.check_output(f"modinfo -k {image.kernel} -F filename {module}")
    assert path.startswith(f"/lib/modules/{image.kernel}/extra/")


@pytest.mark.parametrize("name", ["cm-config-intelcompliance-slave", "qlgc-ofed"])
def test_what_keeps_ofed_from_being_installed_is_gone(host, name):
    assert not host.package(name).is_installed


def test_openibd_starts_at_boot(host):
    assert host.service("openibd").is_enabled


def test_the_extracted_installer_is_kept_for_uninstalling(host, parameters):
    folder = f"/opt/MLNX_OFED_LINUX-{parameters['ofed_version']}-rhel6.5-x86_64"
    assert host.file(f"{folder}/uninstall.sh").exists
