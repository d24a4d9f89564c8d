//! The TLS side of `loki.tls`.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hyper_rustls::ConfigBuilderExt;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::config::{self, read_named_file};

/// Reads the files of `loki.tls`. The certificate authorities of `ca_file` take the place of the system's, which need
/// not exist then.
///
/// # Errors
/// Names the key and the file.
pub(super) fn client_config(tls: &config::Tls) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
    } else if tls.ca_file.as_os_str().is_empty() {
        builder.with_native_roots().map_err(|_| {
            anyhow!(
                "this machine has no certificate authorities of its own (looked in SSL_CERT_FILE, SSL_CERT_DIR and the \
                 usual places); name a PEM file with them in loki.tls.ca_file"
            )
        })?
    } else {
        let pinned = certificates("loki.tls.ca_file", &tls.ca_file)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned::new(pinned, provider, &tls.ca_file)?))
    };
    match (tls.cert_file.as_os_str().is_empty(), tls.key_file.as_os_str().is_empty()) {
        (true, true) => Ok(builder.with_no_client_auth()),
        (false, false) => {
            let chain = certificates("loki.tls.cert_file", &tls.cert_file)?;
            let key = read_named_file(&tls.key_file)
                .with_context(|| format!("loki.tls.key_file: cannot read {}", tls.key_file.display()))?;
            let key = PrivateKeyDer::from_pem_slice(&key)
                .with_context(|| format!("loki.tls.key_file: no private key in {}", tls.key_file.display()))?;
            builder.with_client_auth_cert(chain, key).with_context(|| {
                format!(
                    "the key of loki.tls.key_file ({}) does not match the certificate of loki.tls.cert_file ({})",
                    tls.key_file.display(),
                    tls.cert_file.display()
                )
            })
        }
        (false, true) => bail!("loki.tls.cert_file is set without loki.tls.key_file: a client certificate needs both"),
        (true, false) => bail!("loki.tls.key_file is set without loki.tls.cert_file: a client certificate needs both"),
    }
}

/// `loki.tls.server_name`, where it is set.
pub(super) fn server_name(tls: &config::Tls) -> Result<Option<ServerName<'static>>> {
    if tls.server_name.is_empty() {
        return Ok(None);
    }
    let name = ServerName::try_from(tls.server_name.clone()).with_context(|| {
        format!("loki.tls.server_name: {:?} is neither a host name nor an address", tls.server_name)
    })?;
    Ok(Some(name))
}

/// In the text of webpki's error for a server certificate that may sign others.
pub(super) const IS_AUTHORITY: &str = "CaUsedAsEndEntity";

/// `loki.tls.ca_file`: the server's certificate must be signed by one of these, or be one of these itself.
///
/// webpki takes no certificate of an authority for a server's. But that is what `openssl req -x509` makes, and who names it in
/// `ca_file` trusts this very certificate, as curl and Go do.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>, file: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).with_context(|| {
                format!("loki.tls.ca_file: {} holds a certificate that is no certificate authority's", file.display())
            })?;
        }
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { certificates, signed })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // webpki looks at the dates before it looks at what the certificate is for (verify_cert.rs,
        // check_issuer_independent_properties): an expired one has another error.
        match &verdict {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(error)))
                if error.to_string().contains(IS_AUTHORITY) && self.certificates.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("{key}: cannot read certificates from {}", file.display());
    let text = read_named_file(file).with_context(unreadable)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.with_context(unreadable)?;
    ensure!(!certificates.is_empty(), "{key}: no certificate in {}; it must be a PEM file", file.display());
    Ok(certificates)
}

/// `loki.tls.insecure_skip_verify`: whoever answers is Loki. The handshake's signatures are still checked, as TLS
/// demands them.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
