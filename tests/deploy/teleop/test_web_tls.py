"""Certificates made and refused."""

import shutil
import ssl

import pytest

from robofb.deploy.teleop import web_tls
from robofb.deploy.teleop.web_tls import make_certificate, server_context
from robofb.errors import UserError

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")


@needs_openssl
def test_a_certificate_names_its_hosts_and_hides_its_key(tmp_path):
    cert, key = make_certificate(tmp_path, ["localhost", "192.168.1.5"])
    assert key.stat().st_mode & 0o077 == 0
    context = ssl.create_default_context(cafile=cert)
    (facts,) = context.get_ca_certs()
    assert set(facts["subjectAltName"]) == {("DNS", "localhost"), ("IP Address", "192.168.1.5")}
    assert isinstance(server_context(cert, key), ssl.SSLContext)


@needs_openssl
def test_a_key_of_another_certificate_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (cert, _), (_, key) = (make_certificate(tmp_path / name, ["localhost"]) for name in ("a", "b"))
    with pytest.raises(UserError, match="tls_cert=.*KEY_VALUES_MISMATCH"):
        server_context(cert, key)


def test_what_is_no_certificate_is_refused(tmp_path):
    (tmp_path / "a.pem").write_text("hello")
    with pytest.raises(UserError, match="tls_cert="):
        server_context(tmp_path / "a.pem", tmp_path / "a.pem")


def test_a_machine_without_openssl_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(web_tls.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs the openssl command"):
        make_certificate(tmp_path, ["localhost"])
