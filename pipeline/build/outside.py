"""The way to the outside, opened only when something from there is needed."""

from __future__ import annotations

import re
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.events import Observer
from pipeline.recipe.model import Site

if TYPE_CHECKING:
    from pipeline.sources.downloads import Fetcher


LOOPBACK = "127.0.0.1"
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s,'\"<>\])]+", re.IGNORECASE)


class Outside:
    """Mirrors and downloads of ``site``; ``downloads`` is the folder of the store for them."""

    def __init__(self, site: Site, downloads: Path, observer: Observer) -> None:
        self._site = site
        self._downloads = downloads
        self._observer = observer
        self._closing = ExitStack()

    @cached_property
    def url_prefixes(self) -> dict[str, str]:
        """What answers for which URLs. In the lab that is its own HTTP server, which is started here."""
        prefixes = dict(self._site.mirrors)
        if self._site.lab is not None:
            from pipeline.lab.mirror import Mirror
            from pipeline.lab.vendor import PREFIXES

            server = self._closing.enter_context(Mirror(self._site.lab / "mirror"))
            prefixes = {prefix: server.map(prefix) for prefix in PREFIXES} | prefixes
        return prefixes

    @cached_property
    def repository_prefixes(self) -> dict[str, str]:
        """The same for the package manager of an image, which sees no directory of this machine.

        Mirrors that are directories are served to it on the loopback interface.
        """
        from pipeline.mirrors import is_url

        return {
            prefix: target if is_url(target) else self._served(Path(target))
            for prefix, target in self.url_prefixes.items()
        }

    def _served(self, folder: Path) -> str:
        from pipeline.lab.mirror import Mirror

        return self._closing.enter_context(Mirror(folder)).url

    def told(self, text: str) -> str:
        """``text`` of a package manager with the recipe's URLs for those of mirrors, and which file answers.

        A directory is served at an address that is gone by the time somebody reads it.
        """
        from pipeline.mirrors import Mirrors, is_url

        asked, answering = Mirrors(self.repository_prefixes), Mirrors(self.url_prefixes)

        def original(found: re.Match[str]) -> str:
            url = asked.back(found[0])
            if url == found[0]:
                return url
            place = answering.to(url)
            return url if self._is_lab(place) else f"{url} ({place})"

        text = URL.sub(original, text)
        is_served = any(not is_url(target) or self._is_lab(target) for target in self.url_prefixes.values())
        return text.replace(f" (IP: {LOOPBACK})", "") if is_served else text

    def _is_lab(self, place: str) -> bool:
        return self._site.lab is not None and place.startswith(f"http://{LOOPBACK}:")

    @cached_property
    def fetcher(self) -> Fetcher:
        """What brings files into the store."""
        from pipeline.mirrors import Mirrors
        from pipeline.sources.downloads import Fetcher

        mirrors = Mirrors(lambda: self.url_prefixes)
        return Fetcher(self._downloads, mirrors, self._site.downloads, self._observer)

    def close(self) -> None:
        """Stop what was started."""
        self._closing.close()
