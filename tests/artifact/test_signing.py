"""Signatures: unsigned, signed by another and altered are told apart."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mlflow_onnx_flavor.artifact import signing
from mlflow_onnx_flavor.errors import ConfigurationError, SignatureError
from mlflow_onnx_flavor.schemas.configuration import SigningKey, Trust


def new_key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    """Writes NAME.pem and NAME.pub."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / f"{name}.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / f"{name}.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return key


def certificate(folder: Path, name: str, key, issuer_name: str, issuer_key, *, is_ca: bool) -> None:
    """Writes NAME.crt, issued for the key."""

    def named(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=is_ca, **usage), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    new_key(folder, "ours")
    new_key(folder, "theirs")
    root, leaf = new_key(folder, "root"), new_key(folder, "leaf")
    certificate(folder, "root", root, "root", root, is_ca=True)
    certificate(folder, "leaf", leaf, "root", root, is_ca=False)
    return folder


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path, Path]:
    """An artifact, its evidence, and where signatures go."""
    for name, files in (
        ("artifact", {"MLmodel": "flavors", "model.onnx": "graph"}),
        ("evidence", {"evidence.json": "{}", "manifest.json": "{}"}),
    ):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    return tmp_path / "artifact", tmp_path / "evidence", tmp_path / "signatures"


@pytest.fixture
def signed(keys, folders):
    signing.sign(*folders, SigningKey(private_key=str(keys / "ours.pem")))
    return folders


@pytest.fixture
def trusted(keys) -> Trust:
    return Trust(public_key=str(keys / "ours.pub"))


def test_what_was_signed_is_verified(signed, trusted):
    signing.verify(*signed, trusted, "fraud 1")


def test_what_mlflow_adds_when_it_is_fetched_does_not_matter(signed, trusted):
    (signed[0] / "registered_model_meta").write_text("model_name: fraud")
    signing.verify(*signed, trusted, "fraud 1")


def test_unsigned_is_said(folders, trusted):
    with pytest.raises(SignatureError, match="fraud 1 carries no signature"):
        signing.verify(*folders, trusted, "fraud 1")


def test_another_signer_is_said(signed, keys):
    with pytest.raises(SignatureError, match="is signed, but not by whom is trusted here"):
        signing.verify(*signed, Trust(public_key=str(keys / "theirs.pub")), "fraud 1")


@pytest.mark.parametrize(("folder", "file"), [(0, "model.onnx"), (1, "evidence.json")])
def test_altered_is_said_with_the_file(signed, trusted, folder, file):
    (signed[folder] / file).write_text("something else")
    with pytest.raises(SignatureError, match=f"was altered after it was signed: .*{file}"):
        signing.verify(*signed, trusted, "fraud 1")


def test_a_missing_file_is_altered(signed, trusted):
    (signed[0] / "model.onnx").unlink()
    with pytest.raises(SignatureError, match=r"was altered after it was signed: .*model\.onnx"):
        signing.verify(*signed, trusted, "fraud 1")


def test_a_signature_of_something_else_is_no_signature(signed, trusted):
    shutil.copyfile(signed[2] / "evidence.sig", signed[2] / "model.sig")
    with pytest.raises(SignatureError, match="altered"):
        signing.verify(*signed, trusted, "fraud 1")


def test_a_certificate_vouches_for_its_key(keys, folders):
    key = SigningKey(private_key=str(keys / "leaf.pem"), certificate=str(keys / "leaf.crt"))
    signing.sign(*folders, key)
    signing.verify(*folders, Trust(certificate_chain=[str(keys / "root.crt")]), "fraud 1")
    with pytest.raises(SignatureError, match="not by whom is trusted"):
        signing.verify(*folders, Trust(certificate_chain=[str(keys / "leaf.crt")]), "fraud 1")


@pytest.mark.parametrize("name", ["none.pem", "ours.pub"])
def test_a_key_that_cannot_sign_is_one_sentence(keys, folders, name):
    with pytest.raises(ConfigurationError, match="nothing can be signed with the private key"):
        signing.sign(*folders, SigningKey(private_key=str(keys / name)))


def test_nobody_trusted_is_one_sentence(signed):
    with pytest.raises(ConfigurationError, match="nothing says whose"):
        signing.verify(*signed, Trust(), "fraud 1")


def test_a_key_to_trust_that_is_not_there_is_one_sentence(signed):
    with pytest.raises(ConfigurationError, match="what is trusted cannot be read"):
        signing.verify(*signed, Trust(public_key="no/such.pub"), "fraud 1")
