"""What is typed at cmsh means what the manual says."""

from __future__ import annotations

import pytest

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.grammar import Command, parse
from pipeline.lab.head.nodes import expand

from .conftest import Head


def words(line: str) -> list[tuple[str, ...]]:
    return [command.words for command in parse(line)]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", []),
        (" ; ;; ", []),
        ("device; list", [("device",), ("list",)]),
        ('set notes "a;b"; commit', [("set", "notes", "a;b"), ("commit",)]),
        ("set notes 'a\"b\\'", [("set", "notes", 'a"b\\')]),
        (r'set notes "a\"b\\c\d"', [("set", "notes", 'a"b\\c\\d')]),
        ('set notes ""', [("set", "notes", "")]),
        ('set notes "$(id)`id`!x|y>z(w)"', [("set", "notes", "$(id)`id`!x|y>z(w)")]),
        (r"set notes a\;b\ c", [("set", "notes", "a;b c")]),
        ('set k "-/f[s]k" "+/f[s]k=v"', [("set", "k", "-/f[s]k", "+/f[s]k=v")]),
    ],
)
def test_a_line_is_commands_of_words(line: str, meant: list[tuple[str, ...]]) -> None:
    assert words(line) == meant


def test_foreach_has_a_block_that_may_have_another() -> None:
    inner = Command(("foreach", "*"), (Command(("get", "ip")),))
    assert parse("foreach -n a,b (interfaces; foreach * (get ip);) ; list") == (
        Command(("foreach", "-n", "a,b"), (Command(("interfaces",)), inner)),
        Command(("list",)),
    )


def test_a_pipe_a_redirection_and_a_shell_command_are_for_the_shell() -> None:
    assert parse("list | grep 'a;b'; list > /x") == (
        Command(("list",), tail="| grep 'a;b'"),
        Command(("list",), tail="> /x"),
    )
    (inside,) = parse("foreach * (path; get ip | cat)")
    assert inside.block == (Command(("path",)), Command(("get", "ip"), tail="| cat"))
    assert parse("list; !echo a; b") == (Command(("list",)), Command((), shell="echo a; b"))


@pytest.mark.parametrize(
    "line", ['set a "b', "set a 'b", "list (get a)", "foreach * (get a", "list )", "set a (b)"]
)
def test_what_does_not_close_or_stands_in_the_wrong_place_is_refused(line: str) -> None:
    with pytest.raises(CommandError):
        parse(line)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node001..node004", "node001 node002 node003 node004"),
        ("node00[1-4]", "node001 node002 node003 node004"),
        ("node[001-003]", "node001 node002 node003"),
        ("node001..node004,-node002..node003", "node001 node004"),
        ("node[1..7:2]", "node1 node3 node5 node7"),
        ("a[1,3-4]b", "a1b a3b a4b"),
        ("node999..node1001", "node999 node1000 node1001"),
        ("^/list,x", "n1 n2 x"),
        ("a,a", "a"),
    ],
)
def test_a_node_list_is_expanded(text: str, names: str) -> None:
    assert expand(text, lambda path: {"/list": "n1\nn2\n"}[path]) == tuple(names.split())


@pytest.mark.parametrize("text", ["", "a,,b", "a1..b2", "a3..a1", "a[1-2]..a[3-4]", "a[1-", "a[x]", "a[2-1]"])
def test_a_node_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        expand(text, lambda path: "")


def test_a_mode_before_a_command_is_not_entered_and_a_mode_alone_is(head: Head) -> None:
    assert head.type("device status node001; path") == "node001 ............. [   UP   ]\nhome\n"
    assert head.type("device; path").endswith("home;device\n")


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("device use node001", "home;device;node001"),
        ("category add x", "home;category;x"),
        ("category clone default x", "home;category;x"),
        ("device use node001; roles; assign openstacknode", "home;device;node001;roles;openstacknode"),
        ("device use node001; roles; exit; exit; exit", "home"),
        ("device use node001; ..", "home;device"),
        ("device use node001; /", "home"),
        ("device use node001; category use default", "home;category;default"),
        ("device use node001; services; device use node002", "home;device;node002;services"),
        ("device use master", "home;device;masterdoop"),
    ],
)
def test_use_add_and_clone_go_into_the_object(head: Head, line: str, place: str) -> None:
    assert head.type(f"{line}; path").splitlines()[-1] == place


def test_get_and_set_take_an_object(head: Head) -> None:
    head.type("device; set node001 mac 52:54:00:AA:00:01; commit")
    assert head.type("device; get node001 mac") == "52:54:00:AA:00:01\n"


@pytest.mark.parametrize("word", ["yes", "1", "true", "on", "YES"])
def test_booleans_have_many_words(head: Head, word: str) -> None:
    assert head.type("category use default", f"set datanode {word}", "get datanode") == "yes\n"


def test_append_to_text_adds_exactly_what_it_is_given(head: Head) -> None:
    typed = ["softwareimage use virtual-node-image", 'append kernelparameters " a=b"', "get kernelparameters"]
    assert head.type(*typed) == "biosdevname=0 console=tty0 a=b\n"


def test_a_list_is_set_appended_to_and_taken_from(head: Head) -> None:
    at = ["device use node001; roles; assign openstacknode"]
    entries = '"-/f[s]k" "+/f[s]k=a b;c"'
    assert head.type(*at, f"set configfilemodifications {entries}", "get configfilemodifications") == (
        "-/f[s]k\n+/f[s]k=a b;c\n"
    )
    assert head.type(
        *at,
        f"set configfilemodifications {entries}",
        'append configfilemodifications "+/f[s]l=1"',
        'removefrom configfilemodifications "-/f[s]k"',
        "get configfilemodifications",
        "clear configfilemodifications",
        "get configfilemodifications",
    ) == ("+/f[s]k=a b;c\n+/f[s]l=1\n\n")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("-n node001..node003,-node002", "node001 node003"),
        ("-n node[001-003]", "node001 node002 node003"),
        ("-c openstack-compute-hosts", "node002 node003"),
        ("-m openstack-image", "node001 node002 node003"),
        ("-n node001..node003 -c openstack-compute-hosts", "node002 node003"),
        ("node00?", "node001 node002 node003"),
        ("node002 master", "node002 masterdoop"),
        ("-n ^/nodes", "node003 vnode001"),
    ],
)
def test_foreach_takes_what_its_options_name(head: Head, options: str, names: str) -> None:
    (head.directory / "root/nodes").write_text("node003\nvnode001\n")
    assert head.type(f"device foreach {options} (get hostname)").split() == names.split()


def test_foreach_clones_what_is_not_there(head: Head) -> None:
    head.type("device foreach -o node002 -n node004..node005 (commit)")
    assert head.objects("device")["node005"]["category"] == "openstack-compute-hosts"


def test_foreach_goes_on_after_an_unknown_node_unless_told_to_quit(head: Head) -> None:
    refused = head.refuse("device foreach -n node001,nodeX,node002 (set category default; commit)")
    assert refused == "Device not found: nodeX\n"
    assert head.objects("device")["node002"]["category"] == "default"
    head.refuse("device foreach -q -n node003,nodeX (set category default; commit)")
    assert head.objects("device")["node003"]["category"] != "default"


def test_what_is_not_committed_is_gone_at_the_end(head: Head) -> None:
    typed = ["category use default", "set notes ''", "set softwareimage openstack-image"]
    assert "openstack-image" in head.type(*typed, "get softwareimage")
    assert head.objects("category")["default"]["softwareimage"] == "default-image"


def test_refresh_drops_what_was_changed(head: Head) -> None:
    typed = ["category use default", "set softwareimage openstack-image", "refresh", "get softwareimage"]
    assert head.type(*typed) == "default-image\n"


def test_q_ends_at_the_first_error_and_without_it_the_rest_is_done(head: Head) -> None:
    lines = ["category use default; nosuch; set softwareimage openstack-image; commit"]
    assert head.refuse(*lines, options=("-q",)) == "Command not found: nosuch\n"
    assert head.objects("category")["default"]["softwareimage"] == "default-image"
    head.refuse(*lines)
    assert head.objects("category")["default"]["softwareimage"] == "openstack-image"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nosuch", "Command not found: nosuch"),
        ("roles", "Command not found: roles"),
        ("device use nodeX", "Device not found: nodeX"),
        ("category add default", "Category already exists: default"),
        ("category add ../x", "Invalid value for name: ../x"),
        ("category use default; set nosuch 1", "Unknown property: nosuch"),
        ("category use default; set datanode maybe", "Invalid value for datanode: maybe"),
        ("category use default; set softwareimage nosuch", "SoftwareImage not found: nosuch"),
        ("category use default; set installmode SLOW", "Invalid value for installmode: SLOW"),
        ("category use default; set nodes 3", "nodes can't be changed"),
        ("network use internalnet; set baseaddress 10.1.1.256", "Invalid value for baseaddress: 10.1.1.256"),
        ("softwareimage use default-image; set path a/b", "Invalid value for path: a/b"),
        ("softwareimage use default-image; set kernelparameters a b", "kernelparameters: too many arguments"),
        ("device use node001; roles; assign nosuch", "Role not found: nosuch"),
        ("device use node001; roles; use openstacknode", "Role not found: openstacknode"),
        ("category use openstack-network-nodes; roles; use openstacknetwork; get configfilemodifications",
         "Unknown property: configfilemodifications"),
        ("device use node001; virtualnodesettings", "Command not found: virtualnodesettings"),
        ("device list -j", "Illegal option: j"),
        ("category use default; services; stop x", "Only the services of a device can be asked or told"),
        ("device remove master", "The head node can't be removed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_these_words(head: Head, line: str, said: str) -> None:
    assert head.refuse(line) == f"{said}\n"


def test_the_rc_file_is_read_in_batch_mode_unless_n_is_given(head: Head) -> None:
    file = head.directory / "root/root/.cm/cmsh/.cmshrc"
    file.parent.mkdir(parents=True)
    file.write_text("category\n")
    assert head.type("path") == "home\n"
    assert head.run("cmsh", "--color=no", "-c", "path").stdout == "home;category\n"


def test_x_prints_what_is_carried_out(head: Head) -> None:
    assert head.type("path", options=("-x", "-q")) == "path\nhome\n"


def test_commands_come_from_c_a_file_or_stdin(head: Head) -> None:
    file = head.directory / "commands"
    file.write_text("path\n")
    for argv in (["-c", "path"], ["-f", str(file)], ["-nqf", str(file)], ["--command", "path"]):
        assert head.run("cmsh", *argv).stdout == "home\n"
    assert head.run("cmsh", "-f", "/no/such").returncode == 1
    assert head.run("cmsh", "-j").stderr == "Illegal option: j\n"


def test_pipes_redirections_and_shell_commands_run(head: Head) -> None:
    assert head.type("device list -f hostname | grep -c vnode") == "12\n"
    head.type("device list -f hostname > names; !cp names copied")
    assert (head.directory / "root/copied").read_text().count("vnode") == 12


@pytest.mark.parametrize(
    "value", ["a;b", "$(touch x)", "`touch x`", "a)b", "a | b > c", "!touch x", 'q"q', "it's"]
)
def test_a_quoted_value_arrives_as_it_is(head: Head, value: str) -> None:
    quoted = value.replace('"', '\\"')
    head.type("softwareimage use default-image", f'set kernelparameters "{quoted}"; commit')
    assert head.objects("softwareimage")["default-image"]["kernelparameters"] == value
    assert not (head.directory / "root/x").exists()


def test_dots_and_brackets_do_not_mix_in_one_list() -> None:
    with pytest.raises(CommandError, match="dots and brackets don't mix"):
        expand("node001..node003,node[001-002]", lambda path: "")
    assert expand("node[1..3:2],x", lambda path: "") == ("node1", "node3", "x")
