//! The TLS side of `loki.tls`.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hyper_rustls::ConfigBuilderExt;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::config;

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
        builder.with_root_certificates(roots(&tls.ca_file)?)
    };
    match (tls.cert_file.as_os_str().is_empty(), tls.key_file.as_os_str().is_empty()) {
        (true, true) => Ok(builder.with_no_client_auth()),
        (false, false) => {
            let chain = certificates("loki.tls.cert_file", &tls.cert_file)?;
            let key = PrivateKeyDer::from_pem_file(&tls.key_file)
                .with_context(|| format!("loki.tls.key_file: no private key in {}", tls.key_file.display()))?;
            builder.with_client_auth_cert(chain, key).with_context(|| {
                format!(
                    "the key of loki.tls.key_file ({}) does not fit the certificate of loki.tls.cert_file ({})",
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

fn roots(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("loki.tls.ca_file", file)? {
        roots
            .add(certificate)
            .with_context(|| format!("loki.tls.ca_file: a certificate in {} is broken", file.display()))?;
    }
    Ok(roots)
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("{key}: cannot read certificates from {}", file.display()))?;
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
