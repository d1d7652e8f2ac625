"""TLS options: trusted certificates and client certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["TlsOptions", "tls_problem"]


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS options: trusted authorities and client certificate.

    The default: the system's authorities, and no client certificate.
    """

    ca_file: str | None = None
    """Certificates (PEM) to trust in place of the system's."""
    verify: bool = True
    """False: any certificate is trusted; the results say so."""
    client_cert: str | None = None
    """Our own certificate with its key, in one PEM file."""

    def at_home(self) -> TlsOptions:
        """Copy with absolute paths, for a process in another folder."""
        ca_file, client_cert = (path and str(Path(path).absolute()) for path in (self.ca_file, self.client_cert))
        return replace(self, ca_file=ca_file, client_cert=client_cert)

    def context(self) -> ssl.SSLContext:
        """Build the SSL context.

        Raises OSError or ssl.SSLError for files that can't be used.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert is not None:
            context.load_cert_chain(self.client_cert, password=_no_password)
        return context


def tls_problem(options: TlsOptions, error: Exception) -> str:
    """Explain why the files of ``options`` can't be used.

    For a person, after :meth:`TlsOptions.context` has failed.
    """
    wanted = {"ca_file": options.ca_file, "client_cert": options.client_cert}
    named = ", ".join(f"{name} {path}" for name, path in wanted.items() if path is not None)
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{named or 'certificates'} can't be used ({said}), expected certificates in PEM form"


def _no_password() -> str:
    """Refuse a password prompt.

    Without this, OpenSSL asks for the password on the terminal and waits.
    """
    raise ssl.SSLError("its key is encrypted, expected one without a password")
