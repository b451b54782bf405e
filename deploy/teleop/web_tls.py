"""Certificates of our servers: headsets and phones give their pose to https pages only."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

from robofb.deploy.teleop.web_guard import is_address
from robofb.errors import UserError

DAYS_VALID = 365


def make_certificate(folder: Path, names: list[str], title: str = "teleop") -> tuple[Path, Path]:
    """Make a self-signed certificate and its key with the openssl command; return both paths.

    Args:
        folder: where to write <title>_cert.pem and <title>_key.pem (readable by the owner only).
        names: addresses and names that clients will use.
        title: whose certificate it is.

    Raises:
        UserError: there is no openssl, or it fails.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        raise UserError(
            "a certificate of one's own needs the openssl command (apt install openssl), or give one's files"
        )
    cert, key = folder / f"{title}_cert.pem", folder / f"{title}_key.pem"
    alternatives = ",".join(f"{'IP' if is_address(name) else 'DNS'}:{name}" for name in names)
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += [
        "-keyout",
        str(key),
        "-out",
        str(cert),
        "-days",
        f"{DAYS_VALID}",
        "-subj",
        f"/CN=robofb {title}",
    ]
    done = subprocess.run(
        [*command, "-addext", f"subjectAltName={alternatives}"], capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"no certificate: openssl failed: {done.stderr.strip().splitlines()[-1]}")
    key.chmod(0o600)
    return cert, key


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server.

    Raises:
        UserError: a file is missing, is no certificate or key, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password="")  # an encrypted key would ask at the terminal
    except OSError as error:  # ssl.SSLError among them
        raise UserError(f"tls_cert={cert} tls_key={key}: {error.strerror or error}") from error
    return context
