"""https: one file, over a connection that is checked; tried again where that may help."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Quiet, read

from clew.errors import SourceError
from clew.sources import url

CONTENT = b"text,label\n" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for 127.0.0.1, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "test.pem"
    path.write_bytes(private + signed.public_bytes(pem))
    return path


@pytest.fixture
def host(serve, certificate, monkeypatch) -> Callable[[Callable[[BaseHTTPRequestHandler, int], None]], str]:
    """host(answer): https://127.0.0.1:PORT, where answer(request, how many before it) replies."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setattr(url.time, "sleep", lambda _: None)

    def start(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> str:
        asked: list[str] = []

        class Handler(Quiet):
            def do_GET(self) -> None:  # noqa: N802
                asked.append(self.path)
                answer(self, len(asked) - 1)

        server: ThreadingHTTPServer = serve(Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return f"https://127.0.0.1:{server.server_port}"

    return start


def reply(
    request: BaseHTTPRequestHandler, status: int = 200, content: bytes = CONTENT, length: int | None = None
) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)


def test_a_file_has_the_name_that_its_address_ends_in(host, fetch):
    address = host(lambda request, _: reply(request))
    fetched, files = fetch(f"{address}/v1/all%20posts.csv?download=1", DIGEST)
    assert files == {"all posts.csv": CONTENT}
    assert fetched.bytes == len(CONTENT)


def test_a_busy_server_and_a_broken_connection_are_tried_again(host, fetch):
    def answer(request: BaseHTTPRequestHandler, before: int) -> None:
        if before == 0:
            reply(request, 503)
        elif before == 1:
            reply(request, content=CONTENT[:100], length=len(CONTENT))
        else:
            reply(request)

    assert fetch(f"{host(answer)}/posts.csv", DIGEST)[1] == {"posts.csv": CONTENT}


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (502, 3)])
def test_a_refusal_is_told_and_not_repeated(status, tries, host, fetch):
    asked = []

    def answer(request: BaseHTTPRequestHandler, before: int) -> None:
        asked.append(before)
        reply(request, status)

    with pytest.raises(SourceError, match=rf"posts.csv cannot be fetched \({status} "):
        fetch(f"{host(answer)}/posts.csv", DIGEST)
    assert len(asked) == tries


def test_a_download_that_is_always_cut_leaves_nothing(host, fetch, repository):
    address = host(lambda request, _: reply(request, content=CONTENT[:100], length=len(CONTENT)))
    with pytest.raises(SourceError, match="cannot be fetched"):
        fetch(f"{address}/posts.csv", DIGEST)
    assert read(repository) == {}


def test_a_redirect_that_leaves_https_is_not_followed_to_a_file(host, fetch, serve):
    class Plain(Quiet):
        def do_GET(self) -> None:  # noqa: N802
            reply(self)

    plain = f"http://127.0.0.1:{serve(Plain).server_port}/posts.csv"

    def answer(request: BaseHTTPRequestHandler, _: int) -> None:
        request.send_response(302)
        request.send_header("Location", plain)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with pytest.raises(SourceError, match=f"leads to {plain}"):
        fetch(f"{host(answer)}/posts.csv", DIGEST)


def test_a_certificate_that_nobody_vouches_for_is_refused(host, fetch, monkeypatch):
    address = host(lambda request, _: reply(request))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(SourceError, match="certificate verify failed"):
        fetch(f"{address}/posts.csv", DIGEST)


def test_a_connection_that_is_refused(fetch, monkeypatch):
    monkeypatch.setattr(url.time, "sleep", lambda _: None)
    with pytest.raises(SourceError, match=r"https://127.0.0.1:9/x.csv cannot be fetched .*refused"):
        fetch("https://127.0.0.1:9/x.csv", DIGEST)


@pytest.mark.parametrize("place", ["https://[x/y.csv", "https://℀.com/y.csv", f"https://{'a' * 70}.org/y.csv"])
def test_a_redirect_to_no_address_is_told_in_one_line(place, host, fetch):
    asked = []

    def answer(request: BaseHTTPRequestHandler, before: int) -> None:
        asked.append(before)
        request.send_response(302)
        request.send_header("Location", place.encode().decode("latin-1"))
        request.send_header("Content-Length", "0")
        request.end_headers()

    with pytest.raises(SourceError, match=r"/posts.csv cannot be fetched \(.+\)\. Check the address") as error:
        fetch(f"{host(answer)}/posts.csv", DIGEST)
    assert "\n" not in str(error.value)
    assert len(asked) == 1


@pytest.mark.parametrize("length", ["abc", "-5", ""])
def test_a_length_that_is_none_does_not_matter_where_the_digest_is_right(length, host, fetch):
    def answer(request: BaseHTTPRequestHandler, _: int) -> None:
        request.send_response(200)
        request.send_header("Content-Length", length)
        request.end_headers()
        request.wfile.write(CONTENT)

    assert fetch(f"{host(answer)}/posts.csv", DIGEST)[1] == {"posts.csv": CONTENT}


def test_a_bundle_of_certificates_that_is_not_there_is_told(host, fetch, monkeypatch):
    address = host(lambda request, _: reply(request))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(SourceError, match=r"cannot be had \(Could not find .* /nowhere.pem\)"):
        fetch(f"{address}/posts.csv", DIGEST)
