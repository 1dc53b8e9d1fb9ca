"""The tables of the files that users write, as typed data; the JSON Schemas are derived from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.recipe.model import Downloads, Parameter


class KernelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[image.kernel]``."""

    append_parameters: Annotated[
        tuple[str, ...], Meta(description="Added to the kernel parameters that the nodes have already.")
    ] = ()


class ImageTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[image]`` of a recipe."""

    name: Annotated[str, Meta(description="The image; the same as the name of the recipe's folder.")]
    base: Annotated[str, Meta(description="What it starts from: another recipe, or a base of the site file.")]
    summary: Annotated[str, Meta(description="One line for people.")] = ""
    kernel: KernelTable = KernelTable()


class FragmentTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[fragment]`` of a fragment."""

    summary: Annotated[str, Meta(description="One line for people.")] = ""


class UseStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of a fragment, ``recipes/fragments/NAME.toml``, in the place of this one."""

    use: Annotated[str, Meta(description="The name of the fragment.")]
    with_: Annotated[
        dict[str, Parameter],
        Meta(
            description="Values for parameters of the fragment. Those that are not named here come from the "
            "parameter of the same name here, or else from the fragment's default."
        ),
    ] = msgspec.field(name="with", default_factory=dict)


class Required(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``name = { required = true }``: a parameter of a fragment that has no default."""

    required: Literal[True]


class RecipeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an image is: its base, its parameters and its stages in order."""

    image: ImageTable
    parameters: Annotated[
        dict[str, Parameter],
        Meta(description="Values said once, and put in as {{ name }} wherever they are needed."),
    ] = msgspec.field(default_factory=dict)
    stage: Annotated[list[dict[str, Any]], Meta(description="What is done to the base, in this order.")] = (
        msgspec.field(default_factory=list)
    )


class FragmentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stages that several recipes share."""

    fragment: FragmentTable = FragmentTable()
    parameters: Annotated[
        dict[str, Parameter | Required],
        Meta(description="The parameters of the fragment and their defaults; { required = true }: none."),
    ] = msgspec.field(default_factory=dict)
    stage: Annotated[list[dict[str, Any]], Meta(description="What is done, in this order.")] = msgspec.field(
        default_factory=list
    )


class SiteTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[site]``. Paths are absolute, or relative to the folder of the site file."""

    store: Annotated[str, Meta(description="Where downloads, layers and versions are kept.")]
    images: Annotated[str, Meta(description="Where versions are published, such as /cm/images/published.")]
    publish: Annotated[
        Literal["overlay", "copy"],
        Meta(description="Published directories are mounted overlays, or full copies."),
    ] = "overlay"


_PATIENCE = Downloads()


class DownloadsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[downloads]``: how patient they are."""

    attempts: Annotated[int, Meta(ge=1, description="How often in all one download is tried.")] = (
        _PATIENCE.attempts
    )
    timeout: Annotated[float, Meta(gt=0, description="Seconds without a byte after which it has failed.")] = (
        _PATIENCE.timeout
    )
    longest_wait: Annotated[float, Meta(ge=0, description="Seconds between two tries, at most.")] = (
        _PATIENCE.longest_wait
    )


class LabTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[lab]``: this site is the lab."""

    home: Annotated[str, Meta(description="Where the lab keeps its mirror and its base images.")] = (
        ".pipeline/lab"
    )


class HeadTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[head]``: the cluster's head node, for ``pipeline cluster``."""

    manager: Annotated[Literal["bright", "warewulf"], Meta(description="The cluster manager.")] = "bright"
    address: Annotated[
        str, Meta(description='What ssh takes, such as "root@head"; empty: the head node is this machine.')
    ] = ""
    programs: Annotated[
        tuple[str, ...] | None,
        Meta(description="Directories in which its programs are looked for first, such as cmsh."),
    ] = None
    root: Annotated[
        str | None, Meta(description="Where its files are seen when it is this machine; as a rule /.")
    ] = None
    role: Annotated[
        str, Meta(description="Bright's role whose configuration file modifications are used.")
    ] = "openstacknode"
    cloud: Annotated[str, Meta(description="The name in clouds.yaml of the cloud that runs on it.")] = ""
    ssh_options: Annotated[
        tuple[str, ...], Meta(description='Options for ssh, word by word: ["-i", "/root/.ssh/head"].')
    ] = ()


class SigningTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[signing]``: who has to sign a version before nodes are taken to it."""

    signers: Annotated[
        str, Meta(description="The file of those who may sign, as ssh-keygen(1) has it (ALLOWED SIGNERS).")
    ]
    required: Annotated[int, Meta(ge=1, description="How many of them have to have signed.")] = 1
    revoked: Annotated[
        str | None,
        Meta(description="Keys that count for nothing any more: public keys, or what ssh-keygen -k makes."),
    ] = None


class SiteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are on this machine."""

    site: SiteTable
    bases: Annotated[
        dict[str, str], Meta(description="Directory trees that recipes can start from, by name.")
    ] = msgspec.field(default_factory=dict)
    mirrors: Annotated[
        dict[str, str],
        Meta(description="Beginnings of URLs, and the URL or directory that answers for each."),
    ] = msgspec.field(default_factory=dict)
    downloads: DownloadsTable = DownloadsTable()
    lab: LabTable | None = None
    head: HeadTable | None = None
    signing: SigningTable | None = None
