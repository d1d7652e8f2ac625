"""How a server that speaks TLS is trusted."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

__all__ = ["TlsOptions"]


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Whom to trust, and who we are.  The default: the system's authorities, and nobody."""

    ca_file: str | None = None
    """Certificates (PEM) to trust in place of the system's."""
    verify: bool = True
    """False: whoever answers is trusted; said in the results."""
    client_cert: str | None = None
    """Our own certificate with its key, in one PEM file."""

    def context(self) -> ssl.SSLContext:
        """What connections are made with; raises OSError or ssl.SSLError for files that can't be used."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert is not None:
            context.load_cert_chain(self.client_cert)
        return context
