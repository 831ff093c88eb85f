//! TLS from certificate files, read again when they change, so that a renewal needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{} cannot be used", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not fit, or the library cannot use them.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate in use, and where it came from.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
    cert: PathBuf,
    key: PathBuf,
    read_at: ArcSwap<Option<SystemTime>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(cert, key)?);
        let read_at = ArcSwap::from_pointee(modified(cert, key));
        Ok(Arc::new(Self { current, cert: cert.to_owned(), key: key.to_owned(), read_at }))
    }

    /// Reads the files again if they changed; keeps the old certificate if the new one cannot be used.
    pub fn reload_if_changed(&self) {
        let stamp = modified(&self.cert, &self.key);
        if **self.read_at.load() == stamp {
            return;
        }
        match read(&self.cert, &self.key) {
            Ok(certified) => {
                self.current.store(Arc::new(certified));
                self.read_at.store(Arc::new(stamp));
                tracing::info!(path = %self.cert.display(), "the certificate was read again");
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the changed certificate cannot be used; the old one stays"
            ),
        }
    }

    /// The server's TLS settings with this certificate. HTTP/2 is not offered: its streams cannot be capped.
    ///
    /// # Errors
    /// [`TlsError::Unusable`].
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let unusable = |source| TlsError::Unusable { path: self.cert.clone(), source };
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let resolver = Arc::new(Resolver(Arc::clone(self)));
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[derive(Debug)]
struct Resolver(Arc<Certificate>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(pem(cert))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|source| TlsError::Unusable { path: key.to_owned(), source })
}

fn modified(cert: &Path, key: &Path) -> Option<SystemTime> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    time(cert).max(time(key))
}
