"""The proxy that the environment names (``http_proxy`` and its like): never for this machine itself."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from pipeline.printable import masked


class Way(HTTPAdapter):
    """Sends every request of a session, redirects too. ``proxy`` is what the last one went through."""

    proxy: str | None = None

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        url = request.url or ""
        kept = {} if _is_here(url) else dict(proxies or {})
        self.proxy = select_proxy(url, kept)
        return super().send(request, stream, timeout, verify, cert, kept)

    def told(self) -> str:
        """What an error says of the proxy, nothing where there was none."""
        return f", through the proxy {masked(self.proxy)} of the environment" if self.proxy else ""


def session(way: Way) -> requests.Session:
    """A session that sends through ``way``."""
    made = requests.Session()
    made.mount("http://", way)
    made.mount("https://", way)
    return made


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
