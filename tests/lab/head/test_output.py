"""What cmsh prints looks as it does in public transcripts."""

from __future__ import annotations

import json
import re

import pytest

from .conftest import Head

EVENT = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} \[notice\] .*")
STATUS = re.compile(r"^(\S+)\s+\.+\s*\[\s*(.+?)\s*\]\s*(.*)$")
DEVICES = """\
Type                   Hostname (key)   MAC                Category         Ip              Network        \
Status
---------------------- ---------------- ------------------ ---------------- --------------- -------------- \
--------------------------------
HeadNode               masterdoop       52:54:00:00:00:01                   10.141.255.254  internalnet    \
[   UP   ]"""


def test_a_list_of_devices_has_the_real_padding(head: Head) -> None:
    lines = head.type("device list").splitlines()
    assert "\n".join(lines[:3]) == DEVICES


def test_a_cell_that_is_too_long_is_cut_and_marked(head: Head) -> None:
    head.type(f"category clone default {'x' * 40}; commit")
    assert f"\n{'x' * 31}+\n" in head.type("category list -f name")
    assert f"\n{'x' * 9}+ d" in head.type("category list -f name:10,softwareimage")
    assert f"\n{'x' * 40} " in head.type("category list -f name:40,softwareimage")


def test_format_is_kept_for_the_mode(head: Head) -> None:
    typed = ["category", "format name:12,nodes:5", "list", "format", "format -r", "format"]
    lines = head.type(*typed).splitlines()
    assert lines[0] == "name (key)   nodes"
    assert lines[-2:] == ["name:12,nodes:5", "name:24,softwareimage:24,nodes:8"]


def test_the_status_of_devices_can_be_read_as_the_manual_says(head: Head) -> None:
    head.type("device use node001; set category default; commit")
    lines = head.type("device status node001..node002").splitlines()
    assert [STATUS.fullmatch(line).groups() for line in lines] == [  # type: ignore[union-attr]
        ("node001", "UP", "restart-required"),
        ("node002", "UP", ""),
    ]


def test_show_marks_what_is_inherited_or_default(head: Head) -> None:
    shown = head.type("device show node002")
    assert shown.startswith(
        f"{'Parameter':<32} Value\n{'-' * 32} {'-' * 48}\nHostname                         node002\n"
    )
    assert f"{'Install mode':<32} AUTO (Category)\n" in shown
    assert f"{'Boot loader':<32} syslinux (default)\n" in head.type("category show default")
    assert head.type("device get node002 softwareimage") == "openstack-image (Category)\n"


def test_a_nodes_roles_include_its_categorys(head: Head) -> None:
    typed = "device use node002; roles; assign storage; list -f name:60"
    assert head.type(typed).splitlines()[2:] == [
        "[category:openstack-compute-hosts] openstackcompute",
        "[category:openstack-compute-hosts] openstacknode",
        "storage",
    ]


def test_modified_tells_new_from_changed(head: Head) -> None:
    assert head.type("device modified") == "No modified objects of type device\n"
    typed = ["category", "add x", "use default", "set datanode yes", "modified"]
    assert [line.split() for line in head.type(*typed).splitlines()] == [
        ["State", "Type", "Name"],
        ["-" * 6, "-" * 24, "-" * 24],
        ["+", "Category", "x"],
        ["Category", "default"],
    ]


def test_a_commit_that_is_not_valid_prints_a_table_and_writes_nothing(head: Head) -> None:
    typed = "device; add physicalnode node004; commit"
    done = head.run("cmsh", "--color=no", "--hide-events", "-c", typed)
    assert done.returncode == 1
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()] == [
        ["Code", "Field", "Message"],
        ["-" * 5, "-" * 24, "-" * 120],
        ["1", "category", "The category should be set"],
    ]
    assert "node004" not in head.objects("device")


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ("category add x", "softwareImage"),
        ("softwareimage clone default-image x; set path /cm/images/openstack-image", "path"),
        ("network add x; set domainname a; set baseaddress 10.1.0.1", "baseAddress"),
        ("network add x; set baseaddress 10.1.0.0", "domainName"),
        ("network use internalnet; set openstackvlanrange 1:4095", "openstackVlanRange"),
        ("network use internalnet; set broadcastaddress 10.141.0.255", "broadcastAddress"),
        ("device use vnode001; interfaces; add physical ib0", "network"),
        (
            "device use node001; roles; assign openstacknode; set configfilemodifications /f[s]k",
            "configFileModifications",
        ),
        ("softwareimage remove default-image", "softwareimage"),
    ],
)
def test_what_the_daemon_does_not_take_names_the_field(head: Head, typed: str, field: str) -> None:
    done = head.run("cmsh", "--color=no", "--hide-events", "-c", f"{typed}; commit")
    assert [line.split()[1] for line in done.stdout.splitlines()[2:]] == [field], done


def test_validate_says_that_all_is_good(head: Head) -> None:
    assert head.type("device use node001; validate") == "All good\n"


def test_usedby_lists_what_refers_to_an_object(head: Head) -> None:
    lines = head.type("softwareimage usedby openstack-image").splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["Category", "openstack-network-nodes", "softwareimage"],
        ["Category", "openstack-compute-hosts", "softwareimage"],
    ]


def test_json_has_the_labels_as_keys_and_whole_cells(head: Head) -> None:
    rows = json.loads(head.type("device list -f hostname,status,category -d {}"))
    assert rows[2] == {
        "hostname (key)": "node002",
        "status": "[   UP   ]",
        "category": "openstack-compute-hosts",
    }


def test_json_with_colour_is_none(head: Head) -> None:
    done = head.run("cmsh", "--hide-events", "-c", "device list -d {}")
    assert done.stdout.startswith("\x1b[1m")


def test_a_delimiter_gives_whole_cells_without_padding(head: Head) -> None:
    lines = head.type('category list -f name,softwareimage -d "|"').splitlines()
    assert lines[:2] == ["name (key)|softwareimage", "default|default-image"]


def test_other_peoples_events_come_between_lines_unless_they_are_hidden(head: Head) -> None:
    lines = head.type("device list", options=()).splitlines()
    events = [line for line in lines if EVENT.fullmatch(line)]
    assert len(events) >= 3
    assert [line for line in lines if line not in events] == head.type("device list").splitlines()
    assert head.type("device list", options=("--disable-events",)) == head.type("device list")


def test_an_image_can_be_locked_and_has_revisions(head: Head) -> None:
    head.type("softwareimage lock default-image")
    assert head.type("softwareimage islocked default-image").splitlines()[2].split() == [
        "default-image",
        "yes",
    ]
    head.type("softwareimage unlock default-image")
    head.type('softwareimage newrevision default-image "first"')
    assert "default-image@1" in head.type("softwareimage revisions default-image")
    assert head.objects("softwareimage")["default-image@1"]["path"] == "/cm/images/default-image-1"
    head.type(
        "softwareimage setparent default-image default-image@1", "softwareimage createramdisk default-image"
    )
    head.type("softwareimage updateprovisioners", "device imageupdate -n node001 -w")
    assert head.type("softwareimage provisioningstatus").endswith("idle, accepting requests\n")


def test_the_next_install_mode_is_for_one_install(head: Head) -> None:
    head.type("device foreach -n node001..node002 (set nextinstallmode FULL; commit)")
    assert head.objects("device")["node001"]["nextinstallmode"] == "FULL"
    head.type("device foreach -n node001 (reboot)")
    assert "nextinstallmode" not in head.objects("device")["node001"]
    assert head.objects("device")["node002"]["nextinstallmode"] == "FULL"
