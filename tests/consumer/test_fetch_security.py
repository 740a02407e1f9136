"""TLS and SASL settings of the consumer's own connections: read as by librdkafka, or refused by name."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from auditlog_consumer.fetch import security as security_module
from auditlog_consumer.fetch.bootstrap import addresses
from auditlog_consumer.fetch.scram import Scram, ScramRefused
from auditlog_consumer.fetch.security import MECHANISMS, security
from auditlog_schemas.errors import ConfigError
from kit.certificates import KEY_PASSWORD, Authority

ROOT = Path(__file__).resolve().parents[2]
AUTHORITY = Authority("an authority")
CLIENT = AUTHORITY.sign("a client")
TLS = {"security.protocol": "ssl", "ssl.ca.pem": AUTHORITY.pem}
PLAIN = {
    "security.protocol": "sasl_plaintext",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "ada",
    "sasl.password": "x",
}


def tls(**settings: str) -> ssl.SSLContext:
    """Return the context for some settings, of which `_` stands for a dot."""
    found = security(TLS | {name.replace("_", "."): value for name, value in settings.items()}).tls
    assert found is not None
    return found


@pytest.mark.parametrize("protocol", ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"])
@pytest.mark.parametrize("written", [str.lower, str.upper, str.title, " {}".format])
def test_protocols_are_read_in_any_case_as_by_librdkafka(protocol: str, written: object) -> None:
    assert callable(written)
    config = PLAIN | {"security.protocol": written(protocol)}
    found = security(config)
    assert (found.tls is not None, found.login is not None) == ("ssl" in protocol, "sasl" in protocol)
    AdminClient({**config, "bootstrap.servers": "127.0.0.1:1", "log_level": 0})


def test_nothing_at_all_is_a_plain_connection() -> None:
    found = security({"socket.keepalive.enable": "true", "ssl.keystore.location": "/not/for/plaintext"})
    assert found.tls is None
    assert found.login is None


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_both_names_of_the_mechanism_are_known(name: str, mechanism: str) -> None:
    config = {key: value for key, value in PLAIN.items() if key != "sasl.mechanism"}
    found = security(config | {name: mechanism}).login
    assert found is not None
    assert (found.mechanism, found.username, found.password) == (mechanism, "ada", "x")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"security.protocol": "tls"},
            r"security\.protocol: is none of plaintext, .*, sasl_ssl",
        ),
        ({"security.protocol": "sasl_plaintext"}, r"sasl\.mechanism: .* PLAIN, .*SHA-512.*; choose one"),
        (PLAIN | {"sasl.mechanism": "GSSAPI"}, r"sasl\.mechanism: .* not with 'GSSAPI'"),
        (PLAIN | {"sasl.mechanisms": "OAUTHBEARER"}, r"sasl\.mechanisms: .* not with 'OAUTHBEARER'"),
        (PLAIN | {"sasl.mechanism": "plain"}, r"sasl\.mechanism: .* in capitals; not with 'plain'"),
        (PLAIN | {"sasl.username": ""}, r"sasl\.username: is needed for PLAIN"),
        (PLAIN | {"sasl.password": ""}, r"sasl\.password: is needed for PLAIN"),
        (TLS | {"ssl.keystore.location": "/a.p12"}, r"ssl\.keystore\.location: is not read .* as PEM"),
        (TLS | {"ssl.crl.location": "/a.crl"}, r"ssl\.crl\.location: is not read"),
        (
            TLS | {"ssl.endpoint.identification.algorithm": "x"},
            r"ssl\.endpoint\.ident.*: is neither https nor none",
        ),
        (TLS | {"ssl.ca.pem": "nothing"}, r"ssl\.ca\.pem: cannot be used"),
        (TLS | {"ssl.ca.location": "/no/such"}, r"ssl\.ca\.location: /no/such: cannot be used: No such file"),
        (TLS | {"ssl.cipher.suites": "nothing"}, r"ssl\.cipher\.suites: cannot be used"),
        (TLS | {"ssl.key.pem": CLIENT.key}, r"ssl\.certificate\.location: is needed beside ssl\.key\.pem"),
        (
            TLS | {"ssl.certificate.location": "/no/such", "ssl.key.pem": CLIENT.key},
            r"ssl\.certificate\.location: /no/such: cannot be used: No such file",
        ),
        (
            TLS | {"ssl.certificate.pem": CLIENT.pem, "ssl.key.location": "/no/such"},
            r"ssl\.key\.location: /no/such: cannot be used: No such file",
        ),
        (
            TLS | {"ssl.certificate.pem": CLIENT.pem, "ssl.key.pem": AUTHORITY.sign("another").key},
            r"ssl\.certificate\.pem, ssl\.key\.pem, ssl\.key\.password: cannot be used: .*MISMATCH",
        ),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^AUDITLOG_KAFKA_CONFIG: {said}"):
        security(config)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_locked_key_without_its_password_is_refused_and_nobody_is_asked(password: str | None) -> None:
    config = TLS | {"ssl.certificate.pem": CLIENT.pem, "ssl.key.pem": CLIENT.locked_key}
    if password is not None:
        config["ssl.key.password"] = password
    with pytest.raises(ConfigError, match=r"ssl\.key\.password: cannot be used"):
        security(config)
    assert security(config | {"ssl.key.password": KEY_PASSWORD}).tls is not None


def test_certificate_and_key_may_come_as_text_and_as_files_in_any_mixture(tmp_path: Path) -> None:
    certificate, key, both = tmp_path / "certificate.pem", tmp_path / "key.pem", tmp_path / "both.pem"
    certificate.write_text(CLIENT.pem)
    key.write_text(CLIENT.key)
    both.write_text(CLIENT.key + CLIENT.pem)
    handles = len(os.listdir("/proc/self/fd"))
    tls(ssl_certificate_location=str(certificate), ssl_key_location=str(key))
    tls(ssl_certificate_location=str(certificate), ssl_key_pem=CLIENT.key)
    tls(ssl_certificate_pem=CLIENT.pem, ssl_key_location=str(key))
    tls(ssl_certificate_pem=CLIENT.pem, ssl_key_pem=CLIENT.key)
    tls(ssl_certificate_location=str(both))
    tls(ssl_certificate_pem=CLIENT.key + CLIENT.pem)
    assert len(os.listdir("/proc/self/fd")) == handles


def test_only_the_given_authorities_are_trusted(tmp_path: Path) -> None:
    another = tmp_path / "another.pem"
    another.write_text(Authority("another").pem)
    [only] = tls().get_ca_certs()
    assert only["subject"] == ((("commonName", "an authority"),),)
    assert len(tls(ssl_ca_location=str(another)).get_ca_certs()) == 2
    # One of a directory is loaded when it is looked for.
    assert len(tls(ssl_ca_location=str(tmp_path)).get_ca_certs()) == 1
    assert len(tls(ssl_ca_pem=f"# Größe\n{AUTHORITY.pem}").get_ca_certs()) == 1


def test_the_system_s_authorities_are_trusted_when_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.pem").write_text(AUTHORITY.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    for given in ({}, {"ssl.ca.location": "probe"}, {"ssl.ca.location": ""}):
        found = security({"security.protocol": "ssl"} | given).tls
        assert found is not None
        assert len(found.get_ca_certs()) >= 1


@pytest.mark.parametrize("no", ["false", "False", "f", "0"])
def test_verification_is_switched_off_by_every_no_of_librdkafka(no: str) -> None:
    context = tls(enable_ssl_certificate_verification=no)
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname


@pytest.mark.parametrize("none", ["none", "NONE"])
def test_host_names_alone_may_go_unchecked(none: str) -> None:
    context = tls(ssl_endpoint_identification_algorithm=none)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.check_hostname
    assert tls().check_hostname


@pytest.mark.parametrize(
    ("kafka", "found"),
    [
        ("a:1", [("a", 1)]),
        (" a , b:2,", [("a", 9092), ("b", 2)]),
        ("SASL_SSL://a.example:9093", [("a.example", 9093)]),
        ("[::1]:9092,[fe80::1%lo]", [("::1", 9092), ("fe80::1%lo", 9092)]),
    ],
)
def test_bootstrap_servers_are_read(kafka: str, found: list[tuple[str, int]]) -> None:
    assert addresses(kafka) == found


@pytest.mark.parametrize(
    "kafka", ["a:b", "a:", ":1", "a:0", "a:65536", "::1", "a b", "b://a:1/", "a:-1", "[a"]
)
def test_what_is_no_address_is_named(kafka: str) -> None:
    with pytest.raises(ConfigError, match=r"^AUDITLOG_KAFKA: .* is not host:port; .*\[::1\]:9092"):
        addresses(f"b:1,{kafka}")


def test_no_address_at_all_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^AUDITLOG_KAFKA: ' , ' names no broker"):
        addresses(" , ")


def test_operators_are_told_of_every_setting_that_is_read_or_refused() -> None:
    source = Path(security_module.__file__).read_text()
    settings = set(re.findall(r'"((?:ssl|sasl|security|enable)\.[a-z.]+[a-z])"', source))
    # The settings of these two begin so.
    settings -= {"ssl.certificate", "ssl.key"}
    assert len(settings) > 12
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Kafka with TLS and SASL")[2]
    section = section.partition("\n## ")[0]
    assert [name for name in sorted(settings) if f"`{name}`" not in section] == []
    assert all(f"`{mechanism}`" in section for mechanism in MECHANISMS)


# RFC 7677, section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def test_scram_is_that_of_the_rfc() -> None:
    client = Scram("SCRAM-SHA-256", "user", "pencil", NONCE)
    assert client.first() == f"n,,n=user,r={NONCE}"
    assert client.final(FIRST) == (
        f"c=biws,r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    client.require_server("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(ScramRefused, match="does not prove"):
        client.require_server("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_names_with_the_signs_of_scram_are_escaped() -> None:
    assert Scram("SCRAM-SHA-512", "a=b,c", "x", "1").first() == "n,,n=a=3Db=2Cc,r=1"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "nonce"),
        ("r=,s=,i=", "nonce"),
        (f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"),
        (FIRST.replace("=4096", "=4095"), "iterations"),
        (FIRST.replace("=4096", "=999999999999"), "iterations"),
        (FIRST.replace("=4096", "=1000001"), "iterations"),
        (FIRST.replace("=4096", "=-1"), "iterations"),
        (FIRST.replace("=4096", "=٤٠٩٦"), "iterations"),
        (FIRST.replace(",i=4096", ""), "iterations"),
        (FIRST.replace("=W22", "=!"), "Base64"),
    ],
)
def test_a_server_that_does_not_speak_scram_is_refused(said: str, why: str) -> None:
    with pytest.raises(ScramRefused, match=why):
        Scram("SCRAM-SHA-256", "user", "pencil", NONCE).final(said)


@pytest.mark.parametrize("said", ["", "v=", "v=!", "e=invalid-proof", "v=AAAA", "v=é"])
def test_a_server_that_does_not_know_the_password_is_refused(said: str) -> None:
    client = Scram("SCRAM-SHA-256", "user", "pencil", NONCE)
    client.final(FIRST)
    with pytest.raises(ScramRefused):
        client.require_server(said)
