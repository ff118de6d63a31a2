"""A server that speaks TLS, and the certificates for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .servers import Kind, RedisServer


class Certificates:
    """A certificate for 127.0.0.1 that signs itself, as `openssl` makes it."""

    def __init__(self, directory: Path):
        self.certificate, self.key = directory / "certificate.pem", directory / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
        command += ["-subj", "/CN=cache", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


class TlsServer(RedisServer):
    """Speaks TLS on `tls_port`; tests ask it on the other one."""

    ports_needed = 2

    def __init__(self, kind: Kind, binary: Path, certificates: Certificates):
        super().__init__(kind, binary)
        self.certificates = certificates

    @property
    def tls_port(self) -> int:
        return self._ports[1]

    def command(self, directory: Path) -> list[str | Path]:
        command = [*super().command(directory), "--tls-port", str(self.tls_port)]
        command += ["--tls-auth-clients", "no", "--tls-key-file", self.certificates.key]
        command += ["--tls-cert-file", self.certificates.certificate]
        return [*command, "--tls-ca-cert-file", self.certificates.certificate]
