//! Certificates and keys, made anew at each start: one authority, the API server's certificate, and one for each of its
//! users.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// An authority, and where it keeps what it signs.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

/// A certificate and its private key, as files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Certificate (PEM).
    pub certificate: PathBuf,
    /// Private key (PEM).
    pub key: PathBuf,
}

/// The key pair by which service account tokens are signed, as files.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Private key (PEM).
    pub private: PathBuf,
    /// Public key (PEM).
    pub public: PathBuf,
}

impl Authority {
    /// Makes an authority whose files lie in `dir`.
    ///
    /// # Errors
    /// When the files can't be written.
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "hfd testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(dir.join("ca.crt"), issuer.pem())?;
        Ok(Self { issuer, dir: dir.to_owned() })
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// A server's certificate for loopback.
    ///
    /// # Errors
    /// When the files can't be written.
    pub fn server(&self, name: &str) -> Result<Identity> {
        let names = ["localhost", "127.0.0.1", "kubernetes.default.svc"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params)
    }

    /// A user's certificate: the API server reads the user from the common name and the groups from the organisations.
    ///
    /// # Errors
    /// When the files can't be written.
    pub fn user(&self, user: &str, group: &str) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&user.replace(':', "-"), params)
    }

    /// A key pair for service account tokens.
    ///
    /// # Errors
    /// When the files can't be written.
    pub fn signing_key(&self) -> Result<SigningKey> {
        let pair = KeyPair::generate()?;
        let made = SigningKey { private: self.dir.join("tokens.key"), public: self.dir.join("tokens.pub") };
        write_private(&made.private, &pair.serialize_pem())?;
        fs::write(&made.public, pair.public_key_pem())?;
        Ok(made)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(|| format!("certificate of {name}"))?;
        let made =
            Identity { certificate: self.dir.join(format!("{name}.crt")), key: self.dir.join(format!("{name}.key")) };
        fs::write(&made.certificate, certificate.pem())?;
        write_private(&made.key, &key.serialize_pem())?;
        Ok(made)
    }
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut open = fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
}
