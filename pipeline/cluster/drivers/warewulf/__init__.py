"""Warewulf 4.6 and newer, over ``wwctl`` on its server.

How the words of ``pipeline.cluster.objects`` are kept:

========== =============================================================================================
image      a Warewulf image. It is imported from ``path`` once: as ``NAME-N`` when that is what the path
           or the link there leads to, else as ``NAME``; a name is never used twice. Its
           ``kernel_parameters`` have no place on it: every profile with this image has them. As long as
           no profile has it, they are as wanted
category   a profile: its own ``image name``
node       its category is the last profile in its list that the cluster file calls one; that one is
           replaced where it stands, all others stay. It is told with the image that the node boots when
           that is another than the category's: an image of the node's own is taken away then, and the
           category goes behind the profile that has another one
interface  a network device: ``network`` is Warewulf's netname, the name is its device
========== =============================================================================================

Networks are only names of network devices, and need no object. Services, settings of files, and properties of
networks have no place here: they are files of overlays (``NOT_HERE`` in ``driver`` says what to do instead).

What is known of wwctl, each with its source in github.com/warewulf/warewulf:

- ``node list --json`` is an object by node name (pull request 1685); values are the node's merged with its
  profiles', but ``profiles`` are its own (internal/pkg/node/mergo.go).
- ``profile list --json`` is an object by name, nested profiles not merged in; what is empty is left out, or
  null in some releases (internal/app/wwctl/profile/list/main_test.go).
- Keys are ``image name``, ``profiles``, ``kernel``: ``args``, ``network devices``, and ``onbot`` for onboot
  (internal/pkg/node/datastructure.go); before that they were ``ImageName``, ``NetDevs``, …: both are read.
- Lists replace what was there; members are CSV (userdocs/nodes/nodes.rst: ``"console=ttyS0,115200"``).
- The values ``UNSET``, ``UNDEF``, ``delete``, ``nil``, ``--`` and ``0.0.0.0`` take a value away
  (internal/pkg/wwtype), ``~x`` takes x out of a list (userdocs/nodes/profiles.rst).
- Unknown nodes and profiles are warned about, and the call ends well (NodeSet in internal/pkg/api/node).
- An image that does not exist is accepted (issue 1837); one that exists is not imported again; names are
  ``[\\w\\-.:]+`` (internal/app/wwctl/image/imprt).
- The right-most profile wins; profiles may hold profiles (userdocs/nodes/profiles.rst).
- Without ``--yes`` a question is asked, and nothing is done (internal/app/wwctl/node/set/main.go).
- Errors end with 255 (cmd/wwctl/main.go), which is also what ssh ends with when it can't connect.
- The overlays configure static addresses: ``BOOTPROTO=static``, or none at all (overlays/ifcfg,
  overlays/NetworkManager).
- Node sets are ``n[01-03,05]`` (internal/pkg/hostlist).
- An image that was never built has the modification time 0 (internal/app/wwctl/image/list).
- An import copies file by file to where the image is, which is listed as soon as its directory is there
  (internal/pkg/image): one that was stopped looks like one that was not built, or, while the file for nodes
  was made, like a whole one. Only who began it knows; ``begun`` is kept for that. ``--force`` removes first.

Guessed: whether ``profile add`` of a release knows ``--yes`` (both are handled), and that overlays are
replaced in place while nodes boot from them (issue 1600; a note tells it).
"""
